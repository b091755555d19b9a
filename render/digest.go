package render

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"

	"hostler/render/fact"
	"hostler/spec"
)

// hash fills in the hash of each part and the digest over all that holds.
func (s *Snapshot) hash() {
	all := sha256.New()
	for i := range s.fleet.Profiles {
		p := &s.profiles[i]
		p.leaves = s.profileLeaves(i)
		h := sha256.New()
		p.leaves.hash(h)
		h.Sum(p.hash[:0])
	}
	s.parts = make([]part, len(s.fleet.Nodes))
	m := masks{s: s, seen: map[string][sha256.Size]byte{}}
	h := sha256.New()
	var sum [sha256.Size]byte
	for i := range s.fleet.Nodes {
		n := &s.fleet.Nodes[i]
		h.Reset()
		own := s.nodeLeaves(n)
		own.hash(h)
		fmt.Fprintf(all, "%d %s ", len(n.Address), n.Address)
		all.Write(h.Sum(sum[:0]))
		shared := m.hash(n, own)
		all.Write(shared[:])
		for j := range own { // what a node only removes is not served, but decides what a change of its profile does
			if own[j].removed {
				fmt.Fprintf(h, "-%d %s", len(own[j].path), own[j].path)
			}
		}
		h.Sum(s.parts[i].own[:0])
	}
	for _, x := range s.subjects() {
		fmt.Fprintf(all, "%d %s ", len(x.name), x.name)
		x.leaves.hash(all)
		io.WriteString(all, ".")
	}
	s.digest = fact.Digest(fmt.Sprintf("%x", all.Sum(nil)))
}

// part is the hash of what is a node's own.
type part struct{ own [sha256.Size]byte }

// masks hashes what of a profile holds for a node, once for all nodes that set the same paths themselves.
type masks struct {
	s    *Snapshot
	seen map[string][sha256.Size]byte
	key  []byte
}

func (m *masks) hash(n *spec.Node, own leaves) [sha256.Size]byte {
	p := m.s.profileAt(n.Profile)
	if n.Own == nil {
		return p.hash
	}
	m.key = strconv.AppendInt(m.key[:0], int64(n.Profile), 10)
	for i := range own {
		m.key = append(append(m.key, '\n'), own[i].path...)
	}
	sum, ok := m.seen[string(m.key)]
	if !ok {
		var rest leaves
		for _, l := range p.leaves {
			if !owns(n.Own, l.path) {
				rest = append(rest, l)
			}
		}
		h := sha256.New()
		rest.hash(h)
		h.Sum(sum[:0])
		m.seen[string(m.key)] = sum
	}
	return sum
}
