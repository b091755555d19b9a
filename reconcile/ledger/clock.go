package ledger

import "time"

// clock is the time that leases are measured in: nanoseconds that only ever grow. It follows the system's clock, with two
// exceptions. Inside a process it counts elapsed (monotonic) time, so that stepping the system's clock neither
// ends nor extends a lease. And when the system's clock is behind what the disk has seen, it continues from there: a
// lease that had expired stays expired, and one that was running ends after the time it was given, not later.
// What cannot be known is how long the process was down while the clock was changed; a clock that was set forward
// in the meantime expires leases early. Times shown to people are in the system's clock.
type clock struct {
	now func() time.Time
	raw time.Time // what now last said
	t   int64     // what that was in our time
}

// tick gives the present.
func (c *clock) tick() int64 {
	raw := c.now()
	if c.raw.IsZero() {
		c.t = raw.UnixNano()
	} else if d := raw.Sub(c.raw); d > 0 {
		c.t += int64(d)
	}
	c.raw = raw
	return c.t
}

// set continues from what the disk has seen.
func (c *clock) set(raw, t int64) { c.raw, c.t = time.Unix(0, raw), t }

// wall turns our time into the system's, as of the last tick.
func (c *clock) wall(t int64) time.Time {
	return c.raw.Add(time.Duration(t - c.t)).Round(0).UTC()
}

// ours turns the system's time into ours, as of the last tick.
func (c *clock) ours(w time.Time) int64 { return c.t + int64(w.Sub(c.raw)) }
