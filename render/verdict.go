package render

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
)

// NeedsAddress reports whether the leases are to be asked for an address. They are not for a machine that gets none here, and
// not for one that only wants to hear whether it may keep an address of which nobody here knows anything.
func (c *Choice) NeedsAddress(f *fact.Facts) bool {
	switch f.Message {
	case fact.Discover:
		return c.None == ""
	case fact.Request:
		return c.None == "" && (c.Nak || selecting(f))
	case fact.BOOTP:
		return c.Claim.Fixed.IsValid()
	}
	return false
}

// selecting reports whether a REQUEST takes up an offer: then it names the server, and the client has no address yet (RFC 2131
// section 4.3.2). Some clients name the server when they renew, too.
func selecting(f *fact.Facts) bool { return f.ServerID.IsValid() && !f.CIAddr.IsValid() }

// verdict is the kind of reply that RFC 2131 section 4.3 prescribes.
func verdict(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	switch f.Message {
	case fact.Discover:
		switch {
		case c.None != "":
			return Answer{Ignore: c.None}
		case !addr.IsValid():
			return exhausted(c)
		}
		return Answer{Message: fact.Offer, YIAddr: addr, ServerID: c.ID}
	case fact.Request:
		return verdictRequest(f, c, addr)
	case fact.Inform:
		switch {
		case c.None != "":
			return Answer{Ignore: c.None}
		case !f.CIAddr.IsValid() && (f.GIAddr.IsValid() || !f.From.IsValid()):
			return Answer{Ignore: "inform: without a client address"}
		}
		return Answer{Message: fact.Ack, ServerID: c.ID}
	case fact.BOOTP:
		switch {
		case !c.Claim.Fixed.IsValid():
			return Answer{Ignore: "bootp: no declared address, and a lease from a pool ends, which BOOTP cannot say"}
		case !addr.IsValid():
			return exhausted(c)
		}
		return Answer{Message: fact.BOOTP, YIAddr: addr}
	}
	return Answer{Ignore: strings.ToLower(f.Message.String()) + ": has no reply"}
}

// exhausted is the answer when the leases have no address.
func exhausted(c *Choice) Answer {
	if c.Claim.Fixed.IsValid() {
		return Answer{Ignore: fmt.Sprintf("address %s: in use by another machine", c.Claim.Fixed), Notice: Notice{AddressConflict, c.Claim.Fixed.String()}}
	}
	return Answer{
		Ignore: fmt.Sprintf("pool %s: exhausted", c.Claim.Pool),
		Notice: Notice{PoolExhausted, fmt.Sprintf("pool %s of subnet %s", c.Claim.Pool, c.Subnet)},
	}
}

// verdictRequest follows RFC 2131 section 4.3.2: a client selects our offer (option 54 is there), or verifies an address that
// it remembers (INIT-REBOOT: option 50 alone), or renews or rebinds (ciaddr). The last three differ in how they are sent, but not
// in what is true: either the address is the machine's, or it is not, or nobody here can know.
func verdictRequest(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	id := c.ID
	if f.ServerID.IsValid() {
		if f.ServerID != c.ID && !slices.Contains(f.Ingress.Owned, f.ServerID) {
			return Answer{Ignore: fmt.Sprintf("request: selects server %s", f.ServerID), Notice: Notice{ForeignServer, f.ServerID.String()}}
		}
		id = f.ServerID // one of ours: the reply is from whom the machine knows
	}
	want := wanted(f)
	refuse := func(why string) Answer { return Answer{Message: fact.Nak, Reason: why, ServerID: id} }
	switch {
	case !want.IsValid():
		return Answer{Ignore: "request: names no address"}
	case !c.Nak && !selecting(f):
		return Answer{Ignore: fmt.Sprintf("address %s: %s has no lease of it here, and others may give addresses too", want, f.MAC)}
	case c.None != "":
		return refuse(c.None)
	case !addr.IsValid():
		e := exhausted(c)
		return Answer{Message: fact.Nak, Reason: e.Ignore, ServerID: id, Notice: e.Notice}
	case want != addr:
		return refuse(fmt.Sprintf("address %s: not leased to %s", want, f.MAC))
	}
	return Answer{Message: fact.Ack, YIAddr: addr, ServerID: id}
}
