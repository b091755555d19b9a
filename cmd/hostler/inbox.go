package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"hostler/servers/admin"
)

func inboxCommand() command {
	return command{
		name: "inbox", args: "[MAC]", synopsis: "List the machines that asked to boot and that nobody declared",
		long: "Lists the machines that the running server heard of and that are not in the spec, the last one first: who made their cards, their\n" +
			"architecture, where they are, and when they were seen. With a MAC, everything that is known of that machine. A machine stays until it is\n" +
			"declared. The server keeps 4,096 of them across restarts, and those that came back or got somewhere longest.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			subnet := fs.String("subnet", "", "Only machines that asked on this `subnet`.")
			asJSON := fs.Bool("json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) > 1 {
					return env.fail("inbox: one machine at most, not %q", args)
				}
				q := url.Values{"subnet": {*subnet}, "machine": {strings.Join(args, "")}}
				var machines []stranger
				if err := admin.NewClient(socketPath(*socket)).Get(ctx, "/v1/inbox?"+q.Encode(), &machines); err != nil {
					return env.serverError(err)
				}
				switch {
				case *asJSON:
					return env.json(machines)
				case len(args) > 0 && len(machines) == 0:
					return env.fail("inbox: %s was not seen, or it is declared", args[0])
				case len(args) > 0:
					env.printStranger(&machines[0])
				default:
					env.printInbox(machines, time.Now())
				}
				return exitOK
			}
		},
	}
}

func (env *environment) printInbox(machines []stranger, now time.Time) {
	if len(machines) == 0 {
		fmt.Fprintln(env.stdout, "No undeclared machine was seen.")
		return
	}
	var rows [][]string
	for _, m := range machines {
		rows = append(rows, []string{m.MAC.String(), m.Vendor, m.Arch, m.Subnet, m.port(), ago(now.Sub(m.First)), ago(now.Sub(m.Last)), m.often(), m.Stage.String()})
	}
	env.table([]string{"MAC", "VENDOR", "ARCH", "SUBNET", "PORT", "FIRST SEEN", "LAST SEEN", "REQUESTS", "STAGE"}, rows)
}

// port is where a machine is plugged in, as far as its relay agent says.
func (m *stranger) port() string {
	parts := []string{}
	for _, s := range []string{m.Remote, m.Circuit} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if len(parts) == 0 && m.Relay.IsValid() {
		return "relay " + m.Relay.String()
	}
	return strings.Join(parts, " ")
}

func (m *stranger) often() string {
	if m.Visits > 1 {
		return fmt.Sprintf("%s in %s", thousands(m.Requests), plural(m.Visits, "visit"))
	}
	return thousands(m.Requests)
}

func (env *environment) printStranger(m *stranger) {
	address := func(a netip.Addr) string {
		if a.IsValid() {
			return a.String()
		}
		return ""
	}
	when := func(t time.Time) string { return t.UTC().Format("2 Jan 2006 15:04:05 MST") }
	for _, x := range [][2]string{
		{"MAC", m.MAC.String()}, {"Vendor", m.Vendor}, {"Architecture", m.Arch}, {"UUID", m.UUID}, {"Vendor class", m.VendorClass},
		{"Host name", m.Hostname}, {"Subnet", m.Subnet}, {"Address", address(m.Address)}, {"Relay agent", address(m.Relay)}, {"Port", m.Circuit},
		{"Switch", m.Remote}, {"Asked from", address(m.Peer)}, {"First seen", when(m.First)}, {"Last seen", when(m.Last)}, {"Requests", m.often()},
		{"Furthest stage", m.Stage.String()},
	} {
		if x[1] != "" {
			fmt.Fprintf(env.stdout, "%-15s %s\n", x[0], clean(x[1]))
		}
	}
}
