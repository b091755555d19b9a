package examples

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
)

// TestFallback: machines whose image does not boot come to its fallback by themselves, each by what its loader can do: iPXE by its script,
// pxelinux by the name of its configuration, GRUB by its loop.
func TestFallback(t *testing.T) {
	t.Parallel()
	lab := runningFleet(t, "firmware")
	// It is larger than base memory: a smaller one, a BIOS iPXE would run as a PXE program, whatever is in it.
	if err := os.WriteFile(filepath.Join(lab.Files, "broken"), []byte(strings.Repeat("This is no kernel.\n", 60_000)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, e := range [][2]string{
		{"\n    image    = image.busybox\n", "\n    image    = image.broken\n"},
		{"\nimage \"busybox\" {", "\nimage \"broken\" {\n  arch = \"x86_64\"\n  file \"kernel\" {\n    store = store.lab\n    key   = \"broken\"\n  }\n}\n\nimage \"busybox\" {"},
		{"\ndefaults {", "\ndefaults {\n  retry {\n    delay    = \"2s\"\n    attempts = 1\n    fallback = image.busybox\n  }"},
	} {
		if err := lab.Edit(strings.ReplaceAll(e[0], "\n    image", "\n  image"), strings.ReplaceAll(e[1], "\n    image", "\n  image")); err != nil {
			t.Fatal(err)
		}
	}
	ctx := oneBoot(t)
	if err := lab.Commit(ctx, "no kernel"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Served(ctx); err != nil {
		t.Fatal(err)
	}
	for machine, again := range map[string]string{"undionly": "bootscript", "pxelinux": "pxelinux.cfg/01-52-54-00-77-01-03/1", "grub-mac": "/grub.cfg-01-52-54-00-77-01-08/1"} {
		t.Run(machine, func(t *testing.T) {
			t.Parallel()
			ctx := oneBoot(t)
			g, err := lab.Boot(ctx, machine)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Line(ctx, "GUEST READY"); err != nil {
				t.Error(err)
			}
			if err := g.PoweredOff(ctx); err != nil {
				t.Error(err)
			}
			b := newestBoot(t, lab, machine)
			scripts := 0
			for _, e := range b.Events {
				if e.Stage == fact.StageScript && e.Result == fact.OK && strings.HasSuffix(e.File, again) {
					scripts++
				}
			}
			if b.Outcome != timeline.Ready || scripts == 0 || machine == "undionly" && scripts < 2 {
				t.Errorf("%s: %s, with these: %s", machine, b.Outcome, sent(b))
			}
		})
	}
}
