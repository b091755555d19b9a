package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/dhcp"
	"hostler/spec"
)

// loopRole is this program as a DHCP server: hostler's own packet loop without state.
const loopRole = "serve-loop"

// stateless gives every machine the address that its MAC says, and remembers nothing.
type stateless struct{}

func (stateless) Offer(c fact.Claim) (fact.Lease, error) {
	first := c.Ranges[0].First.As4()
	n := binary.BigEndian.Uint32(first[:]) + binary.BigEndian.Uint32(c.MAC[2:])%900_000
	return fact.Lease{Addr: netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, n))), MAC: c.MAC, Subnet: c.Subnet}, nil
}

func (stateless) Withdraw(fact.MAC, string)                    {}
func (stateless) Bind(_ fact.Lease, done func(error))          { done(nil) }
func (stateless) Release(fact.MAC, netip.Addr) bool            { return true }
func (stateless) Holder(netip.Addr) (l fact.Lease, _ bool)     { return l, false }
func (stateless) Held(fact.MAC, string) (l fact.Lease, _ bool) { return l, false }
func (stateless) Decline(fact.MAC, netip.Addr, time.Duration) (l fact.Lease, _ bool) {
	return l, false
}

// serveLoop serves a folder's spec to the network that it is in.
func serveLoop(ctx context.Context, folder string) error {
	fleet, ds := spec.Parse(spec.Input{Files: os.DirFS(folder)})
	if fleet == nil || ds.HasErrors() {
		return fmt.Errorf("reading %s: %w", folder, ds)
	}
	snapshot, ds := render.Render(fleet, render.Artifacts{}, render.Assignments{})
	if snapshot == nil {
		return fmt.Errorf("rendering %s: %w", folder, ds)
	}
	s, err := dhcp.Listen(dhcp.Config{
		Interfaces: []string{"eth0"}, Leases: stateless{},
		Current: func() (*render.Snapshot, fact.Revision) { return snapshot, "" },
	})
	if err != nil {
		return err
	}
	return s.Serve(ctx)
}
