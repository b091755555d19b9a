package dhcp

import (
	"net/netip"

	"hostler/render/fact"
)

// Leases say who has which address. Every method but Bind reads and writes memory only; all may be called at
// the same time.
type Leases interface {
	// Offer gives the machine's current lease, the fixed address, or a free one, which it keeps for the machine
	// for a short time. The error says why there is none.
	Offer(fact.Claim) (fact.Lease, error)
	// Bind makes a lease durable, and then calls done once, on any goroutine, possibly before it returns. It does not
	// wait for the disk itself.
	Bind(l fact.Lease, done func(error))
	// Release gives an address back, if the machine holds it.
	Release(mac fact.MAC, addr netip.Addr) bool
	// Holder finds the lease of an address.
	Holder(addr netip.Addr) (fact.Lease, bool)
	// Held finds the lease that a machine has in a subnet.
	Held(mac fact.MAC, subnet string) (fact.Lease, bool)
}
