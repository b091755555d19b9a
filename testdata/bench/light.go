package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	tick      = 200 * time.Microsecond // between two looks at the socket
	burst     = 32                     // requests of a kind at one tick at most: who was late does not send everything at once
	straggle  = time.Second            // how long the last replies are waited for
	lightRoom = 32 << 20               // bytes of the socket's buffers
)

// light is a load generator that takes as little of the processors as it can: one thread, packets that are there already but for some bytes, and
// no waking up for each reply: the kernel notes when a reply came. Like perfdhcp it asks as a relay agent would, from one
// address and one port. Between its loads it remembers who has which address: no two machines may have the same.
type light struct {
	fd     int
	last   uint32             // number of the last machine, which is its transaction id and the end of its MAC
	owners map[[4]byte]uint32 // machines by the address that they had an ACK for
	in     [2048]byte
	oob    [64]byte
}

// newLight opens the socket in a network namespace.
func newLight(ns string) (*light, error) {
	g := &light{fd: -1, owners: map[[4]byte]uint32{}}
	return g, onThread(func() (err error) {
		f, err := os.Open(filepath.Join("/run/netns", ns))
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering %s: %w", ns, err)
		}
		if g.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		for _, option := range []struct{ name, value int }{
			{unix.SO_RCVBUFFORCE, lightRoom}, {unix.SO_SNDBUFFORCE, lightRoom}, {unix.SO_TIMESTAMPNS, 1},
		} {
			if err := unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, option.name, option.value); err != nil {
				return err
			}
		}
		if err := unix.Bind(g.fd, &unix.SockaddrInet4{Port: 67, Addr: addr4(clientAddr)}); err != nil {
			return err
		}
		return unix.Connect(g.fd, &unix.SockaddrInet4{Port: 67, Addr: addr4(serverAddr)})
	})
}

// close closes the socket, once.
func (g *light) close() {
	if g.fd >= 0 {
		_ = unix.Close(g.fd)
	}
	g.fd = -1
}

// onThread runs f on a thread of its own, which ends with it.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// deal is one machine of a load: its exchange of four packets, and what follows it.
type deal struct {
	asked time.Time // when its last request left
	addr  [4]byte
	state state
}

type state uint8

const (
	silent state = iota
	discovering
	requesting
	bound
	renewing
	released
)

// lightLoad is a load that is being played.
type lightLoad struct {
	*light
	load
	first    uint32 // number of the first machine
	deals    []deal // by number, from the first one
	bound    []int  // who has an address, in the order in which they are renewed and released
	renewed  int
	released int
	seen     [released + 1]exchange // by the state in which a machine waits for the reply
	twice    int                    // addresses that two machines have
	asks     [released + 1][]byte
}

// offer plays a load, as bench.offer does.
func (g *light) offer(l load) (r result, err error) {
	p := &lightLoad{light: g, load: l, first: g.last + 1, deals: make([]deal, l.rate*l.seconds)}
	g.last += uint32(len(p.deals))
	for s := range p.asks {
		p.asks[s] = ask(state(s))
	}
	runtime.GC() // not while it plays
	err = onThread(func() error {
		// Before the servers, as perfdhcp.
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -20); err != nil {
			return err
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1000, 0, 0, 0)
		begun := time.Now()
		p.play(begun)
		r.took = time.Since(begun)
		var used unix.Rusage
		err := unix.Getrusage(unix.RUSAGE_THREAD, &used)
		r.cpu = time.Duration(used.Utime.Nano() + used.Stime.Nano())
		return err
	})
	r.exchange, r.twice = map[string]exchange{}, p.twice
	for s, name := range names {
		x := p.seen[s]
		x.delay /= float64(max(x.received, 1)) // it was the sum
		r.exchange[name] = x
	}
	r.rate = float64(p.seen[requesting].received) / float64(l.seconds)
	return r, err
}

// play sends what is due and takes what came, tick by tick.
func (p *lightLoad) play(begun time.Time) {
	sent := 0
	for end := time.Duration(p.seconds) * time.Second; ; {
		now := time.Since(begun)
		if now < end {
			due := func(rate int) int { return int(now.Seconds() * float64(rate)) }
			for n := min(due(p.rate), sent+burst); sent < n; sent++ {
				p.send(sent, discovering)
			}
			p.follow(due(p.renew), due(p.release))
		} else if p.seen[requesting].received == sent || now > end+straggle {
			return
		}
		p.receive()
		unix.Nanosleep(&unix.Timespec{Nsec: int64(tick)}, nil)
	}
}

// follow sends renewals and releases that are due, in turn from those who have an address.
func (p *lightLoad) follow(renewals, releases int) {
	for ; p.released < releases && len(p.bound) > 0; p.released++ {
		i := p.bound[0]
		p.bound = p.bound[1:]
		delete(p.owners, p.deals[i].addr)
		p.send(i, released)
	}
	for ; p.renewed < renewals && len(p.bound) > 0; p.renewed++ {
		i := p.bound[0]
		p.bound = append(p.bound[1:], i)
		if p.deals[i].state == bound {
			p.send(i, renewing)
		}
	}
}

// names of exchanges, as perfdhcp calls them.
var names = map[state]string{discovering: offers, requesting: acks, renewing: renewal}

// send has a machine ask.
func (p *lightLoad) send(i int, s state) {
	d := &p.deals[i]
	b := p.asks[s]
	number := p.first + uint32(i)
	binary.BigEndian.PutUint32(b[4:], number)
	binary.BigEndian.PutUint32(b[chaddrAt+2:], number)
	switch s {
	case requesting:
		copy(b[requestedAt:], d.addr[:])
	case renewing, released:
		copy(b[ciaddrAt:], d.addr[:])
	}
	d.state, d.asked = s, time.Now()
	p.seen[s].sent++
	_, _ = unix.Write(p.fd, b) // what does not leave is not answered
}

// receive takes every reply that is there.
func (p *lightLoad) receive() {
	for {
		n, oobn, _, _, err := unix.Recvmsg(p.fd, p.in[:], p.oob[:], unix.MSG_DONTWAIT)
		if err == unix.ECONNREFUSED {
			continue
		}
		if err != nil {
			return
		}
		p.take(p.in[:n], arrival(p.oob[:oobn]))
	}
}

// take looks at one reply. What is no reply to the last request of a machine of this load is late, and counts as lost.
func (p *lightLoad) take(b []byte, at time.Time) {
	if len(b) < optionsAt {
		return
	}
	i := int(binary.BigEndian.Uint32(b[4:]) - p.first)
	if i < 0 || i >= len(p.deals) {
		return
	}
	d, typ := &p.deals[i], messageType(b)
	switch {
	case d.state == discovering && typ == typeOffer, (d.state == requesting || d.state == renewing) && typ == typeAck:
	default:
		return
	}
	was, x := d.state, &p.seen[d.state]
	x.received++
	x.delay += max(at.Sub(d.asked), 0).Seconds() * 1000
	d.addr = [4]byte(b[yiaddrAt:])
	switch was {
	case discovering:
		p.send(i, requesting)
		return
	case requesting:
		p.bound = append(p.bound, i)
	}
	d.state = bound
	number := p.first + uint32(i)
	if owner, taken := p.owners[d.addr]; taken && owner != number {
		p.twice++
	}
	p.owners[d.addr] = number
}

// arrival is the time that the kernel noted.
func arrival(oob []byte) time.Time {
	if len(oob) < unix.CmsgSpace(16) {
		return time.Now()
	}
	at := oob[unix.CmsgLen(0):]
	return time.Unix(int64(binary.NativeEndian.Uint64(at)), int64(binary.NativeEndian.Uint64(at[8:])))
}
