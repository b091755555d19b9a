package adopt

import (
	"encoding/csv"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
	"hostler/spec"
)

const room = `
spec { language = 1 }
store "s" {
  local { path = "/srv" }
}
image "x" {
  file "kernel" {
    store = store.s
    key   = "x"
  }
}
image "a" {
  arch = "arm64"
  file "kernel" {
    store = store.s
    key   = "a"
  }
}
group "base" {}
group "compute" {
  inherits = [group.base]
  image    = image.x
}
group "arm" {
  inherits = [group.base]
  image    = image.a
}
subnet "hmn" {
  cidr    = "10.0.0.0/24"
  gateway = "10.0.0.1"
  pool "fixed" {
    range  = "10.0.0.10-10.0.0.20"
    serves = "reserved"
  }
}
subnet "empty" {
  cidr = "10.1.0.0/24"
  pool "fixed" {
    range  = "10.1.0.10-10.1.0.11"
    serves = "reserved"
  }
}
node "rows" {
  for_each = { for r in tabledecode("n.csv") : r.xname => r }
  subnet   = subnet.hmn
  mac      = each.value.mac
  address  = each.value.ip
  groups   = [group[each.value.role]]
  ids      = { nid = each.value.nid }
  firmware = "uefi"
}
node "arm07" {
  subnet = subnet.hmn
  mac    = "02:00:00:00:00:07"
  groups = [group.arm]
  uuid   = "4c4c4544-0051-3010-8057-b5c04f4d3233"
  ids    = { serial = "A-1" }
}
`

const rows = "role,xname,MAC,nid,ip,note\n" +
	"compute,x3000c0s1b0n1,A4-BF-01-3E-C0-01,4,10.0.0.18,\"a, b\"\n" +
	"compute,x3000c0s1b0n2,A4-BF-01-3E-C0-02,5,10.0.0.19,c\n"

func fleet(t testing.TB) *spec.Fleet {
	t.Helper()
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{
		"a.boot.hcl": {Data: []byte(strings.ReplaceAll(room, "each.value.mac", "each.value.MAC"))}, "n.csv": {Data: []byte(rows)},
	}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return f
}

var mac = fact.MAC{0xa4, 0xbf, 0x01, 0x3e, 0xc0, 0xa2}

func TestPropose(t *testing.T) {
	const uuid = "11111111-2222-3333-4444-555555555555"
	for _, c := range []struct {
		name    string
		machine Machine
		wish    Wish
		taken   string // an address that somebody leased
		groups  int    // of the proposal's, which a block lists
		want    string // row or block
		notes   []string
	}{
		{name: "a row like those of the machines with its processor, in the form of theirs",
			machine: Machine{Arch: 7, Subnet: "hmn", UUID: uuid}, want: "compute,x3000c0s1b0n3,A4-BF-01-3E-C0-A2,6,10.0.0.20,\n",
			notes: []string{"the column note differs between the machines beside it, so it is empty: give it with -set=note=VALUE"}},
		{name: "the pool goes on at its beginning, past what is leased", taken: "10.0.0.20", machine: Machine{Arch: 7, Subnet: "hmn"},
			wish: Wish{Name: "x1", Set: map[string]string{"note": "say \"hi\"", "nid": "77"}}, want: "compute,x1,A4-BF-01-3E-C0-A2,77,10.0.0.10,\"say \"\"hi\"\"\"\n"},
		{name: "a block like those of the other processor", machine: Machine{Arch: 11, Subnet: "hmn", UUID: uuid}, groups: 1,
			want: `node "arm08" {
  subnet = subnet.hmn
  mac    = "a4:bf:01:3e:c0:a2"
  uuid   = "11111111-2222-3333-4444-555555555555"
  groups = [group.arm]
}
`, notes: []string{"its id serial is not known: give it with -set=serial=VALUE"}},
		{name: "a UUID that another board says, too", machine: Machine{Arch: 11, Subnet: "hmn", UUID: "4c4c4544-0051-3010-8057-b5c04f4d3233"}, groups: 1,
			wish: Wish{Set: map[string]string{"serial": "A-2"}}, want: `node "arm08" {
  subnet = subnet.hmn
  mac    = "a4:bf:01:3e:c0:a2"
  groups = [group.arm]
  ids = {
    serial = "A-2"
  }
}
`, notes: []string{"its UUID 4c4c4544-0051-3010-8057-b5c04f4d3233 is declared for arm07, so it is left out: firmware that was never told one says the same on many machines"}},
		{name: "the first of its subnet", machine: Machine{Arch: 0, Subnet: "empty"}, wish: Wish{Groups: []string{"compute"}}, groups: 1,
			want: `node "empty1" {
  subnet   = subnet.empty
  mac      = "a4:bf:01:3e:c0:a2"
  address  = "10.1.0.10"
  firmware = "bios"
  groups   = [group.compute]
}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.machine.MAC = mac
			p, err := Propose(fleet(t), c.machine, c.wish, func(a netip.Addr) bool { return a.String() == c.taken })
			if err != nil {
				t.Fatal(err)
			}
			got := p.Block(p.Groups[max(0, len(p.Groups)-c.groups):])
			if p.Table != "" {
				if got, err = p.Row([]byte(rows)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.notes, p.Notes); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := Propose(fleet(t), Machine{MAC: mac, Subnet: "gone"}, Wish{}, nil); err == nil {
		t.Error("a subnet that is not declared")
	}
}

// A machine without an id that all others of its table have would be one without a name.
func TestRowNeedsIDs(t *testing.T) {
	text := strings.NewReplacer("nid = each.value.nid", "serial = each.value.note", "each.value.mac", "each.value.MAC").Replace(room)
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"a.boot.hcl": {Data: []byte(text)}, "n.csv": {Data: []byte(rows)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	row := func(set map[string]string) (string, error) {
		p, err := Propose(f, Machine{MAC: mac, Arch: 7, Subnet: "hmn"}, Wish{Set: set}, func(netip.Addr) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Row([]byte(rows))
		return string(b), err
	}
	want := "n.csv: each row has a note of its own, and nothing says what this machine's is: give it with -set=note=VALUE"
	if got, err := row(nil); err == nil || err.Error() != want {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := row(map[string]string{"note": "B-7"}); err != nil || !strings.HasSuffix(got, ",B-7\n") {
		t.Errorf("%q, %v", got, err)
	}
}

// Tables come from a repository: whatever is in one, a row fits its header, or there is none.
func FuzzRow(f *testing.F) {
	f.Add(rows)
	f.Add(strings.ReplaceAll(rows, "\n", "\r\n"))
	f.Add("a,b\n\"x\ny\",\n")
	f.Add("0\n\"\"\n0") // an empty row of one column is no row
	fl := fleet(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Propose(fl, Machine{MAC: mac, Arch: 7, Subnet: "hmn"}, Wish{}, func(netip.Addr) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		row, err := p.Row([]byte(text))
		if err != nil {
			return
		}
		header, _, _ := readTable(p.Table, []byte(text))
		fields, err := csv.NewReader(strings.NewReader(string(row))).Read()
		if err != nil || len(fields) != len(header) {
			t.Errorf("%q after %q: %v", row, text, err)
		}
	})
}

func TestAppend(t *testing.T) {
	for _, c := range []struct {
		text, want string
		block      bool
	}{
		{"", "X", false}, {"", "X", true}, {"a", "a\nX", false}, {"a\n", "a\nX", false}, {"a\n", "a\n\nX", true}, {"a\n\n", "a\n\nX", true}, {"a", "a\n\nX", true},
	} {
		if got := string(Append([]byte(c.text), []byte("X"), c.block)); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}
