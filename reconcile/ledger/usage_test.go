package ledger_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// TestEach holds that every address is counted once, by what it does now.
func TestEach(t *testing.T) {
	clock := newHand()
	l, _ := leasesIn(t, t.TempDir(), clock.now)
	var commits atomic.Int64
	l.OnCommit(func(_ time.Duration, err error) {
		if err == nil {
			commits.Add(1)
		}
	})
	rs := ranges("10.0.0.10", "10.0.0.20")
	mustBind(t, l, claim(1, rs)) // .10, declined below
	mustBind(t, l, claim(2, rs))
	mustBind(t, l, claim(3, rs)) // .12, released
	offer(t, l, claim(4, rs))
	l.Decline(mac(1), addr("10.0.0.10"), time.Hour)
	l.Release(mac(3), addr("10.0.0.12"))
	each := func() map[string]fact.LeaseState {
		got := map[string]fact.LeaseState{}
		l.Each(func(a netip.Addr, s fact.LeaseState) {
			if got[a.String()] != "" {
				t.Errorf("%s comes twice", a)
			}
			got[a.String()] = s
		})
		return got
	}
	want := map[string]fact.LeaseState{"10.0.0.10": fact.Declined, "10.0.0.11": fact.Bound, "10.0.0.13": fact.Offered}
	if diff := cmp.Diff(want, each()); diff != "" {
		t.Error(diff)
	}
	clock.step(2 * time.Hour)
	if got := each(); len(got) != 0 {
		t.Errorf("when all is over: %v", got)
	}
	if commits.Load() < 3 {
		t.Errorf("%d batches were told of", commits.Load())
	}
}
