package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"hostler/reconcile"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/spec"
	"hostler/spec/lang"
)

type planOptions struct {
	load             *loadFlags
	base, revision   string
	socket           *string
	full, json       bool
	detailedExitCode bool
}

func planCommand() command {
	return command{
		name: "plan", args: "[DIR]", synopsis: "Say what a change does to which machine's next boot",
		long: "Compares the spec in DIR (default: the current directory, uncommitted changes included), or a revision of the repository\n" +
			"there, with a base: the revision that -base names, else what a running server serves, else nothing. The first line says which.\n" +
			"Equal changes are one group, with its cause by file and line and when it takes effect.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &planOptions{load: loadOptions(fs), socket: socketFlag(fs)}
			fs.StringVar(&o.base, "base", "", "Compare with this `revision` of the repository: a branch, a tag or a commit.")
			fs.StringVar(&o.revision, "revision", "", "Plan this `revision` of the repository instead of the files in DIR.")
			fs.BoolVar(&o.full, "full", false, "Name every machine of every group.")
			fs.BoolVar(&o.json, "json", false, "Print as JSON, one object a line.")
			fs.BoolVar(&o.detailedExitCode, "detailed-exitcode", false, "Exit with 0 for no changes, 1 for an error, 2 for changes.")
			return func(ctx context.Context, env *environment, args []string) int { return runPlan(ctx, env, o, args) }
		},
	}
}

func runPlan(ctx context.Context, env *environment, o *planOptions, args []string) int {
	dir, ok := env.oneDir("plan", args)
	if !ok {
		return exitError
	}
	if o.json {
		env.message("info", "version", "hostler "+versionText(), map[string]any{"hostler": versionText(), "ui": "1.0"})
	}
	base, code := env.planBase(ctx, dir, o)
	if base == nil {
		return code
	}
	for name, value := range base.vars {
		if _, given := o.load.vars[name]; !given { // what the server is told holds for what it will be given, too
			o.load.vars[name] = value
		}
	}
	target, code := env.load(ctx, dir, o.revision, o.load, o.json)
	if target == nil {
		return code
	}
	base.lend(target)
	plan := reconcile.NewPlan(base.snapshot, target.Snapshot, base.leases)
	plan.Revision, plan.Base = target.Revision, base.revision
	if o.json {
		code = env.printPlanJSON(plan, base.plugins)
	} else {
		p := planPrinter{env: env, plan: plan, old: base.snapshot, new: target.Snapshot, full: o.full, plugins: base.plugins}
		p.print(fmt.Sprintf("%s %s", target.Revision.Short(), quoteSubject(target.Subject)), base.label)
		code = exitOK
	}
	if o.detailedExitCode && code == exitOK && !plan.Empty() {
		return exitChanges
	}
	return code
}

func quoteSubject(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%q", s)
}

// planBaseline is what a plan compares with; a nil snapshot is nothing.
type planBaseline struct {
	snapshot *render.Snapshot
	revision fact.Revision
	leases   []fact.Lease
	label    string
	// Of a running server: what it sets variables to, and what it saw of the files.
	vars      map[string]string
	artifacts render.Artifacts
	plugins   []string // the DHCP chain, when there are others in it
	assigned  render.Assignments
}

// lend lets a target use what the server saw of files in stores that are not on this machine: else every plan made elsewhere would
// say that all of them change. A store that is declared otherwise is another store.
func (b *planBaseline) lend(target *reconcile.Loaded) {
	if b.snapshot == nil || b.artifacts == nil {
		return
	}
	same := map[string]bool{}
	for _, old := range b.snapshot.Fleet().Stores {
		for _, new := range target.Fleet.Stores {
			same[old.Name] = same[old.Name] || old.Name == new.Name && old.SamePlace(&new)
		}
	}
	lent := maps.Clone(target.Artifacts)
	for id, a := range b.artifacts {
		if _, declared := lent[id]; declared && strings.HasPrefix(id, "builtin:") { // its program, told whom to trust
			lent[id] = a
			continue
		}
		if parts := strings.SplitN(id, ":", 3); len(parts) == 3 && parts[0] == "store" && same[parts[1]] {
			if t, seen := lent[id]; !seen {
				lent[id] = a
			} else if t.ETag == "" { // an object, which only a server has the keys to look at
				if t.Digest == "" {
					t.Digest, t.ByETag = a.Digest, a.ByETag
				}
				t.Size, t.ETag = cmp.Or(t.Size, a.Size), a.ETag
				lent[id] = t
			}
		}
	}
	if s, ds := render.Render(target.Fleet, lent, b.assigned); !ds.HasErrors() {
		target.Snapshot, target.Artifacts = s, lent
	}
}

func (env *environment) planBase(ctx context.Context, dir string, o *planOptions) (*planBaseline, int) {
	if o.base != "" {
		l, code := env.load(ctx, dir, o.base, o.load, o.json)
		if l == nil {
			return nil, code
		}
		return &planBaseline{snapshot: l.Snapshot, revision: l.Revision, label: l.Revision.Short() + ", no live facts"}, exitOK
	}
	client := admin.NewClient(socketPath(*o.socket))
	served, err := fetchServed(ctx, client)
	if err != nil {
		if *o.socket != "" || !noServer(err) {
			return nil, env.fail("%v", err)
		}
		return &planBaseline{label: "nothing: no server runs here (-base names a revision, -socket a server)"}, exitOK
	}
	snapshot, diags := served.snapshot()
	if diags.HasErrors() {
		return nil, env.fail("rendering what the server serves: %v", diags.Error())
	}
	b := &planBaseline{snapshot: snapshot, revision: served.Revision, leases: served.Leases, vars: served.Vars, artifacts: served.Artifacts, plugins: served.Plugins, assigned: served.Assignments}
	b.label = fmt.Sprintf("%s, served on %s since %s", served.Revision.Short(), client.Path(), served.Since.UTC().Format("2 Jan 15:04 MST"))
	if snapshot == nil {
		b.label = "nothing: the server on " + client.Path() + " serves no revision yet"
	}
	return b, exitOK
}

// noServer reports whether there is simply nobody on the socket.
func noServer(err error) bool {
	return errors.Is(err, os.ErrNotExist) || isRefused(err)
}

// planPrinter writes a plan for people.
type planPrinter struct {
	env      *environment
	plan     *reconcile.Plan
	old, new *render.Snapshot
	full     bool
	plugins  []string
}

const planGroupsShown = 10

func (p *planPrinter) print(target, base string) {
	out := p.env.stdout
	fmt.Fprintf(out, "Plan: %s\nagainst %s\n", strings.TrimSpace(target), base)
	if len(p.plugins) > 0 {
		fmt.Fprintf(out, "DHCP replies pass through %s: the others may change what is planned here\n", strings.Join(p.plugins, " -> "))
	}
	fmt.Fprintln(out)
	if p.plan.Empty() {
		fmt.Fprintln(out, "No changes. Every machine's next boot stays as it is.")
		return
	}
	for i, g := range p.plan.Groups {
		if i == planGroupsShown && !p.full {
			fmt.Fprintf(out, "... and %s more; -full shows all.\n\n", plural(len(p.plan.Groups)-i, "distinct change"))
			break
		}
		p.group(g)
	}
	p.summary()
}

func (p *planPrinter) group(g reconcile.PlanGroup) {
	out := p.env.stdout
	what := g.Subject
	if len(g.Nodes) > 0 {
		what = plural(len(g.Nodes), "node")
	}
	for i, d := range p.headline(g) {
		left := fmt.Sprintf("%s %s", g.Action, what)
		if i > 0 {
			left = strings.Repeat(" ", len(left))
		}
		line := fmt.Sprintf("%s   %s", left, d)
		if i == 0 {
			if pad := p.env.width - 16 - len(line); pad > 0 {
				line += strings.Repeat(" ", pad)
			}
			line += "  " + when(g)
		}
		fmt.Fprintln(out, p.paint(g.Action, line))
	}
	for i, c := range g.Causes {
		label := "because"
		if i > 0 {
			label = "       "
		}
		if i == 5 && !p.full {
			fmt.Fprintf(out, "            and %d more places\n", len(g.Causes)-i)
			break
		}
		fmt.Fprintf(out, "    %s   %s\n", label, causeText(c, g.Action))
	}
	if len(g.Nodes) > 0 {
		fmt.Fprintf(out, "    nodes     %s\n", p.members(g.Nodes))
		p.example(g)
	}
	p.hidden(g)
	fmt.Fprintln(out)
}

const hiddenShown = 5

// hidden says of which machines the change is not seen for now, and why.
func (p *planPrinter) hidden(g reconcile.PlanGroup) {
	for i, h := range g.Hidden {
		if i == hiddenShown && !p.full {
			fmt.Fprintf(p.env.stdout, "              and of %s\n", plural(len(g.Hidden)-i, "more node"))
			break
		}
		label := "hidden"
		if i > 0 {
			label = "      "
		}
		fmt.Fprintf(p.env.stdout, "    %s    of %s, by %s\n", label, h.Node, h.By)
	}
}

// headline says what changes, one line a setting.
func (p *planPrinter) headline(g reconcile.PlanGroup) []string {
	var lines []string
	for _, d := range g.Deltas {
		old, new := d.Old, d.New
		if d.PerNode && len(g.Nodes) > 1 {
			lines = append(lines, d.Path+"   each its own")
			continue
		}
		switch {
		case d.Path == "lease" && g.Class == render.ClassOrphan:
			lines = append(lines, "lease "+old+" is in use, and no pool holds it any more")
		case old == "":
			lines = append(lines, d.Path+"   + "+cut(new, 60))
		case new == "":
			lines = append(lines, d.Path+"   - "+cut(old, 60))
		default:
			lines = append(lines, fmt.Sprintf("%s   %s -> %s", d.Path, cut(old, 40), cut(new, 40)))
		}
	}
	if len(lines) == 0 {
		lines = []string{p.whole(g)}
	}
	if len(lines) > 12 && !p.full {
		lines = append(lines[:11], fmt.Sprintf("and %d more settings", len(lines)-11))
	}
	return lines
}

// whole says what comes or goes as a whole.
func (p *planPrinter) whole(g reconcile.PlanGroup) string {
	s, text := p.new, "new"
	if g.Action == "-" {
		s, text = p.old, "gone"
	}
	if s == nil || len(g.Nodes) == 0 {
		return text
	}
	if n, ok := s.Node(string(g.Nodes[0])); ok && n.Image != "" {
		text += ": boots " + n.Image
		if len(n.Groups) > 0 {
			text += " by " + strings.Join(n.Groups, ", ")
		}
	}
	return text
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}

// when says in words when a group takes effect.
func when(g reconcile.PlanGroup) string {
	switch g.Class {
	case render.ClassNextBoot:
		return "next boot"
	case render.ClassNextRenew:
		return "next renewal"
	case render.ClassNone:
		return "no effect"
	case render.ClassAddress:
		return "next renewal: addresses"
	case render.ClassServer:
		return "at once: server"
	case render.ClassExposure:
		return "at once: exposure"
	case render.ClassOrphan:
		return "orphan"
	case render.ClassRemove:
		if g.Action == "-/+" {
			return "at once: another machine"
		}
		return "at once: removal"
	case render.ClassUnbootable:
		return "unbootable"
	case render.ClassReinstall:
		if slices.ContainsFunc(g.Deltas, func(d reconcile.Delta) bool { return d.Path == "install" && d.Old == "" }) {
			return "next boot: INSTALL"
		}
		return "next boot: REINSTALL"
	default:
		return string(g.Class)
	}
}

func causeText(c reconcile.Cause, action string) string {
	verb := map[string]string{"+": "added in", "-": "removed from"}[action]
	if verb == "" {
		verb = "changed in"
	}
	layer := c.Layer
	switch layer {
	case "":
		layer = "declaration"
	case "node":
		layer = "the node"
	}
	text := fmt.Sprintf("%s, %s %s", layer, verb, c.Place)
	if c.Rows > 1 {
		text += fmt.Sprintf(" and %s", plural(c.Rows-1, "more row"))
	}
	return text
}

func (p *planPrinter) members(nodes []fact.NodeName) string {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = string(n)
	}
	folded := lang.FoldHosts(names)
	if len(folded) > 200 && !p.full {
		return folded[:strings.LastIndexByte(folded[:200], ',')] + ", ... (-full names all)"
	}
	return folded
}

func (p *planPrinter) summary() {
	out, plan := p.env.stdout, p.plan
	fmt.Fprintf(out, "Plan: %s to add, %s to change, %s to remove. %s.\n", thousands(plan.Add), thousands(plan.Change), thousands(plan.Remove),
		plural(len(plan.Groups), "distinct change"))
	fmt.Fprintf(out, "Impact: %s.\n", impactText(plan))
	if d := plan.Worst(); d == render.ClassNextBoot || d == render.ClassNone {
		fmt.Fprint(out, "A running machine notices nothing until it reboots. ")
	}
	fmt.Fprintf(out, "Plan digest %.8s.\n", plan.Digest)
}

// impactText counts the nodes by how a change reaches them, and names the rest.
func impactText(plan *reconcile.Plan) string {
	var impact []string
	for _, c := range impactOrder {
		if n := plan.Impact[c.class]; n > 0 {
			impact = append(impact, plural(n, "node")+" "+c.text)
		}
	}
	for _, g := range plan.Groups {
		if g.Subject != "" && g.Class != render.ClassNone && g.Class != render.ClassNextBoot {
			impact = append(impact, g.Subject+" "+when(g))
		}
	}
	if len(impact) > 8 {
		impact = append(impact[:8], fmt.Sprintf("and %d more", len(impact)-8))
	}
	if len(impact) == 0 {
		return "no machine is served anything else"
	}
	return strings.Join(impact, ", ")
}

var impactOrder = []struct {
	class render.Class
	text  string
}{
	{render.ClassReinstall, "INSTALLED at next boot"}, {render.ClassUnbootable, "unbootable"}, {render.ClassRemove, "removed or replaced"}, {render.ClassAddress, "with another address"},
	{render.ClassExposure, "answered otherwise at once"}, {render.ClassServer, "at once"}, {render.ClassNextRenew, "at next renewal"},
	{render.ClassNextBoot, "at next boot"}, {render.ClassNone, "without effect"},
}

// paint colours a line by its action. The symbol says the same without colour.
func (p *planPrinter) paint(action, line string) string {
	if !p.env.color {
		return line
	}
	code := map[string]string{"+": "32", "-": "31", "~": "33", "-/+": "31", "!": "31;1"}[action]
	return "\x1b[" + code + "m" + line + "\x1b[0m"
}

// servedState is what a server says that it serves, enough to render it again.
type servedState struct {
	Revision  fact.Revision
	Since     time.Time
	Leases    []fact.Lease
	Fleet     *spec.Fleet
	Artifacts render.Artifacts
	Vars      map[string]string
	Plugins   []string // the DHCP chain, when other plugins than hostler's are in it
	// Assignments are what was ordered for nodes, and what they proved.
	Assignments render.Assignments
}
