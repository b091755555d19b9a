package timeline

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"hostler/render/fact"
)

// Every field of an event is set to something, so that one that is new and forgotten is missed.
func TestAppendEvent(t *testing.T) {
	full := fact.Event{Time: time.Date(2026, 11, 1, 12, 0, 0, 123456000, time.FixedZone("", 3600)), MAC: mac1, Peer: netip.MustParseAddr("fe80::1%eth0"), Said: &fact.Said{}}
	for f, v := range reflect.ValueOf(&full).Elem().Fields() {
		switch v.Kind() {
		case reflect.String:
			v.SetString(f.Name + " \"<\u2028\xff\\>&\n")
		case reflect.Int, reflect.Int64:
			v.SetInt(-77)
		case reflect.Uint8:
			v.SetUint(2)
		case reflect.Uint32:
			v.SetUint(1<<32 - 1)
		}
		if v.IsZero() {
			t.Errorf("%s is not set", f.Name)
		}
	}
	plain := fact.Event{Time: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC), MAC: mac1, Stage: fact.StageScript, What: "GET", Peer: addr1, Result: fact.OK}
	for _, e := range []fact.Event{{}, plain, full} {
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendEvent(nil, &e)); got != string(want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		line := entry{Kind: kindEvent, Event: &e}
		if b, err := line.append(nil); err != nil {
			t.Error(err)
		} else if _, ok := decode(b[:len(b)-1]); !ok {
			t.Errorf("cannot be read again: %s", b)
		}
	}
}

func FuzzAppendString(f *testing.F) {
	f.Add("vmlinuz")
	f.Add("\x00\u2029\xff<")
	f.Fuzz(func(t *testing.T, s string) {
		want, err := json.Marshal(s)
		if got := appendString(nil, s); err != nil || string(got) != string(want) {
			t.Errorf("%q: got %s, want %s, %v", s, got, want, err)
		}
	})
}
