package ledger

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"hostler/render/fact"
)

// Machines that come, give their address back, and never return leave nothing behind: anybody can make such up.
func TestOffersAreForgotten(t *testing.T) {
	store, err := Open(filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l, err := OpenLeases(t.TempDir(), store, Clock{Now: time.Now}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := netip.MustParseAddr("10.0.0.10")
	for n := range 20 {
		c := fact.Claim{MAC: fact.MAC{2, 5: byte(n)}, Subnet: "lab", Pool: "guests", Ranges: []fact.Range{{First: a, Last: a}}, For: time.Hour}
		lease, err := l.Offer(c)
		if err != nil {
			t.Fatal(err)
		}
		bound := make(chan error, 1)
		if l.Bind(lease, func(err error) { bound <- err }); <-bound != nil {
			t.Fatal("not bound")
		}
		if _, err := l.Offer(c); err != nil {
			t.Fatal(err)
		}
		if n%2 == 0 {
			l.Release(c.MAC, a)
		} else {
			l.Decline(c.MAC, a, 0)
		}
	}
	if len(l.offers) > 1 {
		t.Errorf("%d offers of one address", len(l.offers))
	}
}
