package timeline

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/netip"
	"slices"
	"time"

	"hostler/render/fact"

	"github.com/oklog/ulid/v2"
)

// mostTokens is how many tokens a boot may have: one in each process that served its script.
const mostTokens = 4

// ErrNoBoot means that no running boot has this token and address.
var ErrNoBoot = errors.New("no running boot has this token and address")

func newBootID(at time.Time) fact.BootID {
	return fact.BootID(ulid.MustNew(ulid.Timestamp(at), rand.Reader).String())
}

func hashOf(t fact.Token) []byte {
	h := sha256.Sum256([]byte(t))
	return h[:]
}

// Script gives the running boot of a machine and its token, for the address it has now, and pins the boot to its terms.
// Within a boot the token stays the same, since a size probe and its transfer must agree; only a server that was
// restarted mints another, because it kept no more than a hash, and honours both. A machine that was ready, or of which
// nothing is known, begins a boot.
func (t *Timeline) Script(mac fact.MAC, node fact.NodeName, addr netip.Addr, terms fact.Terms) (fact.BootID, fact.Token, error) {
	t.mu.Lock()
	m := t.machines[mac]
	if m == nil {
		m = t.meet(mac)
	}
	t.seat(m, node)
	if r := m.last; r != nil && r.gave(node, addr, terms) {
		defer t.mu.Unlock()
		return r.ID, r.token, nil
	}
	at := t.now().Round(0)
	if m.last == nil || !m.last.ready.IsZero() { // a boot that was ready has been told of
		t.begin(m, at)
	}
	r := m.last
	e := entry{Kind: kindPin, Boot: r.ID, MAC: mac, Time: at, Node: node, Addr: addr.Unmap(), Revision: terms.Revision, Terms: terms}
	if r.token == "" {
		r.token = fact.Token(rand.Text())
		e.Kind, e.Hash = kindToken, hashOf(r.token)
		r.admit(&e)
	} else {
		r.pin(&e)
	}
	id, token, x := r.ID, r.token, r.extent
	t.mu.Unlock()
	t.writeNow(x, &e)
	return id, token, nil
}

// gave reports whether the machine only asks again: what a restart must find is there, and an event will say when it was.
func (r *running) gave(node fact.NodeName, addr netip.Addr, terms fact.Terms) bool {
	return r.token != "" && r.ready.IsZero() && r.addr == addr.Unmap() && r.terms == terms && r.Node == node
}

// find gives the newest boot of a machine if the token and the address are right. The caller holds the mutex.
func (t *Timeline) find(boot fact.BootID, token fact.Token, addr netip.Addr) *running {
	m := t.boots[boot]
	if m == nil || m.last.addr != addr.Unmap() {
		return nil
	}
	hash := hashOf(token)
	if !slices.ContainsFunc(m.last.hashes, func(h []byte) bool { return subtle.ConstantTimeCompare(h, hash) == 1 }) {
		return nil
	}
	return m.last
}

// Check says whose boot it is that shows a token, and which revision it is pinned to. The token of a boot that is
// ready is void, as is that of a machine that has begun another boot.
func (t *Timeline) Check(boot fact.BootID, token fact.Token, addr netip.Addr) (fact.NodeName, fact.Revision, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.find(boot, token, addr)
	if r == nil || !r.ready.IsZero() {
		return "", "", false
	}
	return r.Node, r.terms.Revision, true
}

// Ready notes that a boot has arrived, durably for a declared node, and makes its token void, except for repeating this
// same message. The error is ErrNoBoot, or says why it could not be noted; then the machine should try again.
func (t *Timeline) Ready(boot fact.BootID, token fact.Token, addr netip.Addr) (fact.NodeName, error) {
	t.mu.Lock()
	r := t.find(boot, token, addr)
	if r == nil {
		t.mu.Unlock()
		return "", ErrNoBoot
	}
	a, before := Arrival{r.Node, r.MAC, r.ID, r.terms, t.now().Round(0)}, r.ready
	t.mu.Unlock()
	if !before.IsZero() {
		return a.Node, nil
	}
	if a.Node != "" {
		if err := t.marks.Ready(context.Background(), a); err != nil {
			return "", err
		}
	}
	var s steps
	t.mu.Lock()
	if r.ready.IsZero() {
		r.arrive(a.At)
		s.add(r, Ready, a.At)
	}
	x := r.extent
	e := entry{Kind: kindReady, Boot: boot, MAC: r.MAC, Time: r.ready}
	t.mu.Unlock()
	t.tell(s)
	t.writeNow(x, &e)
	return a.Node, nil
}
