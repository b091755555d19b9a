package render

import (
	"testing"
	"time"

	"hostler/spec"
)

// TestLeaseTime is RFC 2131 section 4.3.1 with limits: what the client asks for counts only inside them.
func TestLeaseTime(t *testing.T) {
	weak := spec.Lease{Default: time.Hour, Min: 5 * time.Minute, Max: 2 * time.Hour}
	for _, c := range []struct {
		name   string
		strong spec.Lease // of the pool, or the node
		asked  time.Duration
		want   time.Duration
	}{
		{"the client asks for nothing", spec.Lease{}, 0, time.Hour},
		{"the stronger layer's default", spec.Lease{Default: 10 * time.Minute}, 0, 10 * time.Minute},
		{"what the client asks for", spec.Lease{}, 90 * time.Minute, 90 * time.Minute},
		{"too long", spec.Lease{}, 24 * time.Hour, 2 * time.Hour},
		{"too long for the stronger layer", spec.Lease{Max: time.Hour}, 24 * time.Hour, time.Hour},
		{"for ever (0xffffffff, RFC 2131 section 3.3)", spec.Lease{}, 1<<32*time.Second - time.Second, 2 * time.Hour},
		{"too short", spec.Lease{}, time.Second, 5 * time.Minute},
	} {
		if got := leaseTime(layLease(weak, c.strong), c.asked); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := leaseTime(spec.Lease{}, 1000*time.Hour); got != defaultMaxLease {
		t.Errorf("without any limit set: %s", got)
	}
}
