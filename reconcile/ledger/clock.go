package ledger

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Clock is where the ledger has the time from.
type Clock struct {
	Now func() time.Time
	// Run names the time since the host was started, and Uptime says how long that is, whatever its clock is set to. An empty Run:
	// nobody knows.
	Run    string
	Uptime func() time.Duration
}

// SystemClock is the host's.
func SystemClock() Clock {
	run, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Clock{Now: time.Now}
	}
	return Clock{Now: time.Now, Run: strings.TrimSpace(string(run)), Uptime: uptime}
}

func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err) // every kernel that Go runs on has it
	}
	return time.Duration(ts.Nano())
}

// clock is the time that leases are measured in: nanoseconds that only ever grow. It follows the system's clock, with three
// exceptions. Inside a process it counts elapsed (monotonic) time, so that stepping the system's clock neither
// ends nor extends a lease. Between two processes while the host runs, it goes by the host's uptime. And when the system's clock is
// behind what the disk has seen, it continues from there: a lease that had expired stays expired, and one that was running
// ends after the time it was given, not later.
// What cannot be known is how long the host was down while its clock was changed; one that was set forward
// in the meantime expires leases early. Times shown to people are in the system's clock.
type clock struct {
	Clock
	raw  time.Time // what Now last said
	t    int64     // what that was in our time
	disk savedRun  // what the disk knows of this run
}

// setBy is how far the system's clock must have been set for the disk to be told of it.
const setBy = time.Second

// tick gives the present.
func (c *clock) tick() int64 {
	raw := c.Now()
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

// resume takes into account that the system's clock may have been set since the disk saw it: in the same run of the host, what
// it said then is known in terms of what it says now.
func (c *clock) resume() {
	if c.Run == "" || c.disk.Run != c.Run {
		return
	}
	if c.disk.T >= c.t {
		c.set(c.disk.Raw, c.disk.T)
	}
	c.raw = c.raw.Add(c.started().Sub(time.Unix(0, c.disk.Started)))
}

// started is when the host was started, in terms of what the system's clock says now.
func (c *clock) started() time.Time { return c.Now().Round(0).Add(-c.Uptime()) }

// moved gives what the disk should know, if it does not: another run of the host, or its clock was set.
func (c *clock) moved() (savedRun, bool) {
	if c.Run == "" {
		return savedRun{}, false
	}
	started := c.started()
	if c.disk.Run == c.Run && started.Sub(time.Unix(0, c.disk.Started)).Abs() < setBy {
		return savedRun{}, false
	}
	t := c.tick()
	return savedRun{Run: c.Run, Started: started.UnixNano(), Raw: c.raw.UnixNano(), T: t}, true
}

// wall turns our time into the system's, as of the last tick.
func (c *clock) wall(t int64) time.Time {
	return c.raw.Add(time.Duration(t - c.t)).Round(0).UTC()
}

// ours turns the system's time into ours, as of the last tick.
func (c *clock) ours(w time.Time) int64 { return c.t + int64(w.Sub(c.raw)) }
