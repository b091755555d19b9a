package vm

import (
	"context"
	"errors"
	"strings"
	"sync"
)

// Console keeps what a serial port said, and wakes whoever waits for a line of it.
type Console struct {
	mu      sync.Mutex
	lines   []string // whole ones, without escape sequences
	partial []byte
	closed  bool
	changed chan struct{} // closed, and made anew, at each change
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
		c.lines = c.lines[len(c.lines)-consoleLimit/2:]
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

var errSilent = errors.New("the machine is off")

// Line waits for a whole line that holds the words, and gives the line from there on.
func (c *Console) Line(ctx context.Context, words string) (string, error) {
	for {
		line, changed, err := c.find(words)
		if changed == nil {
			return line, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

// find looks for the words; a channel says that they may still come.
func (c *Console) find(words string) (string, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.lines {
		if i := strings.Index(l, words); i >= 0 {
			return l[i:], nil, nil
		}
	}
	if c.closed {
		return "", nil, errSilent
	}
	return "", c.changed, nil
}
