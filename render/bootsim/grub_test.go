package bootsim

import (
	"strings"
	"testing"

	"hostler/render"
)

// FuzzGRUB: whatever a server sends as configuration, the play ends, with a kernel or a reason.
func FuzzGRUB(f *testing.F) {
	for _, s := range []string{"linux (http,h)/k a\nboot", "while true; do sleep 1; done", "for a in 1 2; do for b in 3; do done; done", "if true; then", "source x",
		"echo 'a", `echo "a\`, "$", "fi", ";;", "for", "if linux (http,h)/k; then initrd (http,h)/k; boot; else exit 1; fi"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w := &walker{net: web{"http://h/k": ""}}
		w.ended((&grub{w: w, vars: map[string]string{}}).config(s))
		if w.t.Booted && !strings.Contains(s, "linux") {
			t.Errorf("boots without a kernel: %+v", w.t)
		}
		if !w.t.Booted && w.t.Reason == "" {
			t.Error("neither booted nor a reason")
		}
	})
}

// FuzzGRUBArgument: whatever Render lets through for GRUB arrives at the kernel as one argument, through GRUB's script language and its
// own quoting.
func FuzzGRUBArgument(f *testing.F) {
	for _, s := range []string{"ttyS0,115200n8", "a b", "$root", "a; reboot", "'", "'; reboot #", "`b`", "{a}", "a|b&c", `\`, "#", "a=b", "é", "x\ty"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\x00\"") || len(value) > 1000 { // as in FuzzKernelArgument
			return
		}
		fleet := lab()
		args := &fleet.Profiles[0].Settings.KernelArgs
		*args = append((*args)[:0:0], kernelArg("x", value))
		for _, n := range fleet.Nodes {
			if n.Name == "grub1" {
				fleet.Nodes = append(fleet.Nodes[:0], n)
			}
		}
		fleet.Nodes = fleet.Nodes[:1]
		s, _ := render.Render(fleet, artifacts(fleet), render.Assignments{})
		if s == nil {
			return
		}
		m := Machine{MAC: node(s, "grub1"), Arch: 7}
		got := Walk(Offline(s, m.MAC), m)
		want := "x=" + value
		if strings.Contains(value, " ") {
			want = `"` + want + `"`
		}
		if !got.Booted || !strings.HasSuffix(got.Cmdline, "/vmlinuz "+want+" hostler.boot=<boot>") {
			t.Errorf("%q arrives as %q, %s", value, got.Cmdline, got.Reason)
		}
	})
}
