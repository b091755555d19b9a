package dhcp

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// TestQueue keeps the order while the ring turns and grows, up to its room.
func TestQueue(t *testing.T) {
	q := queue[int]{room: 200}
	in, out := 0, 0
	for _, step := range []struct{ push, pop int }{{5, 3}, {60, 40}, {100, 1}, {79, 0}, {0, 200}, {200, 200}} {
		for range step.push {
			if !q.push(in) {
				t.Fatalf("no room for %d beside %d", in, q.n)
			}
			in++
		}
		if q.n == q.room && q.push(in) {
			t.Fatal("room for more than there is room for")
		}
		for range step.pop {
			if v := q.pop(); v != out {
				t.Fatalf("got %d, want %d", v, out)
			}
			out++
		}
	}
	if q.n != 0 || len(q.ring) != 200 {
		t.Errorf("%d left in a ring of %d", q.n, len(q.ring))
	}
}

// TestTurn takes replies first, then declared machines' requests, and of the others no more than go together.
func TestTurn(t *testing.T) {
	w := newWorker(3)
	name := func(n int) *datagram { return &datagram{n: n} }
	for i := range 4 {
		w.put(name(i), false)
	}
	w.put(name(10), true)
	w.putReply(outgoing{owner: "r"})
	var got [][]int
	for w.next() {
		turn := []int{len(w.taken.replies)}
		for _, d := range w.taken.requests {
			turn = append(turn, d.n)
		}
		got = append(got, turn)
	}
	if diff := cmp.Diff([][]int{{1, 10, 0, 1}, {0, 2, 3}}, got); diff != "" {
		t.Error(diff)
	}
}

// TestMemory answers each packet in memory that another one was answered in before, and says the same as in memory of its own.
func TestMemory(t *testing.T) {
	s, link := fuzzed(t)
	all := [][]byte{
		wirePacket{mac: n1, options: message(fact.Discover, biosROM)}.bytes(),
		wirePacket{mac: n2, options: message(fact.Discover, ipxe)}.bytes(),
		wirePacket{mac: n1, options: message(fact.Request, linux, opt(50, as4("10.77.0.11")...))}.bytes(),
		wirePacket{mac: n1, options: message(fact.Request, opt(50, 10, 77, 0, 99))}.bytes(),
		wirePacket{mac: n1, options: nil}.bytes(), // BOOTP
		wirePacket{mac: n1, giaddr: "10.79.0.2", options: message(fact.Discover, opt(82, 1, 1, 'x'), opt(61, 1, 2), opt(97, 0, 1))}.bytes(),
		overloaded(3, opt(12, 'a'), opt(60, 'b')),
	}
	answer := func(d *datagram, b []byte) []byte {
		d.n = copy(d.buf[:], b)
		x := &d.x
		*x = exchange{start: s.cfg.Now(), link: link, req: &d.req, d: d, result: fact.OK, peer: netip.MustParseAddrPort("0.0.0.0:68")}
		if err := decode(x.req, d.buf[:], d.n); err != nil {
			t.Fatal(err)
		}
		var err error
		if x.facts, err = factsOf(x.req, *link.ingress.Load()); err != nil {
			t.Fatal(err)
		}
		resp := s.traverse(x)
		if resp == nil {
			return nil
		}
		payload, _ := d.paper.encode(resp, &x.facts, limit(&x.facts, 1500))
		return bytes.Clone(payload)
	}
	used := new(datagram)
	for i, b := range all {
		own := answer(new(datagram), b)
		for j, before := range all {
			answer(used, before)
			if diff := cmp.Diff(own, answer(used, b)); diff != "" {
				t.Errorf("packet %d after packet %d is answered otherwise:\n%s", i, j, diff)
			}
		}
	}
}

// TestFlush sends what can be sent, and says of each parcel what became of it.
func TestFlush(t *testing.T) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sock, err := newSocket(conn)
	if err != nil {
		t.Fatal(err)
	}
	here := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	lo := &attachment{ifi: net.Interface{Name: "lo", Index: 1}}
	var b outbox
	var want, got []string
	for i := range 2*datagramsOut + 7 {
		p := parcel{outgoing: outgoing{x: &exchange{link: lo}, payload: []byte{byte(i)}}, conn: sock, to: here}
		want = append(want, "")
		if i%20 == 5 {
			p.to = netip.MustParseAddrPort("192.0.2.1:67") // there is no way to there
			want[i] = "sending to 192.0.2.1:67 on lo: sendmmsg: " + unix.ENETUNREACH.Error()
		} else if i%3 == 0 {
			p.src = netip.MustParseAddr("127.0.0.1")
		}
		b.parcels = append(b.parcels, p)
	}
	b.flush(func(p parcel, err error) {
		if int(p.payload[0]) != len(got) {
			t.Errorf("parcel %d is told of after %d", p.payload[0], len(got))
		}
		text := ""
		if err != nil {
			text = err.Error()
		}
		got = append(got, text)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	buf := make([]byte, 10)
	for i := range want {
		if want[i] != "" {
			continue
		}
		if n, from, err := conn.ReadFromUDPAddrPort(buf); err != nil || n != 1 || int(buf[0]) != i || from != here {
			t.Errorf("%d: % x from %s, %v", i, buf[:n], from, err)
		}
	}
}
