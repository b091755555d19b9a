package examples

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRack checks the example as its reader would, and holds what each kind of machine in it boots with against what its
// comments promise.
func TestRack(t *testing.T) {
	run := hostler(t)
	if d := cmp.Diff("The spec is valid: 7 nodes, 2 subnets, 2 images.\n", run("validate", "rack")); d != "" {
		t.Error(d)
	}
	run("fmt", "-check", "rack")

	const files, boot = "http://10.10.16.2:8080/files/(digest-unknown-here)", "hostler.boot=<boot>"
	live := " rd.live.image root=live:" + files + "/live.squashfs seed=http://10.10.16.2:8080/config/seed?boot=<boot> " + boot
	for machine, want := range map[string]string{
		"c0001":             "kernel initrd=initrd console=tty0 console=ttyS1,115200n8 hugepages=512 intel_iommu=on net.ifnames=0 panic=60" + live,
		"g0001":             "kernel initrd=initrd console=tty0 console=ttyS1,115200n8 hugepages=512 iommu=pt modprobe.blacklist=nouveau net.ifnames=0 panic=60" + live,
		"gpu09":             "kernel initrd=initrd console=tty0 console=ttyS1,115200n8 host=gpu09 hugepages=1024 iommu=pt modprobe.blacklist=nouveau net.ifnames=0 panic=60" + live,
		"console1":          "vmlinuz initrd=initrd.gz console=tty0",
		"02:00:00:00:00:99": "initrd=initrd console=tty0 console=ttyS0,115200n8 panic=60 " + boot,
		"store1": "BOOT_IMAGE=http://10.10.24.2:8080/files/(digest-unknown-here)/vmlinuz initrd=http://10.10.24.2:8080/files/(digest-unknown-here)/initrd.gz " +
			"console=tty0 console=ttyS0,115200n8 net.ifnames=0 panic=60 quiet " + boot,
	} {
		out := run("boot", "rack", machine)
		_, got, _ := strings.Cut(out, "The kernel starts with the command line\n")
		if d := cmp.Diff(want, strings.TrimSpace(got)); d != "" {
			t.Errorf("%s: %s\n%s", machine, d, out)
		}
	}
}
