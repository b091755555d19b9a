package dhcp

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler/render/fact"
)

// TestDhclient lets ISC's client take a lease, renew it under another client identifier, and give it back.
func TestDhclient(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	seg.ip("link", "set", seg.client, "address", n2.String())
	dir := t.TempDir()
	hook := script(t, "hook", `#!/bin/sh
case "$reason" in
BOUND|REBOOT|RENEW) ip addr replace "$new_ip_address/24" dev "$interface"; echo "$reason $new_ip_address $new_subnet_mask $new_routers $new_dhcp_lease_time $new_dhcp_server_identifier" ;;
RELEASE) ip addr flush dev "$interface" ;;
PREINIT) ip link set "$interface" up ;;
esac
`)
	dhclient := func(args ...string) string {
		t.Helper()
		args = append([]string{"dhclient", "-4", "-1", "-v", "-sf", hook, "-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid")}, args...)
		out, err := seg.command(t, append(args, seg.client)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	stop := func() { _ = seg.command(t, "sh", "-c", "kill $(cat "+filepath.Join(dir, "pid")+")").Run() }
	t.Cleanup(stop)
	if out, want := dhclient(), "BOUND 10.77.0.100 255.255.255.0 10.77.0.254 600 10.77.0.1"; !strings.Contains(out, want) {
		t.Errorf("want %q in\n%s", want, out)
	}
	stop()
	if out, want := dhclient(), "REBOOT 10.77.0.100"; !strings.Contains(out, want) { // it remembers its lease
		t.Errorf("want %q in\n%s", want, out)
	}
	dhclient("-r")
	s.wait(t, "the release", func() bool {
		return len(s.events) > 0 && strings.HasPrefix(describe(s.events[len(s.events)-1]), "DHCP Release none os 52:54:00:77:00:02 ok")
	})
	if l, ok := s.leases.Holder(addr("10.77.0.100")); ok {
		t.Errorf("still leased: %+v", l)
	}
}

// TestUdhcpc lets busybox' client take a lease without and with the broadcast flag, and without option 57.
func TestUdhcpc(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	s := serve(t, nil, seg.server)
	hook := script(t, "hook", "#!/bin/sh\n[ \"$1\" = bound ] && echo \"bound $ip $mask $lease $serverid $boot_file\"\nexit 0\n")
	for _, c := range []struct{ name, flag, want string }{
		{"unicast", "-f", "bound 10.77.0.11 24 600 10.77.0.1"},
		{"broadcast", "-B", "bound 10.77.0.11 24 600 10.77.0.1"},
		{"iPXE", "-x0x4d:69505845", "bound 10.77.0.11 24 600 10.77.0.1 http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := seg.command(t, "udhcpc", "-f", "-q", "-n", "-t", "3", "-T", "2", c.flag, "-O", "bootfile", "-i", seg.client, "-s", hook).CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want+"\n") && !strings.Contains(string(out), c.want+" \n") {
				t.Errorf("%v: want %q in\n%s", err, c.want, out)
			}
		})
	}
	if l, ok := s.leases.Holder(addr("10.77.0.11")); !ok || l.State != fact.Bound {
		t.Errorf("lease: %+v", l)
	}
}

// TestSecondServer refuses to share a port: with a second hostler, and with dnsmasq.
func TestSecondServer(t *testing.T) {
	seg, other := newSegment(t, "10.77.0.1/24"), newSegment(t, "10.78.0.1/24")
	first := serve(t, nil, seg.server)
	want := "dhcp: listening on " + seg.server + ": udp port 67 is in use: another DHCP server or another hostler is running"
	if _, err := Listen(first.config(t, seg.server)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if second, err := Listen(first.config(t, other.server)); err != nil {
		t.Errorf("on another interface: %v", err)
	} else {
		second.Close()
	}
	dnsmasq := dnsmasqArgs(t, seg.server)
	if out, err := seg.localCommand(t, dnsmasq...).CombinedOutput(); err == nil || !strings.Contains(string(out), "failed to bind DHCP server socket: Address already in use") {
		t.Errorf("dnsmasq beside us: %v: %s", err, out)
	}
}

// TestAfterDnsmasq is refused where dnsmasq was first.
func TestAfterDnsmasq(t *testing.T) {
	seg := newSegment(t, "10.77.0.1/24")
	cmd := seg.localCommand(t, append(dnsmasqArgs(t, seg.server), "--log-facility=-")...)
	startDnsmasq(t, cmd)
	want := "dhcp: listening on " + seg.server + ": udp port 67 is in use: another DHCP server or another hostler is running"
	if _, err := Listen((&served{recorder: newRecorder()}).config(t, seg.server)); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// startDnsmasq starts dnsmasq, which logs to stderr, and waits until its sockets are open. It ends with the test.
func startDnsmasq(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); !strings.Contains(said.String(), "sockets bound"); {
		if !lines.Scan() {
			t.Fatalf("dnsmasq ended: %s", said.String())
		}
		said.WriteString(lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, stderr) }() // until Wait closes it
}

func dnsmasqArgs(t *testing.T, ifname string) []string {
	return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=" + ifname, "--bind-interfaces", "--user=root",
		"--dhcp-range=10.0.0.10,10.254.0.20", "--dhcp-leasefile=" + filepath.Join(t.TempDir(), "leases"), "--pid-file"}
}
