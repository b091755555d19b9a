package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"hostler/reconcile"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
)

// serverStatus is what the server says of itself.
type serverStatus struct {
	Version   string            `json:"version"`
	Started   time.Time         `json:"started"`
	Listen    []string          `json:"listen"`
	Reconcile reconcile.Status  `json:"reconcile"`
	History   []reconcile.Entry `json:"history"` // newest first
	DHCP      dhcp.State        `json:"dhcp"`
	Nodes     int               `json:"nodes"`
	Leases    int               `json:"leases"`
	Orders    []nodeOrders      `json:"orders,omitempty"`
	NotServed []subnetProblem   `json:"not_served,omitempty"`
	Health    admin.Health      `json:"health"`
	Checks    []admin.Check     `json:"checks"` // as on /readyz
}

// nodeOrders are the orders for a node that are in force.
type nodeOrders struct {
	Node     fact.NodeName `json:"node"`
	Hold     string        `json:"hold,omitempty"`
	Override string        `json:"override,omitempty"`
}

const ordersShown = 10

// subnetProblem is a subnet of the spec that this host does not serve, and why.
type subnetProblem struct {
	Subnet  string `json:"subnet"`
	Problem string `json:"problem"`
}

func statusCommand() command {
	return command{
		name: "status", synopsis: "Say what is served, since when, and why not something newer",
		long: "Shows the running server's revision, its source, the state of each interface, and the last revisions with what became of them. When a\n" +
			"newer revision is not served, its mistakes are shown with file and line. Exits with 3 when the newest revision could not be served.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			socket := socketFlag(fs)
			asJSON := fs.Bool("json", false, "Print as JSON.")
			all := fs.Bool("history", false, "Show the whole history of revisions.")
			return func(ctx context.Context, env *environment, args []string) int {
				if len(args) > 0 {
					return env.fail("status: no argument expected, not %q", args)
				}
				var st serverStatus
				if err := admin.NewClient(socketPath(*socket)).Get(ctx, "/v1/status", &st); err != nil {
					return env.serverError(err)
				}
				if *asJSON {
					return env.json(st)
				}
				return env.printStatus(&st, *all)
			}
		},
	}
}

func (env *environment) printStatus(st *serverStatus, all bool) int {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(env.stdout, "%-11s "+format+"\n", append([]any{name}, args...)...)
	}
	r := &st.Reconcile
	row("hostler", "%s, up %s", st.Version, ago(time.Since(st.Started)))
	row("Source", "%s (%s, sync %s)", r.Source, r.Kind, r.Sync)
	if r.LastApplied == "" {
		row("Revision", "none is served yet: no machine is answered")
	} else {
		row("Revision", "%s, served since %s", strings.TrimSpace(r.LastApplied.Short()+" "+quoteSubject(r.Subject)), r.ServingSince.UTC().Format("2 Jan 15:04:05 MST"))
		row("Serves", "%s, %s, digest %.12s", plural(st.Nodes, "node"), plural(st.Leases, "lease"), r.Digest)
	}
	if r.Pending != "" {
		row("Waiting", "%s: `hostler apply` promotes it", r.Pending.Short())
	}
	if f := r.Fetching; f != nil {
		row("Fetching", "%s", fetchText(f))
	}
	for _, c := range r.Clocks {
		way := "ahead of"
		if c.Ahead < 0 {
			way = "behind"
		}
		row("Clock", "that of %s (s3 %q) is %s %s this host's; URLs are signed by it", c.Endpoint, c.Name, c.Ahead.Abs().Round(time.Second), way)
	}
	for _, i := range st.DHCP.Interfaces {
		row("Interface", "%s", interfaceText(i))
	}
	for i, o := range st.Orders {
		if i == ordersShown && !all {
			row("Orders", "for %s more; -history shows all, `hostler nodes` too", plural(len(st.Orders)-i, "node"))
			break
		}
		if o.Hold != "" {
			row("Held", "%s: %s", o.Node, o.Hold)
		}
		if o.Override != "" {
			row("Override", "%s: %s", o.Node, o.Override)
		}
	}
	for _, p := range st.NotServed {
		row("Subnet", "%s: not served here: %s", p.Subnet, p.Problem)
	}
	row("Listens", "%s", strings.Join(st.Listen, ", "))
	if len(st.DHCP.Plugins) > 1 {
		row("DHCP chain", "%s", strings.Join(st.DHCP.Plugins, " -> "))
	}
	for _, n := range st.DHCP.Notices {
		if since := time.Since(n.Last); since < time.Hour {
			row("Notice", "%s %s: %s (%s, last %s ago)", n.Kind, n.Subject, n.Detail, plural(int(n.Count), "time"), ago(since))
		}
	}
	row("Health", "%s", healthText(st.Checks))
	for _, c := range r.Conditions {
		if c.Type == reconcile.Ready {
			row("Ready", "%t, %s: %s", c.Status, c.Reason, c.Message)
		}
	}
	code := exitOK
	if len(r.Diagnostics) > 0 {
		fmt.Fprintf(env.stdout, "\nFrom the last attempt, %s:\n", r.LastAttempted.Short())
		printDiagnostics(env.stdout, r.Diagnostics, env.color, env.width)
	}
	// A revision that waits for somebody to apply it is as it should be.
	if c, ok := r.Condition(reconcile.Ready); ok && !c.Status && r.Pending == "" {
		code = exitNo
	}
	env.printHistory(st.History, all)
	return code
}

// fetchText says how far a file from a store has come.
func fetchText(f *reconcile.Fetch) string {
	text := fmt.Sprintf("%s, %s", f.File, size(f.Done))
	if f.Size > 0 {
		text += fmt.Sprintf(" of %s (%d%%)", size(f.Size), 100*f.Done/f.Size)
	}
	return text + ", for " + ago(time.Since(f.Since))
}

func interfaceText(i dhcp.InterfaceState) string {
	text := i.Name
	for _, p := range i.Addresses {
		text += " " + p.String()
	}
	if i.BootServer {
		text += ", boot requests on port 4011"
	}
	if !i.Listening {
		return text + ": not served: " + i.Problem
	}
	if i.Broadcasting != "" {
		text += ": answers to machines without an address are broadcast: " + i.Broadcasting
	}
	if i.Problem != "" {
		text += ": " + i.Problem
	}
	return text
}

const historyShown = 5

func (env *environment) printHistory(entries []reconcile.Entry, all bool) {
	if len(entries) == 0 {
		return
	}
	if !all && len(entries) > historyShown {
		entries = entries[:historyShown]
	}
	fmt.Fprintln(env.stdout)
	var rows [][]string
	for _, e := range entries {
		rows = append(rows, []string{e.Revision.Short(), string(e.Outcome), e.Last.UTC().Format("2 Jan 15:04:05"), e.Author, cut(e.Subject, 40), cut(e.Diagnostic, 80)})
	}
	env.table([]string{"REVISION", "RESULT", "AT (UTC)", "AUTHOR", "SUBJECT", "WHY"}, rows)
}
