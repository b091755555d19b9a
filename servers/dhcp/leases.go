package dhcp

import (
	"net/netip"
	"time"

	"hostler/render/fact"
)

// Leases say who has which address. No method waits for a disk; all may be called at the same time.
type Leases interface {
	// Offer gives the machine's current lease, the fixed address, or a free one, which it keeps for the machine
	// for a short time. The error says why there is none.
	Offer(fact.Claim) (fact.Lease, error)
	// Withdraw takes an offer back that the machine did not choose.
	Withdraw(mac fact.MAC, subnet string)
	// Bind makes a lease durable, and then calls done once, on any goroutine, possibly before it returns.
	Bind(l fact.Lease, done func(error))
	// Release gives an address back, if the machine holds it.
	Release(mac fact.MAC, addr netip.Addr) bool
	// Decline takes an address out of use for a while, if the machine has it or is offered it: it found somebody else using it. A
	// declared address stays in use. It gives what the machine had.
	Decline(mac fact.MAC, addr netip.Addr, rest time.Duration) (fact.Lease, bool)
	// Holder finds the lease of an address.
	Holder(addr netip.Addr) (fact.Lease, bool)
	// Held finds the lease that a machine has in a subnet.
	Held(mac fact.MAC, subnet string) (fact.Lease, bool)
}
