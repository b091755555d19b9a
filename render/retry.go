package render

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/fnv"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// phase is what a machine tries now.
type phase uint8

const (
	tryImage    phase = iota
	tryFallback       // the image did not boot
	tryNothing        // nor did that
)

// attempt is where in its retry policy a machine is that has asked so often: so many attempts at the image, as many at the fallback, then
// it waits, and starts over, for a store or a network may be well again. n counts the requests of this round.
func attempt(r spec.Retry, retry int) (p phase, n int) {
	if r.Attempts <= 0 {
		return tryImage, retry
	}
	tries := r.Attempts
	if r.Fallback != "" {
		tries *= 2
	}
	n = retry % (tries + holds(r))
	switch {
	case n < r.Attempts:
		return tryImage, n
	case n < tries:
		return tryFallback, n
	}
	return tryNothing, n
}

// holds is how often a machine asks while it waits: each time, it may be told something else.
func holds(r spec.Retry) int {
	hold, most := cmp.Or(r.Hold, 15*time.Minute), cmp.Or(r.MaxDelay, time.Minute)
	return int((hold + most - 1) / most)
}

// round is after how many requests the policy starts over; 0: never.
func round(r spec.Retry) int {
	switch {
	case r.Attempts <= 0:
		return 0
	case r.Fallback != "":
		return 2*r.Attempts + holds(r)
	}
	return r.Attempts + holds(r)
}

// givenUp is why a machine waits that has tried everything.
func givenUp(r spec.Retry, image string) string {
	why := fmt.Sprintf("image %s did not boot in %d attempts", image, r.Attempts)
	if r.Fallback != "" {
		why += fmt.Sprintf(", nor did its fallback %s", r.Fallback)
	}
	return why
}

// delay is how many seconds a machine waits before it asks again: the delay doubled for each retry, up to the maximum, less up
// to the jitter. That depends on machine and retry only, so that a rack does not ask in step and the same question has the same
// answer.
func delay(r spec.Retry, mac fact.MAC, retry int) int {
	d, most, jitter := cmp.Or(r.Delay, 5*time.Second), cmp.Or(r.MaxDelay, time.Minute), max(cmp.Or(r.Jitter, 25), 0)
	p, n := attempt(r, retry)
	for i := 0; i < n && d < most; i++ {
		d *= 2
	}
	if d = min(d, most); p == tryNothing {
		d = most
	}
	h := fnv.New64a()
	h.Write(mac[:])
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(retry)))
	d -= time.Duration(h.Sum64()%1000) * d / 1000 * time.Duration(jitter) / 100
	return int(max(d.Round(time.Second)/time.Second, 1))
}

// tried names what a machine gave up on: when that is no longer what it is to boot, it tries again at once.
func (s *Snapshot) tried(profile int, node int32) string {
	sum := s.profileAt(profile).hash
	if node >= 0 && int(node) < len(s.parts) {
		for i, b := range s.parts[node].own {
			sum[i] ^= b
		}
	}
	return hex.EncodeToString(sum[:4])
}
