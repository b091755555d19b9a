package render

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// hash fills in the hash of each part and the digest over all that holds.
func (s *Snapshot) hash(old *Snapshot) {
	for i := range s.fleet.Profiles {
		p := &s.profiles[i]
		p.leaves = s.profileLeaves(i)
		h := sha256.New()
		p.leaves.hash(h)
		h.Sum(p.hash[:0])
	}
	if s.sameNodes(old) && s.sameLives(old) {
		s.hashes = old.hashes
	} else {
		s.hashes = s.hashNodes(old)
	}
	s.sum()
}

// sum fills in the digest over all that is served.
func (s *Snapshot) sum() {
	all := sha256.New()
	all.Write(s.served[:])
	for _, i := range s.masks {
		n := &s.fleet.Nodes[i]
		sum := s.masked(n, s.nodeLeaves(n))
		all.Write(sum[:])
	}
	for _, x := range s.subjects() {
		fmt.Fprintf(all, "%d %s ", len(x.name), x.name)
		x.leaves.hash(all)
		io.WriteString(all, ".")
	}
	s.digest = fact.Digest(fmt.Sprintf("%x", all.Sum(nil)))
}

// hashes are those of what is the nodes' own. They depend on the nodes and their holds alone.
type hashes struct {
	parts  []part
	masks  []int32           // the first node of each mask
	served [sha256.Size]byte // over what all nodes are served of their own, and which mask each has
}

// part is what a node has of its own. Nodes of one profile that set the same paths themselves have one mask: the same of their profile
// holds for them. Profile and paths are among what is served, so that the masks follow from that.
type part struct {
	own    [sha256.Size]byte // with what it only removes, which is not served, but decides what a change of its profile does
	served [sha256.Size]byte
	mask   int32
}

// hashNodes hashes the nodes. What the snapshot before has of the same ones is taken over.
func (s *Snapshot) hashNodes(old *Snapshot) *hashes {
	hs := &hashes{parts: make([]part, len(s.fleet.Nodes))}
	masks, moved := map[string]int32{}, map[int32]int32{}
	next := 0
	for i := range s.fleet.Nodes {
		n, p := &s.fleet.Nodes[i], &hs.parts[i]
		j, known := s.known(old, n, next)
		if known {
			next = j + 1
			*p = old.parts[j]
			if m, ok := moved[p.mask]; ok {
				p.mask = m
			} else {
				was := p.mask
				p.mask = hs.mask(masks, i, n)
				moved[was] = p.mask
			}
		} else {
			p.hash(s.nodeLeaves(n))
			p.mask = hs.mask(masks, i, n)
		}
	}
	hs.sum(s.fleet.Nodes)
	return hs
}

// rehash hashes nodes again whose assignments changed. Which mask they have does not depend on those.
func (s *Snapshot) rehash(changed []int32) *hashes {
	hs := &hashes{parts: slices.Clone(s.parts), masks: s.masks}
	for _, i := range changed {
		hs.parts[i].hash(s.nodeLeaves(&s.fleet.Nodes[i]))
	}
	hs.sum(s.fleet.Nodes)
	return hs
}

// sum hashes over all nodes.
func (hs *hashes) sum(nodes []spec.Node) {
	all := sha256.New()
	var line []byte
	for i := range nodes {
		n, p := &nodes[i], &hs.parts[i]
		line = strconv.AppendInt(line[:0], int64(len(n.Address)), 10)
		line = append(append(append(line, ' '), n.Address...), p.served[:]...)
		line = binary.BigEndian.AppendUint32(line, uint32(p.mask))
		all.Write(line)
	}
	all.Sum(hs.served[:0])
}

// known finds a node of the snapshot before that is the same, and whose next boot is the same for the same reasons.
func (s *Snapshot) known(old *Snapshot, n *spec.Node, next int) (int, bool) {
	if old == nil {
		return 0, false
	}
	j, ok := old.position(old.fleet.Nodes, n, next)
	return j, ok && s.sameLife(old, n)
}

func (p *part) hash(own leaves) {
	h := sha256.New()
	own.hash(h)
	h.Sum(p.served[:0])
	for j := range own {
		if own[j].removed {
			fmt.Fprintf(h, "-%d %s", len(own[j].path), own[j].path)
		}
	}
	h.Sum(p.own[:0])
}

// mask numbers the mask of a node, in the order in which they occur.
func (hs *hashes) mask(masks map[string]int32, i int, n *spec.Node) int32 {
	key := strconv.AppendInt(nil, int64(n.Profile), 10)
	if n.Own != nil {
		for _, l := range settingsLeaves(n.Own, true) {
			key = append(strconv.AppendInt(append(key, ' '), int64(len(l.path)), 10), ' ')
			key = append(key, l.path...)
		}
	}
	m, ok := masks[string(key)]
	if !ok {
		m = int32(len(hs.masks))
		masks[string(key)] = m
		hs.masks = append(hs.masks, int32(i))
	}
	return m
}

// masked hashes what of a node's profile holds for it.
func (s *Snapshot) masked(n *spec.Node, own leaves) [sha256.Size]byte {
	p := s.profileAt(n.Profile)
	if n.Own == nil {
		return p.hash
	}
	var rest leaves
	for _, l := range p.leaves {
		if !owns(n.Own, l.path) {
			rest = append(rest, l)
		}
	}
	var sum [sha256.Size]byte
	h := sha256.New()
	rest.hash(h)
	h.Sum(sum[:0])
	return sum
}

// Changed reports for each node whether the snapshot may serve it something else than an old one does. All are, when there is no old
// one, or when a subnet or a loader differs.
func (s *Snapshot) Changed(old *Snapshot) func(i int) bool {
	all := func(int) bool { return true }
	if old == nil {
		return all
	}
	d := differ{old: old, new: s}
	d.subjects()
	for _, c := range d.changes {
		if !strings.HasPrefix(c.Subject, "image.") { // those that nodes boot are in their profiles
			return all
		}
	}
	same := s.sameNodes(old)
	return func(i int) bool {
		n, j, ok := &s.fleet.Nodes[i], int32(i), true
		if !same {
			j, ok = old.byRef[n.Address]
		}
		return !ok || s.parts[i].own != old.parts[j].own || s.profileAt(n.Profile).hash != old.profileAt(old.fleet.Nodes[j].Profile).hash
	}
}
