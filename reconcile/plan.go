package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// Plan is what a change of the spec does to machines: equal changes of many nodes are one group.
type Plan struct {
	Revision fact.Revision        `json:"revision"`
	Base     fact.Revision        `json:"base,omitempty"` // empty: compared with nothing
	Groups   []PlanGroup          `json:"groups"`         // most dangerous class first
	Add      int                  `json:"add"`            // nodes
	Change   int                  `json:"change"`
	Remove   int                  `json:"remove"`
	Others   int                  `json:"others"` // changed subjects that are not nodes
	Impact   map[render.Class]int `json:"impact"` // nodes by their worst class
	Digest   fact.Digest          `json:"digest"` // over everything above but the revisions, each node's own values included
}

// PlanGroup is one distinct change and the nodes that it happens to.
type PlanGroup struct {
	Action  string          `json:"action"`
	Class   render.Class    `json:"class"`
	Subject string          `json:"subject,omitempty"` // for what is not a node
	Deltas  []Delta         `json:"deltas,omitempty"`
	Causes  []Cause         `json:"causes,omitempty"`
	Nodes   []fact.NodeName `json:"nodes,omitempty"`
	Hidden  []Hidden        `json:"hidden,omitempty"` // of which of these the change is not seen for now

	shape string // what it has in common with groups that differ in their values only
}

// Hidden is a node that does something else at its next boot than the spec says.
type Hidden struct {
	Node fact.NodeName `json:"node"`
	By   string        `json:"by"`
}

// Delta is one setting that changes. PerNode values differ from node to node; Old and New are the first node's.
type Delta struct {
	Path    string `json:"path"`
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
	PerNode bool   `json:"per_node,omitempty"`
}

// Cause is the declaration that a change came from. Rows counts the table's rows when there are several.
type Cause struct {
	Layer string     `json:"layer,omitempty"`
	Place spec.Place `json:"range"`
	Rows  int        `json:"rows,omitempty"`
}

// Empty reports whether nothing changes for any machine.
func (p *Plan) Empty() bool { return len(p.Groups) == 0 }

// Worst is the most dangerous class in the plan.
func (p *Plan) Worst() render.Class {
	worst := render.ClassNone
	for _, g := range p.Groups {
		if danger(g.Class) > danger(worst) {
			worst = g.Class
		}
	}
	return worst
}

var classesByDanger = []render.Class{render.ClassNone, render.ClassNextBoot, render.ClassNextRenew, render.ClassServer, render.ClassExposure,
	render.ClassAddress, render.ClassOrphan, render.ClassRemove, render.ClassUnbootable, render.ClassReinstall}

func danger(c render.Class) int { return slices.Index(classesByDanger, c) }

// NewPlan groups the changes between two snapshots; old is nil for the first. Live leases, where they are known, raise a change
// of a pool to an orphan: an address in use that no pool or node covers any more.
func NewPlan(old, new *render.Snapshot, leases []fact.Lease) *Plan {
	p := &Plan{Impact: map[render.Class]int{}}
	groups := map[string]*PlanGroup{}
	all := render.Diff(old, new)
	changes := all
	for len(changes) > 0 {
		n := 1
		for n < len(changes) && changes[n].Subject == changes[0].Subject {
			n++
		}
		if !builtin(changes[0]) {
			p.add(groups, changes[:n], whole(old, new, changes[0]))
		}
		changes = changes[n:]
	}
	p.addOrphans(groups, old, new, leases)
	p.Groups = fold(groups)
	for i := range p.Groups {
		p.Groups[i].hide(new)
	}
	slices.SortFunc(p.Groups, func(a, b PlanGroup) int {
		return cmp.Or(danger(b.Class)-danger(a.Class), len(b.Nodes)-len(a.Nodes), strings.Compare(a.sortKey(), b.sortKey()))
	})
	p.Digest = p.digest(all)
	return p
}

// builtin reports whether a change is only that hostler's own loader comes in, or makes way for one that the spec declares: what that
// means for a node is a change of the node.
func builtin(c render.Change) bool {
	return c.Action != "~" && strings.HasPrefix(c.Subject, "loader.builtin-")
}

// hide notes which nodes' next boots are decided by something else than the spec.
func (g *PlanGroup) hide(new *render.Snapshot) {
	if g.Class != render.ClassNextBoot && g.Class != render.ClassReinstall && g.Class != render.ClassUnbootable || g.Action != "~" {
		return
	}
	for _, name := range g.Nodes {
		switch n, _ := new.Node(string(name)); {
		case n.Assignment == nil:
		case n.Assignment.Override.Order != "":
			g.Hidden = append(g.Hidden, Hidden{name, "an override: " + n.Assignment.Override.String()})
		case n.Assignment.Hold.Reason != "":
			g.Hidden = append(g.Hidden, Hidden{name, "a hold: " + n.Hold})
		}
	}
}

func (g PlanGroup) sortKey() string {
	key := g.Subject + "\x00" + g.Action
	for _, d := range g.Deltas {
		key += "\x00" + d.Path + "\x00" + d.Old + "\x00" + d.New
	}
	if len(g.Nodes) > 0 {
		key += "\x00" + string(g.Nodes[0])
	}
	return key
}

// whole says what a node that comes or goes boots: nodes that do so alike are one group.
func whole(old, new *render.Snapshot, c render.Change) string {
	s := new
	if c.Action == "-" {
		s = old
	}
	if c.Action == "~" || c.Node == "" {
		return ""
	}
	n, _ := s.Node(string(c.Node))
	return fmt.Sprintf("%q %q %q %q", n.Image, n.Groups, n.Subnet, n.Boot)
}

// add counts one subject's changes and joins the group of those that change alike.
func (p *Plan) add(groups map[string]*PlanGroup, changes []render.Change, whole string) {
	first := changes[0]
	g := PlanGroup{Action: first.Action, Class: render.ClassNone}
	var key, shape strings.Builder
	for _, c := range changes {
		if danger(c.Class) > danger(g.Class) {
			g.Class = c.Class
		}
		if c.Action != "~" {
			g.Action = c.Action
		}
		d := Delta{Path: c.Path, Old: c.Old, New: c.New, PerNode: ownPath(c.Path)}
		if c.Path != "" {
			g.Deltas = append(g.Deltas, d)
		}
		if d.PerNode {
			d.Old, d.New = "", ""
		}
		fmt.Fprintf(&shape, "%q %s %s:%d %s\n", d.Path, layerKind(c), c.Cause.File, c.Cause.Line, c.Cause.Table)
		fmt.Fprintf(&key, "%q %q\n", d.Old, d.New)
		g.addCause(c)
	}
	if first.Node == "" {
		p.Others++
		g.Subject = first.Subject
		groups[first.Subject] = &g
		return
	}
	p.Impact[g.Class]++
	switch g.Action {
	case "+":
		p.Add++
	case "-":
		p.Remove++
	default:
		p.Change++
	}
	g.shape = g.Action + " " + string(g.Class) + " " + whole + "\n" + shape.String()
	k := g.shape + key.String()
	if have := groups[k]; have != nil {
		have.Nodes = append(have.Nodes, first.Node)
		have.countRows(g.Causes)
		return
	}
	g.Nodes = []fact.NodeName{first.Node}
	groups[k] = &g
}

// ownPath reports whether a value is a node's own, so that equal changes differ in it.
func ownPath(path string) bool {
	return path == "address" || strings.HasPrefix(path, "text.") || path == "mac" || path == "name" || path == "hostname" || path == "uuid" ||
		strings.HasPrefix(path, "interface.") || strings.HasPrefix(path, "ids.")
}

// layerKind is the layer, with "node" for any node: nodes of one table change for one reason.
func layerKind(c render.Change) string {
	if strings.HasPrefix(c.Layer, "node.") || c.Layer == "" && c.Node != "" {
		return "node"
	}
	return c.Layer
}

func (g *PlanGroup) addCause(c render.Change) {
	if c.Cause.File == "" && c.Cause.Table == "" {
		return
	}
	cause := Cause{Layer: layerKind(c), Place: c.Cause}
	if c.Cause.Row > 0 {
		cause.Rows = 1
	}
	for _, have := range g.Causes {
		if have.Layer == cause.Layer && have.Place == cause.Place {
			return
		}
	}
	g.Causes = append(g.Causes, cause)
}

// countRows adds another node's rows to those of the group.
func (g *PlanGroup) countRows(causes []Cause) {
	for i := range g.Causes {
		if i < len(causes) && g.Causes[i].Rows > 0 && causes[i].Place.Row != g.Causes[i].Place.Row {
			g.Causes[i].Rows++
		}
	}
}

// addOrphans finds live dynamic leases that the new snapshot covers no more.
func (p *Plan) addOrphans(groups map[string]*PlanGroup, old, new *render.Snapshot, leases []fact.Lease) {
	if new == nil {
		return
	}
	pools, before := poolRanges(new), map[string][]fact.Range(nil)
	if old != nil {
		before = poolRanges(old)
	}
	for _, l := range leases {
		if l.State != fact.Bound || l.Pool == "" || covered(pools[l.Subnet], l.Addr) || !covered(before[l.Subnet], l.Addr) {
			continue
		}
		key := "orphan " + l.Subnet
		g := groups[key]
		if g == nil {
			g = &PlanGroup{Action: "!", Class: render.ClassOrphan, Subject: "subnet." + l.Subnet}
			groups[key] = g
		}
		g.Deltas = append(g.Deltas, Delta{Path: "lease", Old: l.Addr.String(), PerNode: true})
	}
}

func poolRanges(s *render.Snapshot) map[string][]fact.Range {
	ranges := map[string][]fact.Range{}
	for _, sub := range s.Fleet().Subnets {
		for _, pool := range sub.Pools {
			if pool.Serves != spec.ServesReserved {
				ranges[sub.Name] = append(ranges[sub.Name], pool.Ranges...)
			}
		}
	}
	return ranges
}

func covered(ranges []fact.Range, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(r fact.Range) bool { return r.Contains(a) })
}

// digest is stable: the same change gives the same digest whenever and wherever it is planned. A group shows the values of its
// first node only, so that the changes themselves belong to it.
func (p *Plan) digest(changes []render.Change) fact.Digest {
	text, err := json.Marshal(p.Groups)
	if err != nil {
		panic("reconcile: a plan that cannot be written as JSON: " + err.Error())
	}
	h := sha256.New()
	h.Write(text)
	for i := range changes {
		c := &changes[i]
		fmt.Fprintf(h, "%q %q %q %q %q\n", c.Action, c.Subject, c.Path, c.Old, c.New)
	}
	return fact.Digest(hex.EncodeToString(h.Sum(nil)))
}
