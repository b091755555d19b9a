package examples

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
)

// Each kind of firmware comes to its kernel by its own way, which is what the server sent it, in this order.
var firmwareBoots = []struct{ machine, loaded string }{
	{"uefi-http", "loader http ipxe.efi, script http bootscript, kernel http vmlinuz, initrd http initrd.gz"},
	{"arm64", "loader tftp snp.efi, script http bootscript, kernel http vmlinuz, initrd http initrd.gz"},
}

func TestFirmware(t *testing.T) {
	lab := runningFleet(t, "firmware")
	for _, c := range firmwareBoots {
		t.Run(c.machine, func(t *testing.T) {
			t.Parallel()
			ctx := oneBoot(t)
			g, err := lab.Boot(ctx, c.machine)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := CheckCommandLine(ctx, g, c.machine, "first"); err != nil {
				t.Fatal(err)
			}
			if _, err := g.Line(ctx, "GUEST READY"); err != nil {
				t.Error(err)
			}
			if err := g.PoweredOff(ctx); err != nil {
				t.Error(err)
			}
			b := newestBoot(t, lab, c.machine)
			if b.Outcome != timeline.Ready {
				t.Errorf("the boot of %s is %s, not ready", c.machine, b.Outcome)
			}
			if d := cmp.Diff(strings.ReplaceAll(c.loaded, ", ", "\n"), loaded(b)); d != "" {
				t.Errorf("what %s loaded: %s", c.machine, d)
			}
		})
	}
}

// newestBoot is what the server knows of a machine's boot.
func newestBoot(t *testing.T, l *Lab, machine string) *timeline.Boot {
	t.Helper()
	cmd := l.Hostler(t.Context(), "boots", "-json", machine)
	out, err := cmd.Output()
	var bs []timeline.Boot
	if err == nil {
		err = json.Unmarshal(out, &bs)
	}
	if err != nil || len(bs) != 1 {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return &bs[0]
}

// loaded is what was sent to a machine, each thing once.
func loaded(b *timeline.Boot) string {
	var xs []string
	for _, e := range b.Events {
		if e.Stage < fact.StageLoader || e.Stage > fact.StageInitrd || e.Result != fact.OK {
			continue
		}
		protocol := "http"
		if e.What == "Read Request" {
			protocol = "tftp"
		}
		if x := strings.TrimSpace(fmt.Sprint(e.Stage, " ", protocol, " ", e.File)); !slices.Contains(xs, x) {
			xs = append(xs, x)
		}
	}
	return strings.Join(xs, "\n")
}
