package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/reconcile/diagnosis"
	"hostler/render/bootsim/tftp"
)

// stuckSpec has what the faults need: subnets that are elsewhere, full, off or served by an address that no interface has, and
// files that a store delivers itself. Every fault has a node of its own.
const stuckSpec = `
subnet "second" {
  cidr = "10.78.0.0/24"
  pool "boot" {
    range  = "10.78.0.100-10.78.0.199"
    serves = "boot"
  }
}
subnet "far" {
  cidr   = "10.88.0.0/24"
  relays = ["10.88.0.1"]
  pool "boot" {
    range  = "10.88.0.100-10.88.0.199"
    serves = "boot"
  }
}
subnet "silent" {
  cidr   = "10.87.0.0/24"
  relays = ["10.87.0.1"]
  pool "boot" {
    range  = "10.87.0.100-10.87.0.199"
    serves = "boot"
  }
}
subnet "vip" {
  cidr         = "10.86.0.0/24"
  relays       = ["10.86.0.1"]
  boot_servers = ["10.79.0.5"]
  pool "boot" {
    range  = "10.86.0.100-10.86.0.199"
    serves = "boot"
  }
}
subnet "elsewhere" {
  cidr         = "10.85.0.0/24"
  relays       = ["10.85.0.1"]
  boot_servers = ["10.79.0.99"]
  pool "boot" {
    range  = "10.85.0.100-10.85.0.199"
    serves = "boot"
  }
}
subnet "tiny" {
  cidr = "10.76.0.0/24"
  pool "boot" {
    range  = "10.76.0.100-10.76.0.100"
    serves = "boot"
  }
}
store "web" {
  http { url = "http://10.77.0.1:9980/" }
  deliver = "direct"
}
image "web" {
  arch = "x86_64"
  file "kernel" {
    store = store.web
    key   = "vmlinuz"
  }
}
group "web" { image = image.web }
node "twocards" {
  groups = [group.compute]
  interface "first" {
    subnet = subnet.lab
    mac    = "52:54:00:99:00:01"
    boot   = true
  }
  interface "second" {
    subnet = subnet.lab
    mac    = "52:54:00:99:00:02"
  }
}
`

// stuckNodes are the subnet, group and more of the nodes; each gets a MAC by its place in the list.
var stuckNodes = []struct{ name, subnet, group, more string }{
	{"quiet", "lab", "compute", ""}, {"unheard", "silent", "compute", ""}, {"moved", "second", "compute", ""}, {"relayed", "lab", "compute", ""},
	{"lost", "lab", "compute", ""}, {"farlost", "far", "compute", ""}, {"vip1", "vip", "compute", ""}, {"elsewhere1", "elsewhere", "compute", ""},
	{"rogue", "lab", "compute", ""}, {"declined", "lab", "compute", ""}, {"tiny1", "tiny", "compute", ""}, {"tiny2", "tiny", "compute", ""},
	{"chained", "lab", "compute", ""}, {"noloader", "lab", "compute", ""}, {"nofile", "lab", "compute", ""}, {"noway", "lab", "compute", ""},
	{"probes", "lab", "compute", ""}, {"breaks", "lab", "compute", ""}, {"mute", "lab", "compute", ""}, {"held1", "lab", "compute", `hold = "its disk is replaced"`},
	{"store1", "lab", "web", ""}, {"gone", "lab", "compute", ""}, {"cut", "lab", "compute", ""}, {"circles", "lab", "compute", ""},
	{"stops", "lab", "compute", ""}, {"onlykernel", "lab", "compute", ""}, {"first1", "lab", "compute", ""}, {"reports1", "lab", "compute", ""},
	{"panics", "lab", "compute", ""}, {"system1", "lab", "compute", ""}, {"noimage", "lab", "", ""},
}

func stuckMAC(name string) string {
	i := slices.IndexFunc(stuckNodes, func(n struct{ name, subnet, group, more string }) bool { return n.name == name })
	return fmt.Sprintf("52:54:00:99:01:%02x", i)
}

// stuckLab is a server with stuckSpec, and machines that can be made to fail.
type stuckLab struct {
	*lab
	s    *running
	card *attacker
}

func newStuckLab(t *testing.T) *stuckLab {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	if err := os.WriteFile(filepath.Join(files, "initrd.gz"), make([]byte, 32<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := stuckSpec
	for _, n := range stuckNodes {
		if n.group != "" {
			n.more += "\n  groups = [group." + n.group + "]"
		}
		spec += fmt.Sprintf("node %q {\n  subnet = subnet.%s\n  mac = %q\n  %s\n}\n", n.name, n.subnet, stuckMAC(n.name), n.more)
	}
	if err := os.WriteFile(filepath.Join(repo, "stuck.boot.hcl"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	l.commit(repo, "machines that fail")
	in := func(args ...string) { t.Helper(); must(t, "ip", append([]string{"-n", l.server}, args...)...) }
	in("addr", "add", "10.76.0.1/24", "dev", "eth0")
	in("addr", "add", "10.79.0.5/32", "dev", "lo")
	for _, far := range []string{"10.88.0.0/24", "10.86.0.0/24"} {
		in("route", "add", far, "via", "10.77.0.254")
	}
	return &stuckLab{l, l.serve("-var", "files="+files, repo), l.attacker()}
}

// asROM gives the machine's card the address of a node, and has its firmware get a lease.
func (l *stuckLab) asROM(node string) {
	l.t.Helper()
	l.as(stuckMAC(node), "-x", "0x5d:0000", "-V", "PXEClient:Arch:00000:UNDI:002001")
}

// says sends a DHCP message of a machine from an address of the segment. Its answers are nobody's.
func (l *stuckLab) says(mac string, kind dhcpv4.MessageType, mods ...dhcpv4.Modifier) {
	l.t.Helper()
	must(l.t, "ip", "-n", l.machine, "addr", "replace", "10.77.0.240/24", "dev", "eth0")
	rom := []dhcpv4.Modifier{dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(93), []byte{0, 0}), dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(60), []byte("PXEClient"))}
	l.card.send(packet(mac, kind, append(rom, mods...)...))
}

func relayedBy(a string) dhcpv4.Modifier { return dhcpv4.WithRelay(net.ParseIP(a)) }

// curl fetches as the loader of a machine does; what it says is of no interest.
func (l *stuckLab) curl(args ...string) {
	_, _ = l.inMachine("curl", append([]string{"-sS", "--max-time", "20", "-A", "iPXE/1.21.1", "-o", "/dev/null"}, args...)...)
}

// fetchScript fetches the node's script, and gives its URLs.
func (l *stuckLab) fetchScript(node string) (urls []string) {
	l.t.Helper()
	out, err := l.inMachine("curl", "-sS", "-A", "iPXE/1.21.1", "http://10.77.0.1:8080/boot/v1/bootscript?mac="+stuckMAC(node))
	if err != nil {
		l.t.Fatal(out, err)
	}
	return regexp.MustCompile(`http://\S+/files/\S+`).FindAllString(out, -1)
}

// drop has the kernel drop what comes in to the machines' card, before anybody sees it.
func (l *stuckLab) drop(rule string) (end func()) {
	l.t.Helper()
	in := func(args ...string) {
		l.t.Helper()
		must(l.t, "ip", append([]string{"netns", "exec", l.machine, "nft"}, args...)...)
	}
	in("add table netdev f")
	in("add chain netdev f i { type filter hook ingress device eth0 priority 0 ; }")
	in("add rule netdev f i " + rule + " drop")
	return func() { in("delete table netdev f") }
}

var ruleIn = regexp.MustCompile(`\[([a-z-]+)\]\n`)

// why asks for the rule that explains a machine, until it is the one that is expected: a transfer that breaks is given up after a while.
func (l *stuckLab) why(machine, want string) {
	l.t.Helper()
	var out string
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		out, _ = l.s.hostler("boots", machine, "-after=1ns")
		if m := ruleIn.FindStringSubmatch(out); m != nil && m[1] == want || m == nil && want == "" {
			return
		}
	}
	l.t.Errorf("%s: want %q:\n%s", machine, want, out)
}

// stuckBy plays what somebody would see who stands at the machine, for each rule that shows on a network. The others have recorded events
// in reconcile/diagnosis.
var stuckBy = []struct {
	rule, machine string
	play          func(*stuckLab)
}{
	{"never-heard", "quiet", nil},
	{"relay-silent", "unheard", nil},
	{"wrong-wire", "moved", func(l *stuckLab) { l.says(stuckMAC("moved"), dhcpv4.MessageTypeDiscover) }},
	{"not-declared", "02:00:00:00:00:55", func(l *stuckLab) { l.says("02:00:00:00:00:55", dhcpv4.MessageTypeDiscover) }},
	{"unknown-relay", "relayed", func(l *stuckLab) {
		l.says(stuckMAC("relayed"), dhcpv4.MessageTypeDiscover, relayedBy("10.99.0.1"))
	}},
	{"subnet-not-served", "elsewhere1", func(l *stuckLab) {
		l.says(stuckMAC("elsewhere1"), dhcpv4.MessageTypeDiscover, relayedBy("10.85.0.1"))
	}},
	{"offer-lost", "lost", func(l *stuckLab) { l.says(stuckMAC("lost"), dhcpv4.MessageTypeDiscover) }},
	{"relayed-offer-lost", "farlost", func(l *stuckLab) {
		l.says(stuckMAC("farlost"), dhcpv4.MessageTypeDiscover, relayedBy("10.88.0.1"))
	}},
	{"reply-source", "vip1", func(l *stuckLab) { l.says(stuckMAC("vip1"), dhcpv4.MessageTypeDiscover, relayedBy("10.86.0.1")) }},
	{"another-server", "rogue", func(l *stuckLab) {
		mac := stuckMAC("rogue")
		l.says(mac, dhcpv4.MessageTypeDiscover)
		l.says(mac, dhcpv4.MessageTypeRequest, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 66})),
			dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IP{10, 77, 0, 220})))
	}},
	{"address-in-use", "declined", func(l *stuckLab) {
		l.asROM("declined")
		out, _ := l.s.hostler("leases", "-json")
		m := regexp.MustCompile(`"address": "([^"]+)",\s+"mac": "` + stuckMAC("declined")).FindStringSubmatch(out)
		l.says(stuckMAC("declined"), dhcpv4.MessageTypeDecline, dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.IP{10, 77, 0, 1})),
			dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(m[1]))))
	}},
	{"pool-full", "tiny2", func(l *stuckLab) {
		l.asROM("tiny1")
		l.says(stuckMAC("tiny2"), dhcpv4.MessageTypeDiscover)
	}},
	{"other-card", "52:54:00:99:00:02", func(l *stuckLab) { l.says("52:54:00:99:00:02", dhcpv4.MessageTypeDiscover) }},
	{"loader-not-asked", "noloader", func(l *stuckLab) { l.asROM("noloader") }},
	{"no-such-file", "nofile", func(l *stuckLab) {
		l.asROM("nofile")
		l.curl("tftp://10.77.0.1/other.0")
	}},
	{"tftp-no-way-back", "noway", func(l *stuckLab) {
		l.asROM("noway")
		defer l.drop("udp sport != 67")()
		l.curl("--max-time", "2", "tftp://10.77.0.1/undionly.kpxe")
	}},
	{"transfer-breaks", "breaks", func(l *stuckLab) {
		l.asROM("breaks")
		defer l.drop("udp length > 1000")()
		l.curl("--max-time", "2", "--tftp-blksize", "1428", "tftp://10.77.0.1/undionly.kpxe")
	}},
	{"size-probe-only", "probes", func(l *stuckLab) {
		l.asROM("probes")
		err := inNamespace(l.machine, func() error {
			c, err := net.ListenUDP("udp4", nil)
			if err != nil {
				return err
			}
			defer c.Close()
			f, err := tftp.Open(c, netip.MustParseAddrPort("10.77.0.1:69"), tftp.Request{Name: "undionly.kpxe", Probe: true})
			if err != nil {
				return err
			}
			return f.Abort(8, "User aborted the transfer")
		})
		if err != nil {
			l.t.Error(err)
		}
	}},
	{"loader-silent", "mute", func(l *stuckLab) {
		l.asROM("mute")
		l.curl("tftp://10.77.0.1/undionly.kpxe")
	}},
	{"ipxe-no-lease", "chained", func(l *stuckLab) {
		l.asROM("chained")
		l.curl("tftp://10.77.0.1/undionly.kpxe")
		l.says(stuckMAC("chained"), dhcpv4.MessageTypeDiscover, dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(77), []byte("iPXE")))
	}},
	{"held", "held1", func(l *stuckLab) {
		l.asROM("held1")
		l.fetchScript("held1")
	}},
	{"kernel-not-asked", "stops", func(l *stuckLab) {
		l.asROM("stops")
		l.fetchScript("stops")
	}},
	{"no-script", "noimage", func(l *stuckLab) {
		l.asROM("noimage")
		l.fetchScript("noimage")
	}},
	{"asks-again", "circles", func(l *stuckLab) {
		l.asROM("circles")
		for range 4 {
			l.fetchScript("circles")
		}
	}},
	{"store-down", "store1", func(l *stuckLab) {
		l.asROM("store1")
		l.fetchScript("store1")
	}},
	{"file-missing", "store1", func(l *stuckLab) { // the store is up, and has no such file
		background(l.t.(*testing.T), l.server, "busybox", "httpd", "-f", "-p", "10.77.0.1:9980", "-h", l.t.TempDir())
	}},
	{"file-missing", "gone", func(l *stuckLab) {
		l.asROM("gone")
		l.fetchScript("gone")
		l.curl("http://10.77.0.1:8080/files/" + strings.Repeat("0", 64) + "/vmlinuz")
	}},
	{"initrd-not-asked", "onlykernel", func(l *stuckLab) {
		l.asROM("onlykernel")
		l.curl(l.fetchScript("onlykernel")[0])
	}},
	{"file-cut", "cut", func(l *stuckLab) {
		l.asROM("cut")
		urls := l.fetchScript("cut")
		l.curl(urls[0])
		l.curl("--limit-rate", "1M", "--max-time", "1", urls[1])
	}},
	{"never-reports", "first1", func(l *stuckLab) { // nobody was ready yet
		l.asROM("first1")
		for _, u := range l.fetchScript("first1") {
			l.curl(u)
		}
	}},
	{"", "reports1", func(l *stuckLab) { // and now somebody is, who is well
		l.asROM("reports1")
		script := l.script(stuckMAC("reports1"))
		token := regexp.MustCompile(`hostler\.boot=(\S+)`).FindStringSubmatch(script)
		if token == nil {
			l.t.Fatal(script)
		}
		l.curl("-d", "boot="+token[1], "http://10.77.0.1:8080/phone-home")
	}},
	{"system-does-not-start", "panics", func(l *stuckLab) {
		l.asROM("panics")
		for _, u := range l.fetchScript("panics") {
			l.curl(u)
		}
	}},
	{"unreachable", "reports1", nil}, // the machine's card has another address by now
	{"system-does-not-report", "system1", func(l *stuckLab) {
		l.asROM("system1")
		for _, u := range l.fetchScript("system1") {
			l.curl(u)
		}
		l.as(stuckMAC("system1"))
	}},
}

// TestStuck produces the symptoms with a real server, and has each explained; then it takes the server's network away.
func TestStuck(t *testing.T) {
	l := newStuckLab(t)
	for _, c := range stuckBy {
		t.Run(c.rule+" "+c.machine, func(t *testing.T) {
			if c.play != nil {
				c.play(l)
			}
			l.why(c.machine, c.rule)
		})
	}
	t.Run("all together", func(t *testing.T) {
		out, code := l.s.hostler("boots", "-stuck", "-after=1ns")
		if code != exitNo {
			t.Errorf("exit %d", code)
		}
		for _, c := range stuckBy {
			if c.rule == "" || c.rule == "held" || c.rule == "not-declared" || c.rule == "never-heard" || c.rule == "never-reports" || c.rule == "unreachable" || c.machine == "store1" && c.rule == "store-down" {
				continue // nobody waits for these to boot
			}
			if !strings.Contains(out, "["+c.rule+"]\n") {
				t.Errorf("%s is missing in:\n%s", c.rule, out)
			}
		}
		if strings.Contains(out, "held1") || strings.Contains(out, "reports1") || !strings.Contains(out, "Subnet silent\n") {
			t.Errorf("who is held or well is no case, and a subnet that is silent is one:\n%s", out)
		}
		if out, code := l.s.hostler("boots", "-stuck"); code != exitNo || strings.Contains(out, "stops") { // the circle, and the subnets
			t.Errorf("with the usual patience: exit %d:\n%s", code, out)
		}
	})
	t.Run("metrics", func(t *testing.T) {
		text := must(t, "curl", "-sS", "--unix-socket", l.s.socket, "http://hostler/metrics")
		if want := `hostler_nodes_stuck{cause="asks-again",stage="script"} 1`; !strings.Contains(text, want) {
			t.Errorf("no %s", want)
		}
	})
	t.Run("interface-not-served", func(t *testing.T) {
		must(t, "ip", "-n", l.machine, "link", "set", "eth0", "down")
		l.s.eventually("the subnet to be told of", func() bool {
			out, _ := l.s.hostler("boots", "-stuck", "-subnet=lab")
			return strings.Contains(out, "Subnet lab\n") && strings.Contains(out, "[interface-not-served]")
		})
	})
}

// TestStuckServer has the server itself be the fault.
func TestStuckServer(t *testing.T) {
	t.Run("nothing-served", func(t *testing.T) {
		l := newLab(t)
		repo := l.repository()
		edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 64", "hugepages = = 64")
		l.commit(repo, "a mistake")
		s := &stuckLab{l, l.start("-var", "files="+l.files(), repo), l.attacker()}
		s.s.eventually("the socket", func() bool { _, code := s.s.hostler("status"); return code == exitNo })
		s.says(machineMAC, dhcpv4.MessageTypeDiscover)
		s.why(machineMAC, "nothing-served")
	})
	t.Run("leases-not-written", func(t *testing.T) {
		l, c, repo := crowdLab(t, 500)
		state := filepath.Join(l.dir, "state")
		must(t, "mkdir", state)
		must(t, "mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", state)
		t.Cleanup(func() { exec.Command("umount", "-l", state).Run() })
		s := &stuckLab{l, l.serve("-var", "files="+l.files(), repo), nil}
		exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(state, "ballast"), "bs=4k").Run() // until it is full
		s.s.eventually("the disk to be full", func() bool {
			c.runFor(200 * time.Millisecond)
			out, _ := s.s.hostler("status")
			return strings.Contains(out, "leases failed")
		})
		l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "3", "-T", "1", "-x", "0x5d:0000", "-V", "PXEClient", "-s", "/bin/true")
		s.why(machineMAC, "leases-not-written")
	})
}

// TestStuckCovers holds that every rule is produced for real, or says why it cannot be.
func TestStuckCovers(t *testing.T) {
	covered := map[string]bool{"interface-not-served": true, "nothing-served": true, "leases-not-written": true}
	for _, c := range stuckBy {
		covered[c.rule] = true
	}
	recorded := map[string]string{
		"loop-broken": "TestLoop has machines that are held for their loops",
		"refused":     "of what the other rules explain, nothing is left",
		"silent":      "of what the other rules explain, nothing is left",
	}
	for _, r := range diagnosis.Rules() {
		if !covered[r.Name] && recorded[r.Name] == "" {
			t.Errorf("no machine has the fault of %s", r.Name)
		}
		if covered[r.Name] && recorded[r.Name] != "" {
			t.Errorf("%s is produced: %s", r.Name, recorded[r.Name])
		}
	}
}
