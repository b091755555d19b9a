package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"hostler/reconcile/ledger"
	"hostler/render"
)

// provenImages remembers with which images a machine has ever been ready, as far as the fleet's own history tells.
type provenImages struct {
	store ledger.Store

	mu     sync.Mutex
	looked time.Time
	known  map[string]bool
}

// add notes that one more machine was ready.
func (p *provenImages) add(image string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil {
		p.known[image] = true
	}
}

const provenAge = time.Minute // a scrape must not read the history of a hundred thousand machines each time

func (p *provenImages) images(s *render.Snapshot, now time.Time) map[string]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known != nil && now.Sub(p.looked) < provenAge {
		return maps.Clone(p.known)
	}
	marks, err := p.store.List(context.Background(), readyPrefix)
	if err != nil {
		return maps.Clone(p.known)
	}
	p.known, p.looked = map[string]bool{}, now
	for _, m := range marks {
		if n, ok := s.Node(strings.TrimPrefix(m.Key, readyPrefix)); ok {
			p.known[n.Image] = true
		}
	}
	return maps.Clone(p.known)
}

// storeCheck asks stores for files that machines fetch from them, each once.
type storeCheck struct {
	client *http.Client
	told   map[string][2]string
	asked  int
}

const (
	storePatience = 3 * time.Second
	mostAsked     = 16 // files of one question
)

func newStoreCheck() *storeCheck {
	return &storeCheck{client: &http.Client{Timeout: storePatience}, told: map[string][2]string{}}
}

// ask says why the store does not answer, or that it has no such file. A signed URL may be good for GET only, so one byte is asked for.
func (c *storeCheck) ask(address string, signed func(string) string) (down, missing string) {
	if told, ok := c.told[address]; ok {
		return told[0], told[1]
	}
	if c.asked++; c.asked > mostAsked {
		return "", ""
	}
	defer func() { c.told[address] = [2]string{down, missing} }()
	shown, _, _ := strings.Cut(address, "?")
	req, err := http.NewRequest(http.MethodGet, signed(address), nil)
	if err != nil {
		return "", shown + ": not a URL"
	}
	req.Header.Set("Range", "bytes=0-0")
	resp, err := c.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return fmt.Sprintf("%s: %v", shown, err), ""
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 1)
	switch {
	case resp.StatusCode >= 500:
		return shown + ": " + resp.Status, ""
	case resp.StatusCode >= 400:
		return "", shown + ": " + resp.Status
	}
	return "", ""
}

const pingPatience = 500 * time.Millisecond // each of two

// answersPing asks a machine by ICMP echo (RFC 792). When that cannot be done, the machine is given the benefit of the doubt.
func answersPing(ctx context.Context, addr netip.Addr) bool {
	conn, err := net.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return true
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	id := os.Getpid() & 0xffff
	for seq := range 2 {
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: id, Seq: seq, Data: []byte("hostler")}}
		b, err := m.Marshal(nil)
		if err != nil {
			return true
		}
		if _, err := conn.WriteTo(b, &net.IPAddr{IP: addr.AsSlice()}); err != nil {
			return false // no route, or no neighbour
		}
		conn.SetReadDeadline(time.Now().Add(pingPatience))
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				break
			}
			reply, err := icmp.ParseMessage(1, buf[:n])
			if echo, ok := bodyOf(reply); err == nil && ok && reply.Type == ipv4.ICMPTypeEchoReply && echo.ID == id && from.String() == addr.String() {
				return true
			}
		}
	}
	return false
}

func bodyOf(m *icmp.Message) (*icmp.Echo, bool) {
	if m == nil {
		return nil, false
	}
	e, ok := m.Body.(*icmp.Echo)
	return e, ok
}
