package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the tests run this program's server, as the program does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == loopRole {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// TestLight plays a load against a real server: everybody is answered, and renewals and releases are played too.
func TestLight(t *testing.T) {
	w, err := newWire()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.close)
	b := &bench{ctx: t.Context(), dir: t.TempDir(), seconds: 1}
	server, err := b.loop(w, b.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	g, err := newLight(w.client)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	tr := &trial{b: b, w: w, server: server, light: g}
	if err := tr.ready(); err != nil {
		t.Fatal(err, server.log.String())
	}
	r, err := tr.offer(g.offer, load{rate: 200, renew: 100, release: 40})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for name, x := range r.exchange {
		if x.sent != x.received || x.sent > 0 && x.delay <= 0 {
			t.Errorf("%s: %+v", name, x)
		}
		got[name] = x.sent
	}
	// The last ones may be due just when the second is over.
	if n := got[offers]; n < 190 || got[acks] != n || got[renewal] < 80 {
		t.Errorf("%v", got)
	}
}

// reply is what a server says to a machine.
func reply(typ byte, number uint32, last byte) []byte {
	b := append(make([]byte, optionsAt), 0, 54, 4, 10, 64, 0, 1, 53, 1, typ, 255)
	b[4], b[5], b[6], b[7] = byte(number>>24), byte(number>>16), byte(number>>8), byte(number)
	copy(b[yiaddrAt:], []byte{10, 65, 0, last})
	return b
}

func TestTake(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	p := &lightLoad{light: &light{fd: -1, owners: map[[4]byte]uint32{}}, first: 7, deals: make([]deal, 3)}
	for s := range p.asks {
		p.asks[s] = ask(state(s))
	}
	for i, s := range []state{discovering, requesting, requesting} {
		p.deals[i] = deal{state: s, asked: at}
	}
	for _, b := range [][]byte{
		reply(typeAck, 7, 1), reply(typeOffer, 6, 1), reply(typeOffer, 10, 1), reply(typeOffer, 7, 1)[:optionsAt-1], // nobody's
		reply(typeAck, 8, 2), reply(typeAck, 8, 2), // once
		reply(typeAck, 9, 2), // the same address
		reply(typeOffer, 7, 3),
	} {
		p.take(b, at.Add(2*time.Millisecond))
	}
	want := [released + 1]exchange{discovering: {0, 1, 2}, requesting: {1, 2, 4}}
	if diff := cmp.Diff(want, p.seen, cmp.AllowUnexported(exchange{})); diff != "" || p.twice != 1 || len(p.bound) != 2 {
		t.Errorf("%d addresses twice, %v\n%s", p.twice, p.bound, diff)
	}
}
