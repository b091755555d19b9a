package main

import (
	"context"
	"slices"
	"time"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/bootsim/wire"
	"hostler/render/fact"
	"hostler/servers/admin"
)

// bootWire plays the machine against running servers.
func (env *environment) bootWire(ctx context.Context, s *render.Snapshot, m bootsim.Machine, o *bootOptions, socket string) int {
	if o.iface == "" {
		return env.fail("boot: -wire needs -interface=NAME, to send from")
	}
	if l, ok := liveLease(ctx, socketPath(socket), m.MAC); ok && !o.force {
		return env.fail("boot: %s holds the lease of %s until %s: it may be up, and would lose its address to the play; -force plays it all the same",
			m.MAC, l.Addr, l.Expires.UTC().Format("15:04:05 MST"))
	}
	card, err := wire.New(o.iface, m.MAC)
	if err != nil {
		return env.fail("%v", err)
	}
	defer card.Close()
	t := bootsim.Walk(card, m)
	if o.json {
		env.json(t)
	} else {
		env.printTranscript(s, m, t)
	}
	if !t.Booted {
		return exitNo
	}
	return exitOK
}

func liveLease(ctx context.Context, socket string, mac fact.MAC) (fact.Lease, bool) {
	var leases []fact.Lease
	if admin.NewClient(socket).Get(ctx, "/v1/leases", &leases) != nil {
		return fact.Lease{}, false // no server of this host: nothing is known
	}
	i := slices.IndexFunc(leases, func(l fact.Lease) bool { return l.MAC == mac && l.State == fact.Bound && time.Now().Before(l.Expires) })
	if i < 0 {
		return fact.Lease{}, false
	}
	return leases[i], true
}
