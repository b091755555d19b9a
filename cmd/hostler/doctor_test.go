package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/bootsim/checkup"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
)

// doctor runs the examination in a namespace, and gives what it found and its exit code.
func (l *lab) doctor(ns, socket string, args ...string) (found []checkup.Finding, code int) {
	l.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns, "hostler", "doctor", "-json", "-wait=1s"}, args...)...)
	cmd.Env = append(os.Environ(), "HOSTLER_SOCKET="+socket)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		l.t.Fatal(err)
	}
	if err := json.Unmarshal(out, &found); err != nil {
		l.t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	return found, cmd.ProcessState.ExitCode()
}

// wrong gives what is not well, a line each.
func wrong(found []checkup.Finding) (lines []string) {
	for _, f := range found {
		if f.Result == checkup.OK {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", f.Result, f.Check, f.Text))
		if f.Advice == "" {
			lines = append(lines, "without advice")
		}
	}
	return lines
}

// checks gives the checks of a subnet, in order.
func checksOf(found []checkup.Finding, subnet string) (names []string) {
	for _, f := range found {
		if f.Subnet == subnet {
			names = append(names, string(f.Result)+" "+f.Check)
		}
	}
	return names
}

// doctorSpec is laid beside examples/lab: a subnet behind a relay agent, one for strangers with one address, and images of stores that
// machines ask themselves.
const doctorSpec = `
store "web" {
  http { url = "http://10.77.0.1:9980/" }
  deliver = "direct"
}

image "web" {
  arch = "x86_64"
  file "kernel" {
    store  = store.web
    key    = "vmlinuz"
    sha256 = %q
    size   = 100000
  }
}

group "web" { image = image.web }

group "discovery" { image = image.busybox }

subnet "far" {
  cidr   = "10.88.0.0/24"
  relays = ["10.88.0.1"]
  pool "boot" {
    range  = "10.88.0.100-10.88.0.199"
    serves = "boot"
  }
}

node "far1" {
  subnet = subnet.far
  mac    = "52:54:00:88:00:01"
  groups = [group.compute]
}

subnet "narrow" {
  cidr    = "10.89.0.0/24"
  unknown = group.discovery
  pool "strangers" {
    range  = "10.89.0.50-10.89.0.50"
    serves = "unknown"
  }
}

node "web1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:11"
  address = "10.77.0.21"
  groups  = [group.web]
}
`

// doctorLab serves doctorSpec. The machines' side of the cable is a bridge with a third host on it.
func doctorLab(t *testing.T) (l *lab, s *running, other string) {
	l = newLab(t)
	other = l.machine + "o"
	must(t, "ip", "netns", "add", other)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", other).Run() })
	in := func(args ...string) { t.Helper(); must(t, "ip", append([]string{"-n", l.machine}, args...)...) }
	in("link", "add", "br0", "type", "bridge")
	in("link", "set", "eth0", "address", "52:54:00:77:00:fe", "master", "br0")
	in("link", "add", "port1", "type", "veth", "peer", "name", "eth0", "netns", other)
	in("link", "set", "port1", "master", "br0", "up")
	in("link", "set", "br0", "up")
	must(t, "ip", "-n", other, "addr", "add", "10.77.0.66/24", "dev", "eth0")
	must(t, "ip", "-n", other, "link", "set", "eth0", "address", "52:54:00:66:66:66", "up")
	must(t, "ip", "-n", l.server, "addr", "add", "10.89.0.1/24", "dev", "eth0")
	repo, files := l.repository(), l.files()
	kernel, err := os.ReadFile(filepath.Join(files, "vmlinuz"))
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(doctorSpec, fmt.Sprintf("%x", sha256.Sum256(kernel)))
	if err := os.WriteFile(filepath.Join(repo, "doctor.boot.hcl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l.commit(repo, "more subnets")
	return l, l.serve("-var", "files="+files, repo), other
}

// background runs a program in a namespace until it is stopped.
func background(t *testing.T, ns string, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

// TestDoctor examines servers that are well, and servers and networks of which each has one fault, from the server and from the machines'
// network.
func TestDoctor(t *testing.T) {
	l, s, other := doctorLab(t)
	here := func(args ...string) ([]checkup.Finding, int) {
		t.Helper()
		return l.doctor(l.server, s.socket, args...)
	}
	there := func(args ...string) ([]checkup.Finding, int) {
		t.Helper()
		return l.doctor(l.machine, s.socket, append(args, "-interface=br0")...)
	}
	expect := func(t *testing.T, found []checkup.Finding, code int, want ...string) {
		t.Helper()
		wantCode := exitOK
		for _, w := range want {
			if strings.HasPrefix(w, "fail") {
				wantCode = exitNo
			}
		}
		got := wrong(found)
		if len(got) != len(want) || code != wantCode {
			t.Fatalf("exit %d: %s", code, strings.Join(got, "\n"))
		}
		for i := range want {
			if !like(got[i], want[i]) {
				t.Errorf("got  %s\nwant %s", got[i], want[i])
			}
		}
	}
	block := func(t *testing.T, ns, rule string) {
		t.Helper()
		in := func(args ...string) {
			t.Helper()
			must(t, "ip", append([]string{"netns", "exec", ns, "nft"}, args...)...)
		}
		in("add table inet block")
		in("add chain inet block in { type filter hook input priority 0 ; }")
		in("add chain inet block out { type filter hook output priority 0 ; }")
		in("add rule inet block " + rule)
		t.Cleanup(func() { in("delete table inet block") })
	}

	t.Run("all is well", func(t *testing.T) {
		boot := []string{"ok play", "ok offer to firmware", "ok lease to firmware", "ok TFTP size probe", "ok TFTP", "ok packet size",
			"ok offer to iPXE", "ok lease to iPXE", "ok script", "ok kernel", "ok clock", "ok initrd", "ok another DHCP server", "ok boot"}
		found, code := here("lab", "far", "narrow")
		expect(t, found, code)
		for _, subnet := range []string{"lab", "far", "narrow"} {
			pool := map[string]string{"lab": "boot", "far": "boot", "narrow": "strangers"}[subnet]
			if diff := cmp.Diff(append([]string{"ok pool " + pool}, boot...), checksOf(found, subnet)); diff != "" {
				t.Errorf("subnet %s, on the server:\n%s", subnet, diff)
			}
		}
		found, code = there("lab", "-node=bios1")
		expect(t, found, code)
		if diff := cmp.Diff(append([]string{"ok pool boot"}, boot...), checksOf(found, "lab")); diff != "" {
			t.Errorf("in the machines' network:\n%s", diff)
		}
		if out, _ := s.hostler("leases"); strings.Contains(out, "bound") {
			t.Errorf("a lease is left:\n%s", out)
		}
		if out, code := s.hostler("boots", "-stuck", "-after=1ns", "-subnet=lab"); code != exitOK {
			t.Errorf("a play counts as a boot:\n%s", out)
		}
	})
	t.Run("a spec instead of a server", func(t *testing.T) {
		repo, files := filepath.Join(l.dir, "fleet"), filepath.Join(l.dir, "files")
		found, code := l.doctor(l.machine, "/nowhere", "-spec="+repo, "-var", "files="+files, "-interface=br0", "-node=bios1", "lab")
		expect(t, found, code)
	})
	t.Run("another DHCP server", func(t *testing.T) {
		stop := background(t, other, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces",
			"--dhcp-range=10.77.0.220,10.77.0.230,5m", "--dhcp-boot=evil.0,,10.77.0.66", "--dhcp-leasefile=/dev/null")
		defer stop()
		want := "fail another DHCP server: 10.77.0.66 (sent from 10.77.0.66, MAC 52:54:00:66:66:66) offers 10.77.0.2* and boots evil.0 from 10.77.0.66"
		found, code := l.doctorUntil(there, "another DHCP server", "lab", "-node=bios1")
		var rogue []string
		for _, w := range wrong(found) {
			if strings.HasPrefix(w, "fail another") {
				rogue = append(rogue, w)
			}
		}
		if code != exitNo || len(rogue) != 1 || !like(rogue[0], want) {
			t.Errorf("exit %d: %s", code, strings.Join(wrong(found), "\n"))
		}
		if checks := checksOf(found, "lab"); checks[len(checks)-1] != "ok boot" {
			t.Errorf("our own server was not tried to the end: %v", checks)
		}
		found, code = here("lab", "-node=bios1")
		if text := strings.Join(wrong(found), "\n"); code != exitNo || !strings.Contains(text, "MAC 52:54:00:66:66:66) offers 10.77.0.2") {
			t.Errorf("on the server: exit %d: %s", code, text)
		}
	})
	t.Run("DHCP is dropped", func(t *testing.T) {
		block(t, l.server, "in udp dport 67 drop")
		found, code := there("narrow")
		offer := "fail offer to firmware: no answer to a DISCOVER of *: no answer"
		at := "fail at the server: nothing of the play arrived at the server"
		expect(t, dropNotices(found), code, offer, at)
		found, code = here("lab")
		expect(t, dropNotices(found), code, offer, at)
	})
	t.Run("replies are given another source", func(t *testing.T) {
		block(t, l.server, "out udp sport 67 ip saddr set 10.77.0.5")
		found, code := there("lab", "-node=bios1")
		if text := strings.Join(wrong(dropNotices(found)), "\n"); code != exitNo || !strings.Contains(text, "fail reply source: the reply comes from 10.77.0.5 and says that its server is 10.77.0.1") {
			t.Errorf("exit %d: %s", code, text)
		}
	})
	t.Run("TFTP is dropped", func(t *testing.T) {
		block(t, l.server, "in udp dport 69 drop")
		found, code := there("lab", "-node=bios1")
		expect(t, dropNotices(found), code, "fail TFTP size probe: undionly.kpxe from 10.77.0.1: no answer",
			"fail at the server: the machine has its address, and its requests for the loader do not get here (*) [loader-not-asked]")
	})
	t.Run("packets are too large for the way", func(t *testing.T) {
		must(t, "ip", "-n", l.machine, "link", "set", "eth0", "mtu", "1400")
		defer must(t, "ip", "-n", l.machine, "link", "set", "eth0", "mtu", "1500")
		found, code := there("lab", "-node=bios1")
		got := dropNotices(found)
		if lines := wrong(got); code != exitNo || len(lines) == 0 || !like(lines[0], "fail packet size: undionly.kpxe comes in blocks of 512 bytes (93955 bytes in all), and not of 1456") {
			t.Errorf("exit %d: %s", code, strings.Join(lines, "\n"))
		}
	})
	t.Run("a pool is full", func(t *testing.T) {
		must(t, "ip", "-n", l.server, "link", "set", "eth0", "up")
		l.asOther(other, "02:00:00:00:00:77")
		found, code := there("narrow")
		lines := wrong(dropNotices(found))
		if code != exitNo || len(lines) < 3 || !like(lines[0], "fail pool strangers: 1 of 1 addresses in use") ||
			!like(lines[len(lines)-1], "fail at the server: every address of the pool is in use (DHCP Discover: pool strangers: exhausted*) [pool-full]") {
			t.Errorf("exit %d: %s", code, strings.Join(lines, "\n"))
		}
	})
	t.Run("a store is down, and then has another file", func(t *testing.T) {
		found, code := there("lab", "-node=web1")
		expect(t, dropNotices(found), code, "fail kernel: vmlinuz from 10.77.0.1:9980: *connection refused",
			"fail at the server: the store that holds a file of the image does not answer (http://10.77.0.1:9980/vmlinuz: *connection refused) [store-down]")
		root := t.TempDir()
		if err := os.WriteFile(filepath.Join(root, "vmlinuz"), make([]byte, 100_000), 0o644); err != nil {
			t.Fatal(err)
		}
		defer background(t, l.server, "busybox", "httpd", "-f", "-p", "10.77.0.1:9980", "-h", root)()
		s.eventually("the store", func() bool {
			_, err := exec.Command("ip", "netns", "exec", l.server, "curl", "-sf", "http://10.77.0.1:9980/vmlinuz", "-o", "/dev/null").Output()
			return err == nil
		})
		found, _ = there("lab", "-node=web1")
		if text := strings.Join(wrong(dropNotices(found)), "\n"); !strings.Contains(text, "fail kernel: vmlinuz from 10.77.0.1:9980, 100000 bytes in ") ||
			!strings.Contains(text, ": the content is not what was reviewed: sha256 ") {
			t.Error(text)
		}
	})
	t.Run("a live machine is left alone", func(t *testing.T) {
		l.asOther(other, "52:54:00:77:00:02")
		found, _ := there("lab", "-node=uefi1")
		if diff := cmp.Diff([]string{"warn subnet: uefi1 holds the lease of 10.77.0.100: it may be up"}, wrong(dropNotices(found))); diff != "" {
			t.Error(diff)
		}
		if found, _ = there("lab", "-node=uefi1", "-force"); len(wrong(dropNotices(found))) > 0 {
			t.Error(strings.Join(wrong(found), "\n"))
		}
		if out, _ := s.hostler("leases"); !strings.Contains(out, "52:54:00:77:00:02  uefi1  lab     boot       bound") {
			t.Errorf("its lease was given back:\n%s", out)
		}
	})
}

// like compares with a text in which * stands for anything.
func like(got, want string) bool {
	parts := strings.Split(want, "*")
	for i, p := range parts {
		at := strings.Index(got, p)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		got = got[at+len(p):]
	}
	return got == "" || parts[len(parts)-1] == ""
}

// dropNotices leaves out what the server remembers of the fault before.
func dropNotices(found []checkup.Finding) (rest []checkup.Finding) {
	for _, f := range found {
		if f.Check != "notice" {
			rest = append(rest, f)
		}
	}
	return rest
}

// doctorUntil examines again until a check fails: a program that was just started may not listen yet.
func (l *lab) doctorUntil(run func(...string) ([]checkup.Finding, int), check string, args ...string) (found []checkup.Finding, code int) {
	l.t.Helper()
	for range 5 {
		found, code = run(args...)
		for _, f := range found {
			if f.Check == check && f.Result == checkup.Fail {
				return found, code
			}
		}
	}
	return found, code
}

// asOther has the third host ask for a lease.
func (l *lab) asOther(ns, mac string) {
	l.t.Helper()
	must(l.t, "ip", "-n", ns, "link", "set", "eth0", "address", mac)
	out, err := exec.Command("ip", "netns", "exec", ns, "busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-s", "/bin/true").CombinedOutput()
	if err != nil {
		l.t.Fatalf("udhcpc: %v: %s", err, out)
	}
}

// TestExamineServer holds what is told of a server's own state, without a network.
func TestExamineServer(t *testing.T) {
	prefix := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/24")}
	var out strings.Builder
	d := &doctor{doctorOptions: &doctorOptions{quiet: true}, env: &environment{stdout: &out, width: 200}}
	d.status = &serverStatus{
		Checks: []admin.Check{{Name: "config", Health: admin.Degraded, Message: "still serving main@sha1:1: a mistake"}, {Name: "leases", Health: admin.Broken, Message: "no space left"},
			{Name: "tftp", Health: admin.Healthy, Message: "listening"}},
		DHCP: dhcp.State{
			Interfaces: []dhcp.InterfaceState{
				{Name: "eth0", Listening: true, Addresses: prefix},
				{Name: "eth1", Problem: "listening on eth1: udp port 67 is in use: another DHCP server or another hostler is running"},
				{Name: "eth2", Problem: "there is no such interface"},
				{Name: "eth3", Listening: true, Problem: "the interface has no IPv4 address"},
				{Name: "eth4", Listening: true, Addresses: prefix, Problem: "the interface has no carrier"},
				{Name: "eth5", Listening: true, Addresses: prefix, Broadcasting: "the capability net_raw is missing"},
				{Name: "eth6", Listening: true, Addresses: prefix, Problem: "UEFI machines find no boot file: listening on eth6: udp port 4011 is in use"},
			},
			Notices: []dhcp.Notice{
				{Kind: render.UnknownRelay, Subject: "10.9.0.1", Detail: "no subnet", Last: time.Now(), Count: 3},
				{Kind: render.PoolExhausted, Subject: "pool boot of subnet lab", Detail: "exhausted", Last: time.Now().Add(-2 * time.Hour), Count: 1},
			},
		},
		NotServed: []subnetProblem{{"far", "none of its boot_servers (10.0.0.9) is an address of this host"}},
	}
	d.examineServer()
	want := `warn  config                        still serving main@sha1:1: a mistake
                                    do: ` + "`hostler status`" + ` has the mistake, with file and line.
fail  leases                        no space left
                                    do: Mend the disk of the state directory: no address is acknowledged before.
fail  interface eth1                eth1: not served: listening on eth1: udp port 67 is in use: another DHCP server or another hostler is running
                                    do: Stop the other server: ` + "`ss -ulpn 'sport = :67'`" + ` names it.
fail  interface eth2                eth2: not served: there is no such interface
                                    do: Mend the interface; it is served as soon as it is there and has an address.
fail  interface eth3                eth3: the interface has no IPv4 address
                                    do: Mend the interface; it is served as soon as it is there and has an address.
fail  interface eth4                eth4 10.0.0.1/24: the interface has no carrier
                                    do: Look at the cable, the switch port and ` + "`ip link`" + `.
warn  interface eth5                eth5 10.0.0.1/24: answers to machines without an address are broadcast: the capability net_raw is missing
                                    do: Give the server the capability net_raw (AmbientCapabilities= in its unit): replies to machines without an address are broadcast meanwhile.
fail  interface eth6                eth6 10.0.0.1/24: UEFI machines find no boot file: listening on eth6: udp port 4011 is in use
                                    do: Stop the other program: ` + "`ss -ulpn 'sport = :4011'`" + ` names it.
fail  subnet far                    not served here: none of its boot_servers (10.0.0.9) is an address of this host
                                    do: Give this host one of these addresses, or leave boot_servers out of the subnet.
warn  notice                        unknown relay agent 10.9.0.1: no subnet (3 times, last 0s ago)
                                    do: Add it to ` + "`relays`" + ` of its subnet, or have it use an address of the subnet as its source.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if code := d.finish(); code != exitNo {
		t.Errorf("exit %d", code)
	}
}

// of gives the findings of a check.
func of(found []checkup.Finding, check string) string {
	var texts []string
	for _, f := range found {
		if f.Check == check {
			texts = append(texts, string(f.Result)+" "+f.Text)
		}
	}
	return strings.Join(texts, "\n")
}
