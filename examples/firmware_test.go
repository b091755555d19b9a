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

// Each kind of firmware comes to its kernel by its own way, which is what it was sent, in this order; and some kernels say something
// of it before they start our program.
var firmwareBoots = []struct{ machine, sent, kernel string }{
	{"uefi-http", "loader http ipxe.efi, script http bootscript, kernel http vmlinuz, initrd http initrd.gz", ""},
	{"arm64", "loader tftp snp.efi, script http bootscript, kernel http vmlinuz, initrd http initrd.gz", ""},
	{"undionly", "loader tftp undionly.kpxe, script http bootscript, kernel http vmlinuz, initrd http initrd.gz", ""},
	{"pxelinux", "loader tftp lpxelinux.0, loader tftp ldlinux.c32, script tftp pxelinux.cfg/01-52-54-00-77-01-03, " +
		"kernel http vmlinuz, initrd http initrd.gz", ""},
	{"grub-mac", "loader tftp grub.efi, script tftp /grub/grub.cfg-01-52-54-00-77-01-08, script tftp /grub.cfg-01-52-54-00-77-01-08/0, " +
		"kernel http vmlinuz, initrd http initrd.gz", ""},
	{"grub-address", "loader tftp grub-address.efi, script tftp /grub/grub.cfg-0A4D0013, script tftp /grub.cfg-01-52-54-00-77-01-09/0, " +
		"kernel tftp /files/*/vmlinuz, initrd tftp /files/*/initrd.gz", ""},
	{"secure-boot", "loader tftp shimx64.efi, loader tftp grubx64.efi, script tftp /grub/grub.cfg, script tftp /grub.cfg-01-52-54-00-77-01-0a/0, " +
		"kernel tftp /files/*/vmlinuz, initrd tftp /files/*/initrd.gz", "secureboot: Secure boot enabled"},
}

func TestFirmware(t *testing.T) {
	t.Parallel() // while a machine of one waits for its firmware's timers, one of the other has the processor
	lab := runningFleet(t, "firmware")
	for _, c := range firmwareBoots {
		t.Run(c.machine, func(t *testing.T) {
			t.Parallel()
			ctx := oneBoot(t)
			g, err := lab.Boot(ctx, c.machine)
			if err != nil {
				t.Fatal(err)
			}
			if c.kernel != "" {
				if _, err := g.Line(ctx, c.kernel); err != nil {
					t.Error(err)
				}
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
			if d := cmp.Diff(strings.ReplaceAll(c.sent, ", ", "\n"), sent(b)); d != "" {
				t.Errorf("what %s was sent: %s", c.machine, d)
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

// sent is what a machine was sent, each thing once.
func sent(b *timeline.Boot) string {
	var xs []string
	for _, e := range b.Events {
		if e.Stage < fact.StageLoader || e.Stage > fact.StageInitrd || e.Result != fact.OK {
			continue
		}
		protocol := "http"
		if e.What == "Read Request" {
			protocol = "tftp"
		}
		if x := strings.TrimSpace(fmt.Sprint(e.Stage, " ", protocol, " ", variable.ReplaceAllString(e.File, "$3*$4"))); !slices.Contains(xs, x) {
			xs = append(xs, x)
		}
	}
	return strings.Join(xs, "\n")
}
