package vm

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"sync"
)

// Console keeps what a serial port or a program said, and wakes whoever waits for a line of it.
type Console struct {
	mu        sync.Mutex
	lines     []string // whole ones, without escape sequences
	forgotten int      // lines before those
	partial   []byte
	closed    bool
	changed   chan struct{} // closed, and made anew, at each change
}

// consoleLimit bounds a machine that restarts its kernel for ever: the lines before are forgotten.
const consoleLimit = 20000

// NewConsole gives a console that has said nothing.
func NewConsole() *Console { return &Console{changed: make(chan struct{})} }

// Write takes what the serial port says next.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range p {
		if b != '\n' {
			c.partial = append(c.partial, b)
			continue
		}
		c.lines = append(c.lines, clean(string(c.partial)))
		c.partial = c.partial[:0]
	}
	if len(c.lines) > consoleLimit {
		drop := len(c.lines) - consoleLimit/2
		c.lines, c.forgotten = append([]string(nil), c.lines[drop:]...), c.forgotten+drop
	}
	c.wake()
	return len(p), nil
}

// Close says that nothing will follow.
func (c *Console) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.wake()
}

func (c *Console) wake() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// String gives everything said so far.
func (c *Console) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(append(c.lines[:len(c.lines):len(c.lines)], clean(string(c.partial))), "\n")
}

var errSilent = errors.New("it has ended")

// Line waits for a whole line that matches, and gives it from the match on.
func (c *Console) Line(ctx context.Context, pattern string) (string, error) {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return "", err
	}
	for seen := 0; ; {
		line, next, changed := c.find(re, seen)
		if line != "" {
			return line, nil
		}
		if changed == nil {
			return "", errSilent
		}
		seen = next
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// find looks for a match in the lines from the one numbered seen; next is where to look on. Without a channel, nothing will follow.
func (c *Console) find(re *regexp.Regexp, seen int) (line string, next int, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = c.forgotten + len(c.lines)
	for _, l := range c.lines[max(0, seen-c.forgotten):] {
		if at := re.FindStringIndex(l); at != nil {
			return l[at[0]:], next, nil
		}
	}
	if c.closed {
		return "", next, nil
	}
	return "", next, c.changed
}
