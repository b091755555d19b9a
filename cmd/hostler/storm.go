package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/term"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/bootsim/wire"
	"hostler/render/fact"
	"hostler/servers/admin"
)

type stormOptions struct {
	load           *loadFlags
	iface          string
	socket         *string
	machines       int
	firmware       string
	over, patience time.Duration
	hurry, force   bool
	json           bool
}

func stormCommand() command {
	return command{
		name: "storm", args: "-interface=NAME [options] [DIR]", synopsis: "Boot many machines at once, as after a power cut",
		long: "Switches on machines of the spec in DIR, which are played as \"hostler boot -wire\" plays one: each speaks from its own MAC and then from its\n" +
			"own address, with the time-outs and pauses of real firmware, fetches every byte of its loader, kernel and initrd, holds them against their\n" +
			"digests, and reports that it is ready. Prints how long each stage took. Exits with 3 when a machine did not become ready.\n\n" +
			"It is for a test network: machines with these MACs must not be up. A MAC with a lease on this host's server is refused without -force.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &stormOptions{load: loadOptions(fs), socket: socketFlag(fs)}
			fs.StringVar(&o.iface, "interface", "", "The `interface` to send from. Needed.")
			fs.IntVar(&o.machines, "machines", 0, "Boot the first `N` machines of the spec. Default: all.")
			fs.StringVar(&o.firmware, "firmware", "", "Play `KIND`: bios, uefi, uefi-http, arm64 or ipxe. Default: what each node declares, else bios.")
			fs.DurationVar(&o.over, "over", 30*time.Second, "Switch them on evenly over this `time`, as power is.")
			fs.DurationVar(&o.patience, "patience", 15*time.Minute, "Give a machine up that is not ready after this `time`.")
			fs.BoolVar(&o.hurry, "hurry", false, "Leave out the pauses that firmware makes between packets.")
			fs.BoolVar(&o.force, "force", false, "Use MACs of machines that hold a lease.")
			fs.BoolVar(&o.json, "json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int { return env.storm(ctx, o, args) }
		},
	}
}

func (env *environment) storm(ctx context.Context, o *stormOptions, args []string) int {
	dir, ok := env.oneDir("storm", args)
	if !ok {
		return exitError
	}
	if o.iface == "" {
		return env.fail("storm: it needs -interface=NAME, to send from")
	}
	loaded, code := env.load(ctx, dir, "", o.load, false)
	if loaded == nil {
		return code
	}
	machines, ok := env.stormMachines(loaded.Snapshot, o)
	if !ok {
		return exitError
	}
	if l, ok := anyLease(ctx, socketPath(*o.socket), machines); ok && !o.force {
		return env.fail("storm: %s holds the lease of %s until %s: it may be up, and would lose its address to the play; -force plays it all the same",
			l.MAC, l.Addr, l.Expires.UTC().Format("15:04:05 MST"))
	}
	var done atomic.Int64
	s := wire.Storm{
		Interface: o.iface, Machines: machines, Over: o.over, Hurry: o.hurry, Patience: o.patience,
		Progress: func(n int) { done.Store(int64(n)) },
	}
	stop := env.showProgress(func() string {
		return fmt.Sprintf("%s of %s have ended", thousands(int(done.Load())), plural(len(machines), "machine"))
	})
	r, err := s.Run(ctx)
	stop()
	if err != nil {
		return env.fail("storm: %v", err)
	}
	if o.json {
		env.json(r)
	} else {
		env.printStorm(r)
	}
	if r.Ready < r.Machines {
		return exitNo
	}
	return exitOK
}

// stormMachines are the machines of the spec that have a network card, in its order.
func (env *environment) stormMachines(s *render.Snapshot, o *stormOptions) ([]bootsim.Machine, bool) {
	var machines []bootsim.Machine
	nodes := s.Fleet().Nodes
	for i := range nodes {
		n, ok := s.Node(string(nodes[i].Name))
		if !ok || n.MAC.IsZero() {
			continue
		}
		m, ok := env.hardware(s, n.MAC, cmp.Or(o.firmware, declaredFirmware(&nodes[i])))
		if !ok {
			return nil, false
		}
		if machines = append(machines, m); len(machines) == o.machines {
			return machines, true
		}
	}
	if len(machines) < max(o.machines, 1) {
		env.fail("storm: the spec has %s, not %d", plural(len(machines), "machine"), max(o.machines, 1))
		return nil, false
	}
	return machines, true
}

// anyLease gives a lease that one of the machines holds on this host's server.
func anyLease(ctx context.Context, socket string, machines []bootsim.Machine) (fact.Lease, bool) {
	var leases []fact.Lease
	if admin.NewClient(socket).Get(ctx, "/v1/leases", &leases) != nil {
		return fact.Lease{}, false // no server of this host: nothing is known
	}
	played := map[fact.MAC]bool{}
	for _, m := range machines {
		played[m.MAC] = true
	}
	for _, l := range leases {
		if played[l.MAC] && l.State == fact.Bound && time.Now().Before(l.Expires) {
			return l, true
		}
	}
	return fact.Lease{}, false
}

func (env *environment) printStorm(r wire.Report) {
	fmt.Fprintf(env.stdout, "%s of %s became ready in %s.\n", thousands(r.Ready), plural(r.Machines, "machine"), r.Elapsed.Round(time.Millisecond))
	fmt.Fprintf(env.stdout, "%s with %s, every byte as its digest says. %s sent again.\n\n", plural(r.Files, "file"), size(r.Bytes), plural(r.Resent, "DHCP message"))
	var rows [][]string
	for _, s := range r.Stages {
		rows = append(rows, []string{s.Stage, thousands(s.Count), brief(s.P50), brief(s.P90), brief(s.P99), brief(s.Max)})
	}
	env.table([]string{"STAGE", "COUNT", "P50", "P90", "P99", "MAX"}, rows)
	for _, f := range r.Failures {
		fmt.Fprintf(env.stdout, "\n%s, among them %s: %s\n", plural(f.Machines, "machine"), f.Example, f.Reason)
	}
}

// brief gives a duration with three digits, which is more than can be repeated.
func brief(d time.Duration) string {
	digits := time.Duration(1)
	for d/digits >= 1000 {
		digits *= 10
	}
	if d = d.Round(digits); d >= time.Minute {
		return fmt.Sprintf("%.4gs", d.Seconds())
	}
	return d.String()
}

// showProgress repeats a line on a terminal until it is stopped.
func (env *environment) showProgress(line func() string) (stop func()) {
	f, ok := env.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(f, "\r%s\x1b[K", line())
			case <-quit:
				fmt.Fprint(f, "\r\x1b[K")
				return
			}
		}
	}()
	return func() { close(quit); <-ended }
}
