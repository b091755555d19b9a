package vm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tinkerbell/ipxedust/binary"
)

// The control experiment: the lab's machines boot from dnsmasq. When this passes and a boot from hostler does not, the
// fault is hostler's; when this does not pass, the lab is broken.
func TestBootFromDnsmasq(t *testing.T) {
	n := network(t)
	serve(t, n)
	for _, m := range []Machine{{MAC: "52:54:00:77:00:01", Firmware: BIOS}, {MAC: "52:54:00:77:00:02", Firmware: UEFI}} {
		t.Run(string(m.Firmware), func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), BootDeadline)
			defer cancel()
			g, err := n.Boot(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			line, err := g.Line(ctx, "GUEST CMDLINE ")
			if err != nil {
				t.Fatal(err)
			}
			// UEFI kernels are told their own file name, by iPXE.
			want := "GUEST CMDLINE initrd=initrd.gz console=ttyS0 lab=control"
			if got := strings.Replace(line, "vmlinuz initrd", "initrd", 1); got != want {
				t.Errorf("the kernel was told %q, want %q", got, want)
			}
			if _, err := g.Line(ctx, "GUEST ADDRESS 10.77.0."); err != nil {
				t.Error(err)
			}
			if err := g.PoweredOff(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func network(t *testing.T) *Network {
	n, err := NewNetwork(netip.MustParsePrefix("10.77.0.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// serve starts dnsmasq, and an HTTP server for what iPXE fetches.
func serve(t *testing.T, n *Network) {
	files, err := GuestFiles()
	if err != nil {
		t.Fatal(err)
	}
	l, err := n.Listen("10.77.0.1:8080")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir(files)))
	mux.HandleFunc("/boot.ipxe", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "#!ipxe\nkernel vmlinuz initrd=initrd.gz console=ttyS0 lab=control\ninitrd initrd.gz\nboot\n")
	})
	s := &http.Server{Handler: mux}
	t.Cleanup(func() { s.Close() })
	go s.Serve(l)

	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "ipxe.efi"), binary.IpxeEFI, 0o644); err != nil {
		t.Fatal(err)
	}
	log := NewConsole()
	cmd := exec.Command("dnsmasq", "--no-daemon", "--user=root", "--conf-file=/dev/null", "--port=0", "--interface=br0", "--bind-interfaces",
		"--dhcp-range=10.77.0.100,10.77.0.200,1h", "--dhcp-leasefile="+filepath.Join(root, "leases"), "--pid-file=", "--log-dhcp",
		"--enable-tftp", "--tftp-root="+root, "--dhcp-userclass=set:ipxe,iPXE", "--dhcp-userclass=set:ipxe,Tinkerbell",
		"--dhcp-boot=tag:!ipxe,ipxe.efi", "--dhcp-boot=tag:ipxe,http://10.77.0.1:8080/boot.ipxe")
	cmd.Stdout, cmd.Stderr = log, log
	if _, err := n.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log)
		}
	})
	if _, err := log.Line(t.Context(), "TFTP root is"); err != nil {
		t.Fatalf("starting dnsmasq: %v: %s", err, log)
	}
}

func TestConsole(t *testing.T) {
	c := NewConsole()
	fmt.Fprint(c, "\x1b[2J\x1b[01;01HBIOS\x1b(B\r\nGUEST CMD")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if line, err := c.Line(ctx, "GUEST"); !errors.Is(err, context.Canceled) {
		t.Errorf("half a line was found: %q, %v", line, err)
	}
	fmt.Fprint(c, "LINE a=1 \x07b\r\n")
	if line, err := c.Line(ctx, "CMDLINE "); line != "CMDLINE a=1 b" || err != nil {
		t.Errorf("found %q, %v", line, err)
	}
	c.Close()
	if line, err := c.Line(t.Context(), "READY"); !errors.Is(err, errSilent) {
		t.Errorf("found %q, %v in a machine that is off", line, err)
	}
	if got, want := c.String(), "BIOSB\nGUEST CMDLINE a=1 b\n"; got != want {
		t.Errorf("the console says %q, want %q", got, want)
	}
}

// What is started in a network must not survive it.
func TestCloseEndsPrograms(t *testing.T) {
	n := network(t)
	p, err := n.Start(exec.Command("sleep", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err1 := os.Readlink("/proc/self/ns/net")
	theirs, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", p.Pid))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if ours == theirs {
		t.Error("the program runs in the host's own network")
	}
	n.Close()
	select {
	case <-p.Done():
	default:
		t.Error("the program runs on")
	}
}

func TestMachineErrors(t *testing.T) {
	n := network(t)
	_, err := n.Boot(t.Context(), Machine{MAC: "52:54:00:77:00:01", Firmware: "coreboot"})
	if err == nil || err.Error() != `no such firmware: "coreboot"` {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	g, err := n.Boot(ctx, Machine{MAC: "52:54:00:77:00:01", Firmware: BIOS})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-g.Done()
	if _, err := g.Line(t.Context(), "GUEST"); !errors.Is(err, errSilent) {
		t.Errorf("waiting for a machine that was switched off: %v", err)
	}
}
