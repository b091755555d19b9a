package main

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"time"

	"hostler/render"
	"hostler/servers/admin"
	"hostler/spec"
)

func nodesCommand() command {
	return command{
		name: "nodes", synopsis: "List the declared machines and their last boots",
		long: "Lists every machine that the running server knows from the spec, with its address and how far its newest boot came.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			filter := filterFlags(fs, "unseen, booting, ready, stuck, local, played or held")
			asJSON := fs.Bool("json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) > 0 {
					return env.fail("nodes: no argument expected, not %q", args)
				}
				q := url.Values{}
				if err := filter.set(q, ""); err != nil {
					return env.fail("nodes: %v", err)
				}
				var nodes []nodeStatus
				if err := admin.NewClient(socketPath(*socket)).Get(ctx, "/v1/nodes?"+q.Encode(), &nodes); err != nil {
					return env.serverError(err)
				}
				if *asJSON {
					return env.json(nodes)
				}
				env.printNodes(nodes)
				return exitOK
			}
		},
	}
}

func (env *environment) printNodes(nodes []nodeStatus) {
	if len(nodes) == 0 {
		fmt.Fprintln(env.stdout, "No such node is declared.")
		return
	}
	var rows [][]string
	for _, n := range nodes {
		addr, boot := "", "never seen"
		if n.IP.IsValid() {
			addr = n.IP.String()
		} else if n.Lease != nil {
			addr = n.Lease.Addr.String() + " (lease)"
		}
		if n.Boot != nil {
			boot = fmt.Sprintf("%s at %s, %s ago", n.Boot.Outcome, n.Boot.Stage, ago(time.Since(n.Boot.Last)))
		}
		if n.Hold != "" {
			boot = "held: " + n.Hold
		}
		rows = append(rows, []string{string(n.Name), n.MAC.String(), addr, n.Subnet, n.Image, bootText(&n.NodeInfo), boot})
	}
	env.table([]string{"NODE", "MAC", "ADDRESS", "SUBNET", "IMAGE", "BOOT", "LAST BOOT"}, rows)
	env.printStates(len(nodes), "node", func(i int) string { return nodes[i].State })
}

// bootText is what the spec says of how a machine boots, and what that comes to at its next boot when it is something else.
func bootText(n *render.NodeInfo) string {
	next := n.Next
	switch {
	case next == "hold" || next == n.Boot:
		return n.Boot
	case n.Assignment != nil && n.Assignment.Override.Order != "":
		return n.Boot + ", overridden: " + next
	case next == string(spec.BootDisk):
		return n.Boot + ", done: disk"
	}
	return n.Boot + ", due"
}
