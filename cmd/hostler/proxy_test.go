package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestProxy plays machines beside dnsmasq, which gives the addresses: on the wire they have the conversation that the simulator
// told, with both servers in it, and hostler gives no lease.
func TestProxy(t *testing.T) {
	l := newLab(t)
	site := l.server + "d"
	must(t, "ip", "netns", "add", site)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", site).Run() })
	for _, args := range [][]string{
		{"-n", l.server, "addr", "flush", "dev", "eth0"},
		{"-n", l.server, "link", "add", "br0", "type", "bridge"},
		{"-n", l.server, "link", "set", "eth0", "master", "br0"},
		{"-n", l.server, "link", "add", "port", "type", "veth", "peer", "name", "eth0", "netns", site},
		{"-n", l.server, "link", "set", "port", "master", "br0", "up"},
		{"-n", l.server, "addr", "add", "10.77.0.1/24", "dev", "br0"},
		{"-n", l.server, "link", "set", "br0", "up"},
		{"-n", site, "addr", "add", "10.77.0.254/24", "dev", "eth0"},
		{"-n", site, "link", "set", "eth0", "up"},
	} {
		must(t, "ip", args...)
	}
	dnsmasq := exec.Command("ip", "netns", "exec", site, "dnsmasq", "--keep-in-foreground", "--user=root", "--conf-file=/dev/null", "--port=0",
		"--interface=eth0", "--bind-interfaces", "--dhcp-range=10.77.0.2,10.77.0.20,1h", "--no-ping", "--pid-file=", "--dhcp-leasefile="+filepath.Join(l.dir, "leases"),
		"--dhcp-host=52:54:00:77:00:01,10.77.0.11", "--dhcp-host=52:54:00:77:00:02,10.77.0.2")
	log := &lockedBuffer{}
	dnsmasq.Stdout, dnsmasq.Stderr = log, log
	if err := dnsmasq.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dnsmasq.Process.Signal(syscall.SIGKILL); dnsmasq.Wait() })

	repo, files := l.repository(), l.files()
	edit(t, filepath.Join(repo, "lab.boot.hcl"), "cidr    = \"10.77.0.0/24\"", "cidr    = \"10.77.0.0/24\"\n  dhcp    = \"proxy\"")
	l.commit(repo, "the site gives the addresses")
	s := l.serveInterfaces(repo, files, "br0")
	s.status("Interface   br0 10.77.0.1/24, boot requests on port 4011\n")
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:fe")
	for _, args := range [][]string{{"bios1"}, {"bios1", "-firmware=ipxe"}, {"uefi1"}, {"uefi1", "-firmware=uefi-http"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			all := append([]string{"boot", "-var", "files=" + files, repo}, args...)
			want, err := exec.Command("hostler", all...).CombinedOutput()
			if err != nil {
				t.Fatalf("%v:\n%s", err, want)
			}
			got, err := l.inMachine("hostler", append(all, "-wire", "-interface=eth0")...)
			if err != nil || got != string(want) {
				t.Errorf("%v: on the wire:\n%s\nsimulated:\n%s\ndnsmasq: %s", err, got, want, log)
			}
		})
	}
	if out, _ := s.hostler("leases"); strings.Contains(out, "52:54:00:77:00") {
		t.Errorf("hostler gave a lease:\n%s", out)
	}
	for _, from := range []struct{ ns, iface string }{{l.machine, "eth0"}, {l.server, "br0"}} {
		found, code := l.doctor(from.ns, s.socket, "-interface="+from.iface, "-node=uefi1")
		if other := of(found, "another DHCP server"); code != exitOK || !like(other, "ok 10.77.0.254 *, as the spec has it") {
			t.Errorf("doctor on %s: exit %d, %s\n%s", from.iface, code, other, strings.Join(wrong(found), "\n"))
		}
	}
}
