package main

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// attacker sends DHCP from the machine's side, and hears the answers that are broadcast.
type attacker struct {
	t testing.TB
	c *net.UDPConn
}

func (l *lab) attacker() *attacker {
	l.t.Helper()
	a := &attacker{t: l.t}
	err := inNamespace(l.machine, func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 68})
		a.c = c
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { a.c.Close() })
	return a
}

func (a *attacker) send(p *dhcpv4.DHCPv4) {
	a.c.WriteToUDP(p.ToBytes(), &net.UDPAddr{IP: net.IPv4(10, 77, 0, 1), Port: 67})
}

func packet(mac string, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	hw, _ := net.ParseMAC(mac)
	p, _ := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(kind), dhcpv4.WithBroadcast(true)}, mods...)...)
	return p
}

// TestHostileMachine has a machine on the segment flood, steal and lie. Whoever is declared still boots with its own address.
func TestHostileMachine(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	if addr := l.lease(); addr != "10.77.0.11" {
		t.Fatal(addr)
	}
	a := l.attacker()
	const evil = "02:00:00:00:06:66"
	ip := func(x string) net.IP { return net.ParseIP(x).To4() }
	server := dhcpv4.WithOption(dhcpv4.OptServerIdentifier(ip("10.77.0.1")))
	ask := func(x string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(ip(x))) }
	a.send(packet(evil, dhcpv4.MessageTypeRequest, server, ask("10.77.0.11")))
	a.send(packet(evil, dhcpv4.MessageTypeRelease, server, dhcpv4.WithClientIP(ip("10.77.0.11"))))
	a.send(packet(evil, dhcpv4.MessageTypeDecline, server, ask("10.77.0.11")))
	a.send(packet("52:54:00:77:00:02", dhcpv4.MessageTypeRequest, server, ask("10.77.0.11")))
	a.send(packet("52:54:00:77:00:02", dhcpv4.MessageTypeRelease, server, dhcpv4.WithClientIP(ip("10.77.0.11"))))
	a.send(packet(machineMAC, dhcpv4.MessageTypeRequest, server, ask("10.77.0.12")))
	const flood = 3000
	big := make([]byte, 1200)
	for n := range flood {
		p := packet(fmt.Sprintf("02:%02x:%02x:%02x:00:01", n>>16, n>>8&255, n&255), dhcpv4.MessageTypeDiscover)
		switch n % 4 {
		case 1:
			p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, big))
		case 2:
			p.GatewayIPAddr = ip("8.8.8.8")
		case 3:
			p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionHostName, []byte("\x1b[2J\x00evil\n")))
		}
		a.send(p)
	}
	// the declared machine with a huge relay option, which the reply must echo
	for _, x := range []dhcpv4.MessageType{dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeInform} {
		p := packet("52:54:00:77:00:02", x, dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionHostName, []byte("\x1b[2Jx\n"))))
		p.UpdateOption(dhcpv4.OptGeneric(dhcpv4.OptionRelayAgentInformation, big))
		a.send(p)
	}
	a.c.Close()
	if addr := l.lease(); addr != "10.77.0.11" {
		t.Errorf("after that, the machine gets %q", addr)
	}
	if script := l.script(machineMAC); !strings.Contains(script, "hugepages=64") {
		t.Errorf("after that, the script is:\n%s", script)
	}
	for _, args := range [][]string{{"leases"}, {"boots"}, {"boots", "uefi1"}, {"nodes"}} {
		out, code := s.hostler(args...)
		if code != exitOK || strings.ContainsAny(out, "\x00\x1b") {
			t.Errorf("%s, exit %d: %q", args, code, out)
		}
	}
	if n := strings.Count(s.log.String(), "\n"); n > 500 {
		t.Errorf("%d lines of log for %d made-up machines", n, flood)
	}
	if out, code := s.hostler("leases"); code != exitOK || strings.Contains(out, "02:") {
		t.Errorf("somebody whom nobody declared holds a lease:\n%s", out)
	}
}

// TestHostileHTTP asks for what no honest machine asks for. Whoever asks for a script gets one, without a token that is not
// theirs, and without a byte that came with the question and that iPXE would run.
func TestHostileHTTP(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	s := l.serve("-var", "files="+files, repo)
	l.lease()
	ask := func(path string, args ...string) string {
		t.Helper()
		out, err := l.inMachine("curl", append(append([]string{"-sS", "--max-time", "5", "-g", "--path-as-is", "-w", "%{http_code}"}, args...), "http://10.77.0.1:8080"+path)...)
		if err != nil {
			t.Errorf("%.80s: %v: %s", path, err, out)
		}
		return out
	}
	for _, query := range []string{
		"mac=" + strings.Repeat("a", 9000), "mac=zz&retry=-1", "name=$" + "{net0/mac}", "name=a%0Areboot", "name=..&nid=%00", "mac=ff:ff:ff:ff:ff:ff", "%zz",
		"name=uefi1", "mac=52:54:00:77:00:02&retry=99999999999999999999",
	} {
		out := ask("/boot/v1/bootscript?" + query)
		if !strings.HasPrefix(out, "#!ipxe\n") || !strings.HasSuffix(out, "200") || strings.Contains(out, "net0") || strings.Contains(out, "reboot") {
			t.Errorf("%.80s:\n%s", query, out)
		}
		if _, arg, ok := strings.Cut(out, "hostler.boot="); ok && !strings.HasPrefix(arg, "none ") {
			t.Errorf("%.80s: another machine's token:\n%s", query, out)
		}
	}
	const guess = "boot=01ARZ3NDEKTSV4RRFFQ69G5FAV.AAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, c := range []struct {
		status, path string
		args         []string
	}{
		{"403", "/phone-home", []string{"-d", guess}},
		{"400", "/phone-home", []string{"-d", "boot=a"}},
		{"413", "/phone-home", []string{"-d", "boot=" + strings.Repeat("x", 100_000)}},
		{"403", "/config/x?" + guess, nil},
		{"404", "/files/../../etc/passwd", nil},
		{"404", "/files/" + strings.Repeat("0", 64) + "/vmlinuz", nil},
	} {
		if out := ask(c.path, c.args...); !strings.HasSuffix(out, c.status) {
			t.Errorf("%s: %s, not %s", c.path, out, c.status)
		}
	}
	if out, code := s.hostler("status"); code != exitOK {
		t.Errorf("status, exit %d:\n%s", code, out)
	}
}
