package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"hostler/render/fact"
	"hostler/servers/admin"
)

func leasesCommand() command {
	return command{
		name: "leases", synopsis: "List the addresses in use",
		long: "Lists the leases of the running server, by address: who holds each, from which pool, and for how long still. An address that is\n" +
			"declined was found in use by the machine shown, and is given to nobody until then.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			asJSON := fs.Bool("json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) > 0 {
					return env.fail("leases: no argument expected, not %q", args)
				}
				var leases []fact.Lease
				if err := admin.NewClient(socketPath(*socket)).Get(ctx, "/v1/leases", &leases); err != nil {
					return env.serverError(err)
				}
				if *asJSON {
					return env.json(leases)
				}
				if len(leases) == 0 {
					fmt.Fprintln(env.stdout, "No leases.")
					return exitOK
				}
				var rows [][]string
				for _, l := range leases {
					left := ""
					if d := time.Until(l.Expires); d > 0 {
						left = ago(d)
					}
					rows = append(rows, []string{l.Addr.String(), l.MAC.String(), string(l.Node), l.Subnet, l.Pool, string(l.State), left})
				}
				env.table([]string{"ADDRESS", "MAC", "NODE", "SUBNET", "POOL", "STATE", "EXPIRES IN"}, rows)
				return exitOK
			}
		},
	}
}
