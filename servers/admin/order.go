package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/user"
	"strconv"
	"time"
)

// OrderRequest is what a person wants of declared machines.
type OrderRequest struct {
	Do     Order         `json:"do"`
	Nodes  []string      `json:"nodes"` // names, addresses of the spec, MACs, or host lists: c[001-128]
	Reason string        `json:"reason,omitempty"`
	For    time.Duration `json:"for,omitempty"` // nanoseconds; 0: until somebody ends it
	Boot   string        `json:"boot,omitempty"`
	Image  string        `json:"image,omitempty"`
	Once   bool          `json:"once,omitempty"`
	By     string        `json:"-"` // who asks, as the socket knows it
}

// Order is a kind of order.
type Order string

// The orders.
const (
	Hold     Order = "hold"     // keep machines from booting
	Release  Order = "release"  // end their holds
	Override Order = "override" // have them boot otherwise
	Follow   Order = "follow"   // end their overrides: they follow the spec again
	Rearm    Order = "rearm"    // have them install themselves again
)

// OrderResult is what became of an order for one machine.
type OrderResult struct {
	Node string `json:"node"`
	Done bool   `json:"done"` // false: there was nothing to do
	Text string `json:"text"` // what the machine does at its next boot, and why
}

// mostOrder bounds an order: host lists are short, names are not.
const mostOrder = 4 << 20

func order(b Backend) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req OrderRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostOrder)).Decode(&req); err != nil {
			http.Error(w, "reading the order: "+err.Error(), http.StatusBadRequest)
			return
		}
		p, ok := r.Context().Value(peerKey{}).(peer)
		if !ok {
			answer(w, nil, errors.New("an order needs somebody who gives it"))
			return
		}
		req.By = p.name()
		v, err := b.Order(r.Context(), req)
		answer(w, v, err)
	}
}

// peer is who is on the other end of a unix socket.
type peer struct {
	uid, pid uint32
	known    bool
}

// String implements fmt.Stringer.
func (p peer) String() string {
	if !p.known {
		return "unknown"
	}
	return fmt.Sprintf("uid=%d pid=%d", p.uid, p.pid)
}

// name is the person, for others to read.
func (p peer) name() string {
	if !p.known {
		return "somebody"
	}
	uid := strconv.FormatUint(uint64(p.uid), 10)
	if u, err := user.LookupId(uid); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + uid
}
