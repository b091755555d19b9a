package reconcile

import (
	"errors"

	"hostler/render/fact"
	"hostler/spec"
)

// run is nodes that follow each other: in the fleet before, from an index on, or new ones, from -1.
type run struct{ From, Count int }

// diffNodes says where each node of a list is in another. Both are in natural order; nodes that share nothing are new.
func diffNodes(old, now []spec.Node) []run {
	if len(old) == len(now) && (len(now) == 0 || &old[0] == &now[0]) {
		return []run{{0, len(now)}}
	}
	index := make(map[fact.NodeName]int, len(old))
	for i := range old {
		index[old[i].Name] = i
	}
	var runs []run
	next := 0 // where the next node of old is expected
	for i := range now {
		from := -1
		if next < len(old) && spec.Same(&old[next], &now[i]) {
			from = next
		} else if j, ok := index[now[i].Name]; ok && spec.Same(&old[j], &now[i]) {
			from = j
		}
		if from >= 0 {
			next = from + 1
		}
		if k := len(runs) - 1; k >= 0 && (from < 0 && runs[k].From < 0 || from >= 0 && runs[k].From >= 0 && runs[k].From+runs[k].Count == from) {
			runs[k].Count++
			continue
		}
		runs = append(runs, run{from, 1})
	}
	return runs
}

// freshIn counts the new nodes.
func freshIn(runs []run) (n int) {
	for _, r := range runs {
		if r.From < 0 {
			n += r.Count
		}
	}
	return n
}

// join puts a list together again.
func join(old, fresh []spec.Node, runs []run) ([]spec.Node, error) {
	if len(runs) == 1 && runs[0] == (run{0, len(old)}) && len(fresh) == 0 {
		return old, nil
	}
	if len(runs) == 1 && runs[0] == (run{-1, len(fresh)}) {
		return fresh, nil
	}
	total := 0
	for _, r := range runs {
		if r.Count < 0 || r.From < 0 && r.Count > len(fresh) || r.From >= 0 && (r.From > len(old) || r.Count > len(old)-r.From) {
			return nil, errors.New("the evaluation sent nodes that there are not")
		}
		total += r.Count
	}
	nodes := make([]spec.Node, 0, total)
	for _, r := range runs {
		switch {
		case r.From >= 0:
			nodes = append(nodes, old[r.From:r.From+r.Count]...)
		case r.Count > len(fresh):
			return nil, errors.New("the evaluation sent nodes that there are not")
		default:
			nodes, fresh = append(nodes, fresh[:r.Count]...), fresh[r.Count:]
		}
	}
	return nodes, nil
}
