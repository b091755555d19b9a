package ledger

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/quick"

	"hostler/render/fact"
)

var testRecords = []record{
	{kind: bound, start: 1, until: 2, lease: fact.Lease{
		Addr: netip.MustParseAddr("10.0.0.1"), MAC: fact.MAC{2, 0, 0, 0, 0, 1}, Node: "n1", Subnet: "lab", Pool: "guests", State: fact.Bound, Hostname: "h",
	}},
	{kind: released, until: 3, lease: fact.Lease{Addr: netip.MustParseAddr("10.0.0.1"), MAC: fact.MAC{2, 0, 0, 0, 0, 1}}},
	{kind: declined, until: 4, lease: fact.Lease{Addr: netip.MustParseAddr("fd00::1")}},
}

// A record keeps every field of a lease but its times, which it has in another form.
func TestRecordIsComplete(t *testing.T) {
	full := testRecords[0]
	v := reflect.ValueOf(full.lease)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; v.Field(i).IsZero() && name != "Start" && name != "Expires" {
			t.Errorf("the test's lease has no %s: does the encoding have it?", name)
		}
	}
	for _, want := range testRecords {
		var got record
		rest, ok := got.decode(append(want.encode(nil), "rest"...))
		if !ok || got != want || string(rest) != "rest" {
			t.Errorf("decoded %+v (%t, %q), want %+v", got, ok, rest, want)
		}
	}
}

func TestRecordRoundTrip(t *testing.T) {
	f := func(mac fact.MAC, ip [4]byte, start, until int64, node, subnet, pool, host string) bool {
		want := record{kind: bound, start: start, until: until, lease: fact.Lease{
			Addr: netip.AddrFrom4(ip), MAC: mac, Node: fact.NodeName(node), Subnet: subnet, Pool: pool, Hostname: host, State: fact.Bound,
		}}
		var got record
		rest, ok := got.decode(want.encode(nil))
		return ok && len(rest) == 0 && got == want
	}
	if err := quick.Check(f, nil); err != nil {
		t.Error(err)
	}
}

func testJournal(frames ...frame) []byte {
	b := append([]byte(journalMagic), 0, journalFormat)
	b = append(b, "saltsalt"...)
	for _, f := range frames {
		b = encodeFrame(b, []byte("saltsalt"), f)
	}
	return b
}

// A machine may call itself what it likes: a frame inside a host name is no frame, so that a torn batch is not
// taken for a damaged file.
func TestHostNameIsNoFrame(t *testing.T) {
	forged := encodeFrame(nil, []byte("guessed!"), frame{records: testRecords})
	r := testRecords[0]
	r.lease.Hostname = string(forged)
	whole := testJournal(frame{raw: 1, t: 1, records: testRecords}, frame{raw: 2, t: 2, records: []record{r, r}})
	frames, sound, err := decodeJournal(whole[:len(whole)-1])
	if err != nil || len(frames) != 1 || sound != len(testJournal(frame{raw: 1, t: 1, records: testRecords})) {
		t.Errorf("%d frames, %d sound bytes, %v", len(frames), sound, err)
	}
}

// Whatever a file holds, decoding it ends, and what is sound in it is encoded to the same bytes.
func FuzzDecodeJournal(f *testing.F) {
	whole := testJournal(frame{raw: 1, t: 1, records: testRecords}, frame{raw: 2, t: 2})
	f.Add(whole)
	f.Add(whole[:len(whole)-3])
	f.Add([]byte(strings.Replace(string(whole), "lab", "lob", 1)))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, sound, err := decodeJournal(b)
		if sound > len(b) || sound < 0 {
			t.Fatalf("%d of %d bytes are sound", sound, len(b))
		}
		if err != nil || sound == 0 {
			return
		}
		again := append([]byte{}, b[:journalHeader]...)
		for _, fr := range frames {
			again = encodeFrame(again, b[len(journalMagic)+2:journalHeader], fr)
		}
		second, n, err := decodeJournal(again)
		if err != nil || n != len(again) || !reflect.DeepEqual(frames, second) {
			t.Errorf("decoded %v, and after encoding it %v, %v", frames, second, err)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	for _, r := range testRecords {
		f.Add(r.encode(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again record
		if _, ok := r.decode(b); !ok {
			return
		}
		if _, ok := again.decode(r.encode(nil)); !ok || r != again {
			t.Errorf("%+v became %+v", r, again)
		}
	})
}
