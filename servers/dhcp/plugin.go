package dhcp

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/coredhcp/coredhcp/handler"
	"github.com/coredhcp/coredhcp/plugins"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// Plugin gives hostler as a plugin of coredhcp under the name, for coredhcp's own server: register it, and name it in
// the configuration with the interface that it serves as its only argument. That server tells plugins nothing of
// where a request came in, sends no DECLINE to them, and waits while a lease is written; Listen has none of these limits.
func Plugin(name string, cfg Config) *plugins.Plugin {
	return newResponder(cfg).plugin(name)
}

// responder answers requests: it looks up what the snapshot and the leases say, and encodes it.
type responder struct {
	cfg      Config
	inFlight beside
	met      acquaintances
	report   *report
}

func newResponder(cfg Config) *responder {
	r := &responder{cfg: cfg.withDefaults()}
	r.inFlight.m = make(map[*dhcpv4.DHCPv4]*exchange)
	r.report = newReport(&r.cfg)
	return r
}

func (r *responder) plugin(name string) *plugins.Plugin {
	return &plugins.Plugin{Name: name, Setup4: func(args ...string) (handler.Handler4, error) {
		switch len(args) {
		case 0:
			return r.handle, nil
		case 1:
			return func(req, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) { return r.handleAlone(args[0], req, resp) }, nil
		}
		return nil, fmt.Errorf("plugin %s: want at most one argument, the interface, got %d", name, len(args))
	}}
}

// handle is our place in the chain when the packet loop is our own.
func (r *responder) handle(req, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
	x := r.inFlight.get(req)
	if x == nil {
		// Under coredhcp's own server, and not told which interface it serves.
		return r.handleAlone("", req, resp)
	}
	x.handled = true
	if resp == nil || !r.decide(x, req, resp) {
		return nil, true
	}
	return resp, false
}

// handleAlone is our place in the chain under coredhcp's own server.
func (r *responder) handleAlone(ifname string, req, resp *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, bool) {
	in, err := ingressOf(ifname)
	if err != nil {
		r.cfg.Log.Error("dhcp: reading addresses", "interface", ifname, "err", err)
		return nil, true
	}
	x := &exchange{start: r.cfg.Now(), result: fact.OK}
	if x.facts, err = factsOf(req, in); err != nil {
		x.refuse(err.Error())
	}
	ok := err == nil && resp != nil && r.decide(x, req, resp)
	r.report.request(x)
	if !ok {
		return nil, true
	}
	if x.commit != nil {
		done := make(chan error, 1)
		r.cfg.Leases.Bind(*x.commit, func(err error) { done <- err })
		err = r.bound(<-done)
	}
	r.report.reply(x, resp, len(resp.ToBytes()), err)
	if err != nil {
		return nil, true
	}
	return resp, false
}

// decide fills in the reply to a request, or records why there is none.
func (r *responder) decide(x *exchange, req, resp *dhcpv4.DHCPv4) bool {
	switch x.facts.Message {
	case fact.Discover, fact.Request, fact.Inform, fact.BOOTP:
		return r.answer(x, req, resp)
	case fact.Release:
		r.release(x)
	case fact.Decline:
		r.decline(x)
	default:
		x.refuse(x.facts.Message.String() + " is not served")
	}
	return false
}

// answer is the three calls: whom is it from, which address may it have, what is it told.
func (r *responder) answer(x *exchange, req, resp *dhcpv4.DHCPv4) bool {
	snap, rev := r.cfg.Current()
	if snap == nil {
		x.refuse("no revision is in force yet")
		return false
	}
	choice := snap.Select(&x.facts)
	x.node, x.subnet, x.revision, x.server = choice.Node, choice.Subnet, rev, choice.Server
	if choice.Proxy {
		return r.answerProxy(x, req, resp, snap, &choice)
	}
	if choice.Ignore != "" {
		x.refuse(choice.Ignore)
		r.report.notice(x, choice.Notice)
		return false
	}
	lease, err := r.take(x, &choice)
	a := snap.Answer(&x.facts, &choice, lease.Addr)
	if a.Ignore != "" {
		x.refuse(a.Ignore)
		if err != nil {
			x.detail += ": " + err.Error()
		}
		if a.Notice.Kind == render.ForeignServer { // RFC 2131 section 4.3.2: the REQUEST declines our offer
			r.cfg.Leases.Withdraw(x.facts.MAC, choice.Subnet)
		}
		r.report.notice(x, a.Notice)
		return false
	}
	r.report.notice(x, a.Notice)
	fill(resp, req, &x.facts, &a, r.bootFile(a.BootFile, choice.Server))
	if a.Message == fact.Offer && lease.State == fact.Offered {
		x.check = choice.Check
	}
	if a.Message == fact.Ack && x.facts.Message == fact.Request || a.Message == fact.BOOTP {
		x.commit = r.binding(x, lease, &choice)
	}
	return true
}

// answerProxy answers beside the site's own DHCP server, whose business addresses are.
func (r *responder) answerProxy(x *exchange, req, resp *dhcpv4.DHCPv4, snap *render.Snapshot, c *render.Choice) bool {
	r.met.learn(&x.facts, c, snap)
	if c.Ignore != "" {
		x.leave(c.Ignore)
		return false
	}
	a := snap.Answer(&x.facts, c, netip.Addr{})
	if a.Ignore != "" {
		x.refuse(a.Ignore)
		return false
	}
	fill(resp, req, &x.facts, &a, r.bootFile(a.BootFile, c.Server))
	if x.facts.GIAddr.IsValid() {
		resp.SetBroadcast() // yiaddr is zero: the relay agent has no address to send to
	}
	return true
}

// take finds the address. An INFORM asks for none: the machine has one already.
func (r *responder) take(x *exchange, c *render.Choice) (fact.Lease, error) {
	if x.facts.Message == fact.Inform {
		return fact.Lease{Addr: x.facts.CIAddr}, nil
	}
	if l, ok := r.cfg.Leases.Held(c.Claim.MAC, c.Subnet); ok && l.State == fact.Bound {
		c.Nak = true // whoever holds a lease of ours is no stranger
	}
	if !c.NeedsAddress(&x.facts) {
		return fact.Lease{}, nil
	}
	return r.cfg.Leases.Offer(c.Claim)
}

// binding is the lease as it will be written: running from now on, and from its first start when it is renewed.
func (r *responder) binding(x *exchange, l fact.Lease, c *render.Choice) *fact.Lease {
	if l.State != fact.Bound || l.Start.IsZero() {
		l.Start = x.start
	}
	l.Pool, l.State, l.Expires = c.Claim.Pool, fact.Bound, x.start.Add(c.LeaseTime())
	x.lease = l
	return &x.lease
}

func (r *responder) bootFile(t fact.Text, server netip.Addr) string {
	if t == "" {
		return ""
	}
	return late.Fill(t, late.Values{Server: server, Base: r.cfg.Base.URL(server), Secure: r.cfg.Base.Secure(server)})
}

// errNotDurable is the end of a request whose lease could not be written.
var errNotDurable = errors.New("lease not written, so there is no ACK")

// bound takes note of how writing a lease ended.
func (r *responder) bound(err error) error {
	if err == nil {
		r.report.leaseError("")
		return nil
	}
	r.report.leaseError(err.Error())
	return fmt.Errorf("%w: %w", errNotDurable, err)
}

// release gives the address back (RFC 2131 section 4.3.4). There is no reply.
func (r *responder) release(x *exchange) {
	if !r.ours(x) {
		return
	}
	if l, ok := r.cfg.Leases.Holder(x.facts.CIAddr); ok && l.MAC == x.facts.MAC {
		x.node = l.Node
	}
	if !r.cfg.Leases.Release(x.facts.MAC, x.facts.CIAddr) {
		x.refuse("releasing " + addrText(x.facts.CIAddr) + ": not this machine's")
		return
	}
	x.detail = "released " + addrText(x.facts.CIAddr)
}

// decline takes an address out of use for a while: somebody answers to it already (RFC 2131 section 4.3.3).
func (r *responder) decline(x *exchange) {
	if !r.ours(x) {
		return
	}
	snap, _ := r.cfg.Current()
	if snap == nil {
		x.refuse("no revision is in force yet")
		return
	}
	addr := cmp.Or(x.facts.Requested, x.facts.CIAddr)
	rest := snap.Quarantine(addr)
	l, ok := r.cfg.Leases.Decline(x.facts.MAC, addr, rest)
	if !ok {
		x.refuse("declining " + addrText(addr) + ": not this machine's")
		return
	}
	x.node, x.subnet, x.result = l.Node, l.Subnet, fact.Failed
	x.detail = fmt.Sprintf("%s is used by another machine too; it is not offered for %s", addr, rest)
	if l.Pool == "" {
		x.detail = fmt.Sprintf("%s is used by another machine too; it is declared, so it stays in use", addr)
	}
	r.report.notice(x, render.Notice{Kind: render.AddressConflict, Subject: addr.String()})
}

// ours reports whether a message that changes a lease was meant for this server.
func (r *responder) ours(x *exchange) bool {
	id := x.facts.ServerID
	if slices.Contains(x.facts.Ingress.Owned, id) || id.IsValid() && x.facts.GIAddr.IsValid() && id == x.facts.Override {
		return true
	}
	x.refuse("for another server: " + addrText(id))
	return false
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return "no address"
	}
	return a.String()
}
