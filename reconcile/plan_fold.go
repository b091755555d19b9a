package reconcile

import (
	"slices"

	"hostler/spec/lang"
)

// foldFrom is how many machines must change alike, each to a value of its own, before they are shown as one change: of a few a
// reviewer wants to see each value, of a thousand what they have in common.
const foldFrom = 4

// fold joins the groups of one node each that differ in their values only.
func fold(groups map[string]*PlanGroup) []PlanGroup {
	shapes := map[string][]*PlanGroup{}
	var folded []PlanGroup
	for _, g := range groups {
		if len(g.Nodes) == 1 && len(g.Deltas) > 0 {
			shapes[g.shape] = append(shapes[g.shape], g)
		} else {
			folded = append(folded, *g)
		}
	}
	for _, alike := range shapes {
		if len(alike) < foldFrom {
			for _, g := range alike {
				folded = append(folded, *g)
			}
			continue
		}
		slices.SortFunc(alike, func(a, b *PlanGroup) int {
			if lang.NaturalLess(string(a.Nodes[0]), string(b.Nodes[0])) {
				return -1
			}
			return 1 // a node is in one group only
		})
		first := alike[0]
		for _, g := range alike[1:] {
			first.join(g)
		}
		folded = append(folded, *first)
	}
	return folded
}

// join adds a group of the same shape. A value in which the two differ is each node's own.
func (g *PlanGroup) join(other *PlanGroup) {
	g.Nodes = append(g.Nodes, other.Nodes...)
	g.countRows(other.Causes)
	for i := range g.Deltas {
		d, x := &g.Deltas[i], &other.Deltas[i]
		d.PerNode = d.PerNode || d.Old != x.Old || d.New != x.New
	}
}
