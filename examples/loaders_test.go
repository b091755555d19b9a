package examples

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLoaders checks the example as its reader would, boots each machine of it in simulation, and holds what it loads and what its
// kernel is told against what the comments promise.
func TestLoaders(t *testing.T) {
	hostler := built(t, "hostler")
	run := func(want int, args ...string) string {
		t.Helper()
		c := exec.Command(hostler, args...)
		out, _ := c.CombinedOutput()
		if code := c.ProcessState.ExitCode(); code != want {
			t.Fatalf("hostler %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
		return string(out)
	}
	if d := cmp.Diff("The spec is valid: 8 nodes, 1 subnet, 3 images.\n", run(0, "validate", "loaders")); d != "" {
		t.Error(d)
	}
	run(0, "fmt", "-check", "loaders")

	const unknown, console, boot = "files/(digest-unknown-here)", "console=tty0 console=ttyS0,115200n8 panic=60", "hostler.boot=<boot>"
	const http = "http://10.78.0.1:8080/" + unknown
	for machine, want := range map[string]struct{ loader, cmdline string }{
		"ipxe-bios":                     {"undionly.kpxe", "initrd=initrd " + console + " " + boot},
		"ipxe-uefi":                     {"ipxe.efi", "kernel initrd=initrd " + console + " " + boot},
		"lpxelinux":                     {"lpxelinux.0", "BOOT_IMAGE=" + http + "/vmlinuz initrd=" + http + "/initrd.gz " + console + " " + boot},
		"lpxelinux -firmware=ipxe":      {"lpxelinux.0", "BOOT_IMAGE=" + http + "/vmlinuz initrd=" + http + "/initrd.gz " + console + " " + boot},
		"secure":                        {"shimx64.efi", "BOOT_IMAGE=/" + unknown + "/vmlinuz " + console + " " + boot},
		"stock":                         {"snponly.efi", "kernel initrd=initrd " + console + " " + boot},
		"arm64 -firmware=arm64":         {"snp.efi", "kernel initrd=initrd console=ttyAMA0 panic=60 " + boot},
		"ipxe-uefi -firmware=uefi-http": {"/ipxe.efi", "kernel initrd=initrd " + console + " " + boot},
		"pi4":                           {"9ffefdef/start4.elf", "console=serial0,115200 console=tty1 panic=60 " + boot},
	} {
		out := run(0, append([]string{"boot", "loaders"}, strings.Fields(machine)...)...)
		_, got, _ := strings.Cut(out, "The kernel starts with the command line\n")
		if d := cmp.Diff(want.cmdline, strings.TrimSpace(got)); d != "" || !strings.Contains(out, want.loader) {
			t.Errorf("%s, by %s: %s\n%s", machine, want.loader, d, out)
		}
	}
	for _, firmware := range []string{"bios", "uefi"} {
		if out := run(3, "boot", "loaders", "installed", "-firmware="+firmware); !strings.Contains(out, "No kernel is started") {
			t.Error(out)
		}
	}
}
