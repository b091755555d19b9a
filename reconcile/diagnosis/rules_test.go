package diagnosis

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
)

var (
	epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	mac1  = fact.MAC{2, 0, 0, 0, 0, 1}
	mac2  = fact.MAC{2, 0, 0, 0, 0, 2}
)

type noMarks struct{}

func (noMarks) Ready(context.Context, timeline.Arrival) error { return nil }

// play gives the newest boot of a machine after the events, and a silence behind them. A line is
//
//	TIME STAGE CLIENT RESULT [what="..."] [file=...] [bytes=N] [resent=N] [status=N] [| detail]
func play(t *testing.T, mac fact.MAC, text string, silence time.Duration) *timeline.Boot {
	t.Helper()
	now := epoch
	tl, err := timeline.Open(t.TempDir(), noMarks{}, func() time.Time { return now }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer tl.Close()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		e := eventOf(t, line)
		e.MAC = mac
		now = e.Time
		if e.Stage == fact.StageReady {
			boot, token, err := tl.Script(mac, "n1", netip.Addr{}, fact.Terms{Revision: "r1"})
			if err == nil {
				_, err = tl.Ready(boot, token, netip.Addr{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		tl.Record(e)
	}
	now = now.Add(silence)
	boots := tl.Latest(nil)
	if len(boots) != 1 {
		t.Fatalf("%d boots", len(boots))
	}
	return &boots[0]
}

func eventOf(t *testing.T, line string) (e fact.Event) {
	t.Helper()
	head, detail, _ := strings.Cut(line, " | ")
	f := strings.Fields(head)
	at, err := time.ParseDuration(f[0])
	if err != nil {
		t.Fatal(err)
	}
	e = fact.Event{Time: epoch.Add(at), Node: "n1", Result: fact.Result(f[3]), Detail: detail, Xid: uint32(at)}
	if err := e.Stage.UnmarshalText([]byte(f[1])); err != nil {
		t.Fatal(err)
	}
	e.Client.UnmarshalText([]byte(f[2]))
	for _, kv := range f[4:] {
		key, value, _ := strings.Cut(kv, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "what":
			e.What = strings.ReplaceAll(value, "_", " ")
		case "file":
			e.File = value
		case "bytes":
			e.Bytes = int64(n)
		case "resent":
			e.Resent = n
		case "status":
			e.Status = n
		default:
			t.Fatalf("%s: unknown", kv)
		}
	}
	return e
}

// parts of boots.
const (
	lease  = "0s discover rom ok\n0s offer rom ok\n4s request rom ok\n4s ack rom ok\n"
	loader = lease + "5s loader unknown probe\n5s loader unknown ok bytes=70000\n"
	ipxe   = loader + "8s discover ipxe ok\n8s offer ipxe ok\n9s request ipxe ok\n9s ack ipxe ok\n"
	script = ipxe + "9s script ipxe ok bytes=700\n"
	kernel = script + "10s kernel ipxe ok bytes=5000\n"
	initrd = kernel + "12s initrd ipxe ok bytes=9000\n"
	system = initrd + "30s discover os ok\n30s offer os ok\n30s request os ok\n30s ack os ok\n"
	config = system + "40s config unknown ok bytes=2000\n"
)

// node is what is known of a machine of which all is well.
func node(c *Case) {
	c.Node = Node{Name: "n1", MAC: mac1, Image: "rocky", Proven: true, Files: []File{{fact.StageKernel, "vmlinuz", 5000, false}, {fact.StageInitrd, "initrd", 9000, false}}}
	c.Wire = Wire{Subnet: "lab", Interface: "eth1"}
	c.Host = Host{Revision: "r1"}
}

// cases has one for each way in which a rule holds, with the texts that the servers write. Silence is an hour, after which whatever is
// not ready is stuck.
var cases = []struct {
	rule, events string
	change       func(*Case)
	evidence     string
}{
	{"nothing-served", "0s discover rom refused | no revision is in force yet", func(c *Case) { c.Host = Host{Problem: "room.boot.hcl:3: no such subnet"} }, "room.boot.hcl:3: no such subnet"},
	{"nothing-served", "", func(c *Case) { c.Host = Host{Problem: "the source does not answer"} }, "the source does not answer"},
	{"leases-not-written", "0s discover rom ok\n0s offer rom ok\n4s request rom ok\n4s ack rom failed | writing the lease: no space left on device", func(c *Case) { c.Host.LeaseError = "no space left on device" }, "no space left on device"},
	{"subnet-not-served", "0s discover rom refused what=DHCP_Discover | subnet lab: none of its boot_servers is this host", nil, "DHCP Discover: subnet lab: none of its boot_servers is this host"},
	{"subnet-not-served", "0s discover rom refused what=DHCP_Discover | subnet lab: dhcp is off", nil, "DHCP Discover: subnet lab: dhcp is off"},
	{"subnet-not-served", "", func(c *Case) { c.Wire.Unserved = "none of its boot_servers (10.0.0.9) is an address of this host" }, "none of its boot_servers (10.0.0.9) is an address of this host"},
	{"unknown-relay", "0s discover rom refused what=DHCP_Discover | no subnet: nothing is declared for relay 10.9.0.1", nil, "DHCP Discover: no subnet: nothing is declared for relay 10.9.0.1"},
	{"wrong-wire", "0s discover rom refused what=DHCP_Discover | no subnet: nothing is declared for interface eth2", nil, "DHCP Discover: no subnet: nothing is declared for interface eth2"},
	{"wrong-wire", "0s discover rom refused what=DHCP_Discover | node n1: declared on subnet lab, asking on second", nil, "DHCP Discover: node n1: declared on subnet lab, asking on second"},
	{"other-card", lease, func(c *Case) { c.Node.MAC = mac2 }, "asks by 02:00:00:00:00:01, boots by 02:00:00:00:00:02"},
	{"other-card", loader, func(c *Case) {
		c.Other = &timeline.Boot{MAC: mac2, Start: epoch.Add(9 * time.Second), Last: epoch.Add(time.Minute), Client: fact.ClientIPXE}
	}, "asks by 02:00:00:00:00:02 since 12:00:09, boots by 02:00:00:00:00:01"},
	{"not-declared", "0s discover rom refused what=DHCP_Discover | unknown machine: subnet lab has no unknown group", func(c *Case) { c.Node = Node{} }, "DHCP Discover: unknown machine: subnet lab has no unknown group"},
	{"not-declared", lease + "9s script ipxe ok bytes=700 what=GET file=bootscript | nobody declared it", func(c *Case) { c.Node = Node{} }, "GET bootscript: nobody declared it"},
	{"address-in-use", "0s discover rom refused what=DHCP_Discover | address 10.0.0.1: in use by another machine", nil, "DHCP Discover: address 10.0.0.1: in use by another machine"},
	{"address-in-use", lease + "5s none rom refused what=DHCP_Decline | 10.0.0.1 is in use by another machine\n15s discover rom ok\n15s offer rom ok\n16s request rom ok\n16s ack rom ok\n17s none rom refused what=DHCP_Decline | 10.0.0.2 is in use by another machine", nil, "DHCP Decline: 10.0.0.2 is in use by another machine"},
	{"address-in-use", "0s discover rom ok\n0s none rom failed what=Conflict_check | 10.0.0.1 is in use: 02:00:00:00:00:09 has it; it is not offered for 10m0s", nil, "Conflict check: 10.0.0.1 is in use: 02:00:00:00:00:09 has it; it is not offered for 10m0s"},
	{"address-in-use", "0s discover rom ok\n0s offer rom ok", func(c *Case) { c.Wire.Conflict = Notice{"10.0.0.1", "10.0.0.1 is used twice", mac1, epoch} }, "10.0.0.1 is used twice"},
	{"pool-full", "0s discover rom refused what=DHCP_Discover | pool boot: exhausted", nil, "DHCP Discover: pool boot: exhausted"},
	{"another-server", "0s discover rom ok\n0s offer rom ok\n4s request rom refused what=DHCP_Request | request: selects server 10.0.0.66", nil, "DHCP Request: request: selects server 10.0.0.66"},
	{"another-server", "0s discover rom ok\n0s offer rom ok", func(c *Case) {
		c.Wire.Foreign = Notice{"10.0.0.66", "10.0.0.66 on eth1 answered", mac1, epoch.Add(time.Second)}
	}, "10.0.0.66 on eth1 answered"},
	{"reply-source", "0s discover rom ok\n0s offer rom ok\n4s discover rom ok\n4s offer rom ok", func(c *Case) { c.Wire.Source = "replies leave from 10.0.0.5, which eth1 does not have" }, "replies leave from 10.0.0.5, which eth1 does not have"},
	{"relayed-offer-lost", "0s discover rom ok\n0s offer rom ok\n4s discover rom ok\n4s offer rom ok", func(c *Case) { c.Wire.Interface = "" }, "DISCOVER x2, OFFER x2, REQUEST x0"},
	{"relayed-offer-lost", "0s discover rom ok\n0s offer rom failed what=DHCP_Offer | network is unreachable", func(c *Case) { c.Wire.Interface = "" }, "DHCP Offer: network is unreachable"},
	{"offer-lost", "0s discover rom ok\n0s offer rom ok\n4s discover rom ok\n4s offer rom ok", nil, "DISCOVER x2, OFFER x2, REQUEST x0"},
	{"offer-lost", "0s discover rom ok\n0s offer rom ok", func(c *Case) { c.Wire.Broadcast = "the capability net_raw is missing" }, "DISCOVER x1, OFFER x1, REQUEST x0; the offers were broadcast: the capability net_raw is missing"},
	{"ipxe-no-lease", loader + "8s discover ipxe ok\n8s offer ipxe ok\n9s discover ipxe ok\n9s offer ipxe ok", nil, "its loader asked last at 12:00:09"},
	{"loader-not-asked", lease, nil, "its lease was acknowledged at 12:00:04"},
	{"no-such-file", loader + "6s script unknown ok bytes=300\n7s loader unknown refused what=Read_Request file=vmlinuz-old | no such file", nil, "Read Request vmlinuz-old: no such file"},
	{"no-such-file", lease + "5s loader unknown refused what=Read_Request file=pxelinux.0 | no such file", nil, "Read Request pxelinux.0: no such file"},
	{"tftp-no-way-back", lease + "5s loader unknown failed what=Read_Request file=ipxe.efi | the machine did not acknowledge the first packet", nil, "Read Request ipxe.efi: the machine did not acknowledge the first packet"},
	{"size-probe-only", lease + "5s loader unknown probe\n9s loader unknown probe", nil, "2 size probes, no transfer"},
	{"transfer-breaks", lease + "5s loader unknown probe\n5s loader unknown failed what=Read_Request file=ipxe.efi resent=6 | the machine fell silent after 0 of 70000 bytes", nil, "Read Request ipxe.efi: the machine fell silent after 0 of 70000 bytes; 6 packets were sent again"},
	{"transfer-breaks", lease + "5s loader unknown ok bytes=70000 resent=40", nil, "40 packets were sent again"},
	{"loader-silent", loader, nil, "70000 bytes sent until 12:00:05"},
	{"loop-broken", ipxe + "9s script ipxe ok bytes=700 what=GET file=bootscript | held: it boots in a loop", func(c *Case) { c.Node.Held, c.Node.Looped = "it boots in a loop: 5 boots", true }, "it boots in a loop: 5 boots"},
	{"held", ipxe + "9s script ipxe ok bytes=700 what=GET file=bootscript | held: disk is being replaced", func(c *Case) { c.Node.Held = "disk is being replaced" }, "GET bootscript: held: disk is being replaced"},
	{"held", "", func(c *Case) { c.Node.Held = "disk is being replaced" }, "disk is being replaced"},
	{"held", ipxe + "9s script ipxe ok bytes=700 what=GET file=bootscript | disabled in the spec", nil, "GET bootscript: disabled in the spec"},
	{"no-script", ipxe + "9s script ipxe ok bytes=700 what=GET file=bootscript | it has no image", nil, "GET bootscript: it has no image"},
	{"store-down", script, func(c *Case) { c.Node.StoreDown = "http://s3:9000: connection refused" }, "http://s3:9000: connection refused"},
	{"file-missing", script + "10s kernel ipxe refused what=GET file=vmlinuz status=404 | no such file in a revision that is in use", nil, "GET vmlinuz 404: no such file in a revision that is in use"},
	{"file-missing", script + "10s none ipxe refused what=GET file=/files/ab/vmlinuz status=404 | no such file in a revision that is in use", nil, "GET /files/ab/vmlinuz 404: no such file in a revision that is in use"},
	{"file-missing", kernel + "12s initrd ipxe failed what=GET file=initrd status=500 | opening the file: see the log", nil, "GET initrd 500: opening the file: see the log"},
	{"file-missing", script, func(c *Case) { c.Node.Missing = "http://s3:9000/a/vmlinuz: 404 Not Found" }, "http://s3:9000/a/vmlinuz: 404 Not Found"},
	{"file-cut", kernel + "12s initrd ipxe failed what=GET file=initrd bytes=4000 status=200 | the machine closed the connection after 4000 bytes", nil, "GET initrd: the machine closed the connection after 4000 bytes"},
	{"file-cut", kernel + "12s initrd ipxe ok bytes=8000", nil, "initrd: 8000 of 9000 bytes were sent"},
	{"asks-again", script + "40s script ipxe ok bytes=700\n70s script ipxe ok bytes=700\n100s script ipxe ok bytes=700", nil, "it asked for its script 4 times"},
	{"kernel-not-asked", script, nil, "the script was sent at 12:00:09"},
	{"kernel-not-asked", script, func(c *Case) { c.Node.Files[0].Foreign = true }, "vmlinuz is delivered by another server"},
	{"initrd-not-asked", kernel, nil, "initrd"},
	{"system-does-not-report", system, nil, "its system had a lease at 12:00:30"},
	{"system-does-not-report", config, func(c *Case) { c.Node.Proven = false }, "it fetched its configuration at 12:00:40"},
	{"never-reports", initrd, func(c *Case) { c.Node.Proven = false }, "image rocky"},
	{"system-does-not-start", initrd, nil, "initrd was sent whole at 12:00:12"},
	{"unreachable", config + "50s ready unknown ok", func(c *Case) { c.Node.Addr, c.Node.Silent = netip.MustParseAddr("10.0.0.1"), true }, "10.0.0.1 does not answer"},
	{"unreachable", config + "50s ready unknown ok", func(c *Case) {
		c.Node.Addr, c.Node.Expired = netip.MustParseAddr("10.0.0.1"), epoch.Add(30*time.Minute)
	}, "its lease of 10.0.0.1 ended at 1 Mar 12:30:00"},
	{"interface-not-served", "", func(c *Case) { c.Wire.Problem = "eth1: the interface has no carrier" }, "eth1: the interface has no carrier"},
	{"relay-silent", "", func(c *Case) {
		c.Wire = Wire{Subnet: "far", Relays: []netip.Addr{netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("10.9.0.2")}}
	}, "no relay agent of subnet far was heard since the server was started: 10.9.0.1, 10.9.0.2"},
	{"never-heard", "", nil, ""},
	{"never-heard", "", func(c *Case) { c.Wire = Wire{Subnet: "far", Relayed: epoch} }, "others are heard from subnet far, last at 1 Mar 12:00:00"},
	{"refused", "0s discover rom refused what=DHCP_Discover | a plugin says no", nil, "DHCP Discover: a plugin says no"},
	{"silent", "0s discover rom ok", nil, ""},
}

func caseOf(t *testing.T, events string, silence time.Duration, change func(*Case)) *Case {
	t.Helper()
	c := &Case{}
	node(c)
	if events != "" {
		c.Boot = play(t, mac1, events, silence)
	}
	if change != nil {
		change(c)
	}
	return c
}

func TestRules(t *testing.T) {
	told := map[string]bool{}
	for i, x := range cases {
		t.Run(fmt.Sprintf("%s %d", x.rule, i), func(t *testing.T) {
			c := caseOf(t, x.events, time.Hour, x.change)
			d, ok := Diagnose(c)
			if !ok || d.Rule != x.rule {
				t.Fatalf("got %q (%s), want %q", d.Rule, d.Evidence, x.rule)
			}
			if d.Evidence != x.evidence {
				t.Errorf("evidence %q, want %q", d.Evidence, x.evidence)
			}
			told[d.Rule] = true
		})
	}
	names := map[string]bool{}
	for _, r := range Rules() {
		if !told[r.Name] {
			t.Errorf("no case for the rule %s: others stand before it, or it has none", r.Name)
		}
		if names[r.Name] {
			t.Errorf("two rules are %s", r.Name)
		}
		names[r.Name] = true
		if r.Sees == "" || r.Cause == "" || r.Advice == "" {
			t.Errorf("%s does not say what it means and what to do", r.Name)
		}
	}
}

// TestNeeded holds that each rule is needed: without it, its cases are told something that says less.
func TestNeeded(t *testing.T) {
	for _, x := range cases {
		c := caseOf(t, x.events, time.Hour, x.change)
		at := slices.IndexFunc(rules, func(r Rule) bool { return r.Name == x.rule })
		for i := range rules[:at] {
			if r := &rules[i]; r.applies(c) {
				if e, holds := r.condition(c); holds {
					t.Errorf("%s holds in a case of %s: %s", r.Name, x.rule, e)
				}
			}
		}
	}
}

// TestHealthy holds that nothing is said of a machine that is on its way, at any step, or arrived; nor of one of which nothing is wrong
// but that it was quiet for as long as its stage may take.
func TestHealthy(t *testing.T) {
	ready := "50s ready unknown ok\n"
	boots := map[string]string{
		"BIOS or UEFI, iPXE":      config + ready,
		"a ROM that is iPXE":      "0s discover ipxe ok\n1s offer ipxe ok\n1s request ipxe ok\n1s ack ipxe ok\n2s script ipxe ok bytes=700\n3s kernel ipxe ok bytes=5000\n5s initrd ipxe ok bytes=9000\n" + ready,
		"UEFI HTTP boot":          lease + "5s loader rom probe what=HEAD\n5s loader rom ok bytes=70000\n8s discover ipxe ok\n8s offer ipxe ok\n9s request ipxe ok\n9s ack ipxe ok\n9s script ipxe ok\n10s kernel ipxe ok bytes=5000\n12s initrd ipxe ok bytes=9000\n" + ready,
		"pxelinux":                loader + "6s loader unknown refused what=Read_Request file=pxelinux.cfg/0A | no such file\n6s script unknown ok bytes=300\n7s kernel unknown ok bytes=5000\n8s initrd unknown ok bytes=9000\n" + ready,
		"lost packets":            lease + "5s loader unknown ok bytes=70000 resent=3\n8s discover ipxe ok\n9s offer ipxe ok\n9s request ipxe ok\n9s ack ipxe ok\n9s script ipxe ok\n10s kernel ipxe ok bytes=5000\n12s initrd ipxe ok bytes=9000\n" + ready,
		"a retry that helped":     script + "10s kernel ipxe failed status=500 | opening the file: see the log\n40s script ipxe ok bytes=700\n41s kernel ipxe ok bytes=5000\n43s initrd ipxe ok bytes=9000\n" + ready,
		"a proxy's, without acks": "0s discover rom ok\n0s offer rom ok\n2s request rom ok\n2s ack rom ok\n3s loader unknown ok bytes=7\n5s script ipxe ok\n6s kernel ipxe ok bytes=5000\n7s initrd ipxe ok bytes=9000\n" + ready,
	}
	for name, text := range boots {
		t.Run(name, func(t *testing.T) {
			lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
			broken := map[fact.Stage]bool{} // what is wrong is told at once, and not any more after it was mended
			for n, line := range lines {
				e := eventOf(t, strings.TrimSpace(line))
				broken[e.Stage] = e.Result == fact.Failed
				c := caseOf(t, strings.Join(lines[:n+1], ""), 0, nil)
				if d, ok := Diagnose(c); ok && !broken[fact.StageKernel] {
					t.Errorf("after %s: %s, %s", line, d.Rule, d.Evidence)
				}
			}
			if c := caseOf(t, text, 100*time.Hour, nil); c.Boot.Outcome != timeline.Ready {
				t.Errorf("the boot is %s", c.Boot.Outcome)
			} else if d, ok := Diagnose(c); ok {
				t.Errorf("when it is ready: %s, %s", d.Rule, d.Evidence)
			}
		})
	}
}
