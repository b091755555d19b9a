package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"hostler/render"
	"hostler/render/bootsim/checkup"
	"hostler/render/fact"
	"hostler/servers/admin"
)

type doctorOptions struct {
	load               *loadFlags
	iface, spec, node  string
	socket             string
	force, json, quiet bool
	timeout, wait      time.Duration
}

func doctorCommand() command {
	return command{
		name: "doctor", args: "[SUBNET...]", synopsis: "Try everything that a machine needs, on each subnet, and say what is wrong",
		long: "Looks at the running server, and then plays a machine through each subnet of the spec, or through those that are named: from the DHCP\n" +
			"Discover to the last byte of the initrd, the TFTP size probe included. On a subnet of one of this host's interfaces it asks there, else as\n" +
			"a relay agent. It tells of other DHCP servers that answer, of replies with a wrong source, packets that are too large for the way, files\n" +
			"that are not what was reviewed, servers and stores that do not answer or have another time, full pools, and interfaces that are not served.\n\n" +
			"Run it on the server, or on any host in a machines' network, with -interface and -spec. It plays a declared machine that was never seen, or\n" +
			"one that nobody declared where those are served; the play counts as no boot of the machine, its lease is given back, and nothing is sent with\n" +
			"the machine's MAC as sender. A machine that holds a lease is played with -node and -force only, and its lease left alone.\n\n" +
			"One line for each check: ok, warn or fail, and what to do. Exits with 3 when a check failed.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &doctorOptions{load: loadOptions(fs)}
			socket := socketFlag(fs)
			fs.StringVar(&o.iface, "interface", "", "Ask from this `interface`. Default: those that the server serves.")
			fs.StringVar(&o.spec, "spec", "", "Read the spec in this `directory` instead of asking a server on this host.")
			fs.StringVar(&o.node, "node", "", "Play this `machine`: a node, or a MAC.")
			fs.BoolVar(&o.force, "force", false, "Play the machine of -node although it holds a lease.")
			fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "Give each subnet this `duration`.")
			fs.DurationVar(&o.wait, "wait", 3*time.Second, "Wait for this `duration` for other DHCP servers to answer, too.")
			fs.BoolVar(&o.quiet, "quiet", false, "Leave out what is well.")
			fs.BoolVar(&o.json, "json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				o.socket = socketPath(*socket)
				return env.doctor(ctx, o, args)
			}
		},
	}
}

// doctor is one examination.
type doctor struct {
	*doctorOptions
	env      *environment
	client   *admin.Client // nil with -spec
	snapshot *render.Snapshot
	status   *serverStatus // nil with -spec
	leases   []fact.Lease
	findings []checkup.Finding
}

func (env *environment) doctor(ctx context.Context, o *doctorOptions, subnets []string) int {
	d := &doctor{doctorOptions: o, env: env}
	if code := d.open(ctx); code != exitOK {
		return code
	}
	known := d.snapshot.Counts()
	for _, name := range subnets {
		if !slices.ContainsFunc(d.names(), func(n string) bool { return n == name }) {
			return env.fail("doctor: there is no subnet %q; there are %s", name, strings.Join(d.names(), ", "))
		}
	}
	if d.status != nil {
		d.examineServer()
	}
	for i := range d.snapshot.Fleet().Subnets {
		sn := &d.snapshot.Fleet().Subnets[i]
		if len(subnets) > 0 && !slices.Contains(subnets, sn.Name) {
			continue
		}
		bounded, cancel := context.WithTimeout(ctx, o.timeout)
		d.examineSubnet(bounded, sn, known[sn.Name])
		cancel()
	}
	return d.finish()
}

// open learns what should be served: from the server, or from a directory.
func (d *doctor) open(ctx context.Context) int {
	if d.spec != "" {
		if d.iface == "" {
			return d.env.fail("doctor: -spec needs -interface=NAME, to ask from")
		}
		loaded, code := d.env.load(ctx, d.spec, "", d.load, false)
		if loaded != nil {
			d.snapshot = loaded.Snapshot
		}
		return code
	}
	d.client = admin.NewClient(d.socket)
	d.status = &serverStatus{}
	if err := d.client.Get(ctx, "/v1/status", d.status); err != nil {
		return d.env.serverError(err)
	}
	served, err := fetchServed(ctx, d.client)
	if err != nil {
		return d.env.serverError(err)
	}
	d.leases = served.Leases
	snapshot, diags := served.snapshot()
	if snapshot == nil {
		if diags.HasErrors() {
			return d.env.fail("doctor: rendering what the server serves: %v", diags)
		}
		d.examineServer()
		return d.finish()
	}
	d.snapshot = snapshot
	return exitOK
}

func (d *doctor) names() (names []string) {
	for i := range d.snapshot.Fleet().Subnets {
		names = append(names, d.snapshot.Fleet().Subnets[i].Name)
	}
	return names
}

// found takes a finding down, and prints it: an examination takes a while.
func (d *doctor) found(f checkup.Finding) {
	if f.Result == checkup.OK {
		f.Advice = ""
	}
	d.findings = append(d.findings, f)
	if d.json || d.quiet && f.Result == checkup.OK {
		return
	}
	name := f.Check
	if f.Subnet != "" {
		name = f.Subnet + ": " + name
	}
	const indent = 36
	for i, line := range wrap(clean(f.Text), max(d.env.width-indent, 40)) {
		if i > 0 {
			fmt.Fprintf(d.env.stdout, "%*s%s\n", indent, "", line)
			continue
		}
		fmt.Fprintf(d.env.stdout, "%-4s  %-28s  %s\n", f.Result, name, line)
	}
	if f.Result == checkup.OK {
		return
	}
	for i, line := range wrap(clean(f.Advice), max(d.env.width-indent-4, 40)) {
		fmt.Fprintf(d.env.stdout, "%*s%s%s\n", indent, "", map[bool]string{true: "do: ", false: "    "}[i == 0], line)
	}
}

// finish sums up, and gives the exit code.
func (d *doctor) finish() int {
	counts := map[checkup.Result]int{}
	for _, f := range d.findings {
		counts[f.Result]++
	}
	if d.json {
		d.env.json(d.findings)
	} else {
		fmt.Fprintf(d.env.stdout, "\n%s: %d ok, %d to look at, %d failed\n", plural(len(d.findings), "check"), counts[checkup.OK], counts[checkup.Warn], counts[checkup.Fail])
	}
	if counts[checkup.Fail] > 0 {
		return exitNo
	}
	return exitOK
}

// reported is how long servers take to report a step after they sent the answer.
const reported = 200 * time.Millisecond

// explain adds what the server says of a play that went wrong.
func (d *doctor) explain(ctx context.Context, subnet string, mac fact.MAC) {
	if d.client == nil {
		return
	}
	time.Sleep(reported)
	var told []stuckMachine
	q := url.Values{"machine": {mac.String()}, "after": {"1ns"}}
	if err := d.client.Get(ctx, "/v1/stuck?"+q.Encode(), &told); err != nil || len(told) == 0 {
		d.found(checkup.Finding{Subnet: subnet, Check: "at the server", Result: checkup.Warn, Text: fmt.Sprintf("it does not say how it saw the play: %v", err), Advice: "`hostler boots " + mac.String() + "` may."})
		return
	}
	m := told[0]
	switch {
	case m.Boot != nil && m.Boot.Stage == fact.StageNone:
		d.found(checkup.Finding{Subnet: subnet, Check: "at the server", Result: checkup.Fail, Text: "nothing of the play arrived at the server",
			Advice: "A firewall on this host or on the way drops UDP port 67 (`nft list ruleset`), the interface is another one, or the network is: the server serves those that `hostler status` lists."})
	case m.Diagnosis != nil:
		text := m.Diagnosis.Cause
		if m.Diagnosis.Evidence != "" {
			text += " (" + m.Diagnosis.Evidence + ")"
		}
		d.found(checkup.Finding{Subnet: subnet, Check: "at the server", Result: checkup.Fail, Text: text + " [" + m.Diagnosis.Rule + "]", Advice: m.Diagnosis.Advice})
	}
}
