package tftp

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestManyNames has a client ask for ever new names while one transfer goes on: it is remembered what counts, not all of them.
func TestManyNames(t *testing.T) {
	ts := newTransfers(8, 4)
	peer := netip.MustParseAddrPort("10.0.0.1:1000")
	ts.enter(key{peer, "slow"})
	for i := range 10 * mostNames {
		k := key{netip.AddrPortFrom(peer.Addr(), uint16(2000+i)), fmt.Sprint(i)}
		if !ts.enter(k) {
			t.Fatal("refused")
		}
		if ts.askedAgain(k) {
			t.Fatal("a first request passes for a repeated one")
		}
		ts.leave(k)
	}
	if n := len(ts.clients[peer.Addr()].newest); n > mostNames {
		t.Errorf("%d names are remembered", n)
	}
}
