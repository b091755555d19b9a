package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	clean      = 0.001   // of the requests may be lost
	deafened   = 0.01    // of the replies may be lost by perfdhcp: more, and the rate was not measured
	machines   = 900_000 // so that a machine comes once, with a new lease
	highest    = 60_000  // exchanges a second: more is not offered
	sharedRate = 2000
	lowest     = 500 // with which the search begins
	step       = 1.5 // between rates
	fine       = 1.2 // above the last one that was clean
	longest    = 12 * time.Minute
)

// measured is one server in one round.
type measured struct {
	light  summit // by our own load generator
	perf   summit // by perfdhcp, in the first round
	shared result // at one rate for all, or half of that if the server cannot do it
	mixed  result // the same with renewals and releases
	syncs  float64
	beside []result // at the rates of others
}

// summit is the highest rate of a server that was clean.
type summit struct {
	best    result
	offered int  // that rate
	limited bool // the load generator was the first to fail: it lost replies, or had no time to send
}

// dhcp measures exchanges of four packets: the highest clean rate of each server, the delay there and at a rate that all can do, and
// renewals and releases among them. hostler comes last, and is offered the rates of the others too. A round that would last too long is left
// out: where replies are lost, loads take longer.
func (b *bench) dhcp() error {
	ps := slices.DeleteFunc(peers(), func(p peer) bool { return b.server != "" && !strings.HasPrefix(p.name, b.server) })
	restore, err := setSystem("net.core.rmem_default", "4194304") // Kea and perfdhcp have what the system gives, some 270 datagrams
	if err != nil {
		return err
	}
	defer restore()
	rounds := make([][]measured, len(ps))
	begun, last := time.Now(), time.Duration(0)
	for round := range b.rounds {
		if time.Since(begun)+last > longest {
			fmt.Fprintf(b.log, "no time for another round\n")
			break
		}
		before := time.Since(begun)
		var rates []int
		for i, p := range ps {
			plan := plan{from: lowest, perfdhcp: round == 0}
			if round > 0 { // it is known by now where to look
				plan.from = max(rounds[i][0].light.offered*2/3, 1)
			}
			if p.beside {
				plan.rates = rates
			}
			m, err := b.measure(p, plan)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			rounds[i], rates = append(rounds[i], m), append(rates, m.light.offered)
			fmt.Fprintf(b.log, "round %d: %s: %.0f exchanges/s\n", round+1, p.name, m.light.best.rate)
		}
		last = time.Since(begun) - before
	}
	b.report(ps, rounds)
	return nil
}

// column is one figure of a server.
type column struct {
	name, format string
	of           func(measured) float64
	first        bool // measured in the first round only
}

func columns() []column {
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	limited := func(s summit) float64 { return map[bool]float64{true: 1}[s.limited] }
	used := func(s summit) float64 { return 100 * s.best.cpu.Seconds() / s.best.took.Seconds() }
	return []column{
		{name: "clean exchanges/s", format: "%.0f", of: func(m measured) float64 { return float64(m.light.offered) }},
		{name: "delay there", format: "%.2f ms", of: func(m measured) float64 { return m.light.best.delay() }},
		{name: "CPU of the server for one", format: "%.0f us", of: func(m measured) float64 { return us(m.light.best.server) }},
		{name: "idle processors", format: "%.0f%%", of: func(m measured) float64 { return 100 * m.light.best.idle }},
		{name: "the load generator's", format: "%.0f%%", of: func(m measured) float64 { return used(m.light) }},
		{name: "it failed first", format: "%.0f", of: func(m measured) float64 { return limited(m.light) }},
		{name: "delay at 2,000/s", format: "%.2f ms", of: func(m measured) float64 { return m.shared.delay() }},
		{name: "CPU for one", format: "%.0f us", of: func(m measured) float64 { return us(m.shared.server) }},
		{name: "delay with renewals and releases", format: "%.2f ms", of: func(m measured) float64 { return m.mixed.delay() }},
		{name: "of renewals", format: "%.2f ms", of: func(m measured) float64 { return m.mixed.exchange[renewal].delay }},
		{name: "file syncs for one", format: "%.2f", first: true, of: func(m measured) float64 { return m.syncs }},
		{name: "clean by perfdhcp", format: "%.0f", first: true, of: func(m measured) float64 { return float64(m.perf.offered) }},
		{name: "delay there", format: "%.2f ms", first: true, of: func(m measured) float64 { return m.perf.best.delay() }},
		{name: "CPU of perfdhcp", format: "%.0f%%", first: true, of: func(m measured) float64 { return used(m.perf) }},
		{name: "it failed first", format: "%.0f", first: true, of: func(m measured) float64 { return limited(m.perf) }},
	}
}

// report prints the medians.
func (b *bench) report(ps []peer, all [][]measured) {
	fmt.Fprintf(b.out, "Medians of %d rounds; perfdhcp, and a tracer that counts syncs, only in the first. A rate is offered for %d s, and clean when less than %.1f%% of the requests have no reply, "+
		"those not counted that the load generator lost.\n\n| server |", len(all[0]), b.seconds, 100*clean)
	for _, c := range columns() {
		fmt.Fprintf(b.out, " %s |", c.name)
	}
	fmt.Fprintf(b.out, "\n|%s\n", strings.Repeat("---|", 1+len(columns())))
	for i, p := range ps {
		fmt.Fprintf(b.out, "| %s |", p.name)
		for _, c := range columns() {
			rounds := all[i]
			if c.first {
				rounds = rounds[:1]
			}
			fmt.Fprintf(b.out, " "+c.format+" |", median(rounds, c.of))
		}
		fmt.Fprintln(b.out)
	}
	for i, p := range ps {
		if p.beside {
			b.delays(ps[:i], all, i)
		}
	}
}

func median(rounds []measured, of func(measured) float64) float64 {
	var v []float64
	for _, m := range rounds {
		v = append(v, of(m))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// delays compares a server with others, each at the other's own clean rate.
func (b *bench) delays(others []peer, all [][]measured, i int) {
	fmt.Fprintf(b.out, "\n| at the clean rate of | delay | of hostler, at the same rate | its requests without a reply |\n|---|---|---|---|\n")
	for j, p := range others {
		fmt.Fprintf(b.out, "| %s | %.2f ms | %.2f ms | %.2f%% |\n", p.name,
			median(all[j], func(m measured) float64 { return m.light.best.delay() }),
			median(all[i], func(m measured) float64 { return m.beside[j].delay() }),
			median(all[i], func(m measured) float64 { return 100 * m.beside[j].lost() }))
	}
}
