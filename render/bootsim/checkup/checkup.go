// Package checkup plays a machine against running servers for somebody who looks for a fault: it judges each answer, and says what to do
// about those that are wrong. It does not know how the servers see it.
package checkup

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/bootsim/wire"
	"hostler/render/fact"
)

// Result is how a check ended.
type Result string

// The results. A warning is something that machines live with.
const (
	OK   Result = "ok"
	Warn Result = "warn"
	Fail Result = "fail"
)

// Finding is what one check found.
type Finding struct {
	Subnet string `json:"subnet,omitempty"` // empty: the server as a whole
	Check  string `json:"check"`
	Result Result `json:"result"`
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"` // what to do, unless it is ok
}

// Config is what to play.
type Config struct {
	Snapshot *render.Snapshot // what should be told
	Subnet   string
	Machine  bootsim.Machine
	Station  *wire.Station
	Servers  []netip.Addr  // of the servers that are looked at; none: whoever answers
	Proxy    bool          // the site's own DHCP server gives the addresses there
	Report   func(Finding) // called for each finding, in order
}

// player is bootsim's network, with an opinion about what passes.
type player struct {
	Config
	known   map[string]known // files by URL, or by the path on the boot HTTP server
	ipxe    bool
	failed  bool // something was: what follows from it is not told again
	large   bool // the path was tried with large packets
	clocked map[string]bool
	hosts   map[string]bool // whose answers to HEAD and Range were looked at
}

// Run plays the machine's boot to the last byte of the initrd, gives its lease back, and reports whether it would boot.
func Run(ctx context.Context, c Config) (booted bool) {
	p := &player{Config: c, clocked: map[string]bool{}, hosts: map[string]bool{}}
	p.known = filesOf(c.Snapshot)
	t := bootsim.Walk(p, c.Machine)
	if err := c.Station.Release(); err != nil {
		p.warn("release", fmt.Sprintf("the lease could not be given back: %v", err), "It ends by itself.")
	}
	p.others()
	switch {
	case t.Booted:
		p.ok("boot", "the kernel would start with "+t.Cmdline)
	case ctx.Err() != nil:
		p.fail("boot", "not finished in time", "Give it more with -timeout; a download that stands still is named above.")
	case !p.failed:
		p.ends(t.Reason)
	}
	return t.Booted
}

// ends judges a boot that nothing was wrong with, and that started no kernel.
func (p *player) ends(reason string) {
	mac := p.Machine.MAC.String()
	if n, ok := p.Snapshot.Node(mac); !ok || slices.Contains([]string{"disk", "off", "hold"}, n.Next) {
		p.ok("boot", "as the spec says, no kernel: "+reason)
		return
	}
	p.fail("boot", reason, "`hostler boot "+mac+"` plays what it should be told.")
}

func (p *player) tell(check string, r Result, text, advice string) {
	if p.Report(Finding{p.Subnet, check, r, text, advice}); r == Fail {
		p.failed = true
	}
}

func (p *player) ok(check, text string)           { p.tell(check, OK, text, "") }
func (p *player) warn(check, text, advice string) { p.tell(check, Warn, text, advice) }
func (p *player) fail(check, text, advice string) { p.tell(check, Fail, text, advice) }

// others tells of each server that answered and is none of those that are looked at.
func (p *player) others() {
	told := map[netip.Addr]bool{}
	alone := p.Snapshot.Alone(p.Subnet)
	for _, h := range p.Station.Heard() {
		if p.ours(&h) || told[h.ServerID] {
			continue
		}
		told[h.ServerID] = true
		who := fmt.Sprintf("%s (sent from %s, MAC %s) offers %s", h.ServerID, h.From, macText(h), address(&h.Reply))
		if h.BootFile != "" {
			who += fmt.Sprintf(" and boots %s from %s", h.BootFile, h.SIAddr)
		}
		if alone {
			p.fail("another DHCP server", who, "Switch it off, or find its port by the MAC in the switch. If it belongs there, say `authoritative = false` in the subnet.")
		} else {
			p.ok("another DHCP server", who+", as the spec has it")
		}
	}
	if len(told) == 0 && len(p.Station.Heard()) > 0 {
		p.ok("another DHCP server", "none answered")
	}
}

func macText(h wire.Heard) string {
	if h.MAC == nil {
		return "not seen"
	}
	return h.MAC.String()
}

func address(r *bootsim.Reply) string {
	if r.YIAddr.IsValid() {
		return r.YIAddr.String()
	}
	return "no address"
}

func (p *player) ours(h *wire.Heard) bool {
	return len(p.Servers) == 0 || slices.Contains(p.Servers, h.ServerID)
}

// DHCP implements bootsim.Network.
func (p *player) DHCP(f fact.Facts) ([]bootsim.Reply, error) {
	start, before := time.Now(), len(p.Station.Heard())
	replies, err := p.Station.DHCP(f)
	who := "firmware"
	if p.ipxe = p.ipxe || f.IPXE; f.IPXE {
		who = "iPXE"
	}
	check := map[bool]string{true: "offer", false: "lease"}[f.Message == fact.Discover] + " to " + who
	heard := p.Station.Heard()[before:]
	switch {
	case err != nil && f.Message == fact.Discover:
		p.fail(check, fmt.Sprintf("no answer to a DISCOVER of %s: %v", f.MAC, err), "What the server says of it stands below, if it heard anything. Else something drops UDP port 67 or 68: a firewall, a VLAN, a relay agent.")
	case err != nil:
		p.fail(check, fmt.Sprintf("an offer, and no answer to the request: %v", err), "`hostler status` says whether leases can be written.")
	case len(replies) > 0 && replies[0].Message == fact.Nak:
		p.fail(check, "refused by "+replies[0].ServerID.String(), "`hostler boots "+f.MAC.String()+"` says why.")
	default:
		p.answered(check, heard, time.Since(start), f.Message == fact.Discover)
	}
	return replies, err
}

// answered judges the replies to one message.
func (p *player) answered(check string, heard []wire.Heard, took time.Duration, discover bool) {
	i := slices.IndexFunc(heard, func(h wire.Heard) bool { return p.ours(&h) })
	if i < 0 && p.Proxy && !discover && len(heard) > 0 {
		i = 0
	}
	if i < 0 {
		p.fail(check, "others answer, and the server that should does not", "What it says of this stands below.")
		return
	}
	h := &heard[i]
	if h.ServerID.IsValid() && h.From != h.ServerID {
		p.fail("reply source", fmt.Sprintf("the reply comes from %s and says that its server is %s", h.From, h.ServerID),
			"Address translation or a second address is in the way: machines and switches drop such replies. Exempt UDP ports 67 and 68 from NAT, and name an address of the interface in boot_servers.")
	}
	text := fmt.Sprintf("%s from %s", address(&h.Reply), h.ServerID)
	if h.BootFile != "" && discover {
		text += fmt.Sprintf(", next-server %s, boot file %s", h.SIAddr, h.BootFile)
	}
	if !discover {
		text += fmt.Sprintf(" in %s", took.Round(time.Millisecond))
	}
	p.ok(check, text)
}
