package dhcp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render"
	"hostler/render/fact"
)

// overloaded is a DISCOVER with options in its file and sname fields too.
func overloaded(value byte, file, sname []byte) []byte {
	b := wirePacket{options: opts(opt(53, 1), opt(52, value), opt(55, 1, 3))}.bytes()
	copy(b[fileAt:cookieAt], append(bytes.Clone(file), 255))
	copy(b[snameAt:fileAt], append(bytes.Clone(sname), 255))
	return b
}

func TestParseOverload(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want string // options 55, 77 and 93, or the error
	}{
		{"neither", overloaded(0, opt(93, 0, 7), text(77, "iPXE")), "[1 3]  []"},
		{"file", overloaded(1, opt(93, 0, 7), text(77, "iPXE")), "[1 3]  [0 7]"},
		{"sname", overloaded(2, opt(93, 0, 7), text(77, "iPXE")), "[1 3] iPXE []"},
		{"both", overloaded(3, opt(93, 0, 7), text(77, "iPXE")), "[1 3] iPXE [0 7]"},
		{"an option in three parts (RFC 3396 section 5)", overloaded(3, opt(55, 6), opt(55, 15, 67)), "[1 3 6 15 67]  []"},
		{"not a value", wirePacket{options: opts(opt(53, 1), opt(52, 1, 1), opt(55, 1, 3))}.bytes(), "[1 3]  []"},
		{"an option that is cut off", overloaded(1, append(bytes.Repeat([]byte{0}, 120), 77, 200, 1, 1, 1, 1, 1), nil), "options in a field (option 52): "},
	} {
		p, err := parsed(c.b)
		var got string
		if err != nil {
			got = err.Error()
		} else if got = fmt.Sprintf("%d %s %d", p.Options[55], p.Options[77], p.Options[93]); p.Options[52] != nil {
			got += " with option 52"
		}
		if !strings.HasPrefix(got, c.want) || err == nil && got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// areasOf reads, in their order, the codes of the options field, of file and of sname, with a continued option as often as it is there.
func areasOf(b []byte) (areas [3][]int) {
	for i, area := range [][]byte{b[optionsAt:], b[fileAt:cookieAt], b[snameAt:fileAt]} {
		for len(area) > 1 && area[0] != 255 && area[0] != 0 {
			areas[i] = append(areas[i], int(area[0]))
			area = area[2+int(area[1]):]
		}
	}
	return areas
}

func TestEncode(t *testing.T) {
	long := func(code uint8, n int) render.Option {
		return render.Option{Code: code, Data: bytes.Repeat([]byte{code}, n)}
	}
	for _, c := range []struct {
		name    string
		options []render.Option
		file    string
		main    []int
		fields  [2][]int // file, sname
		dropped []uint8
	}{
		{"in the order of option 55, the relay agent's last", []render.Option{long(1, 4), long(3, 4), long(6, 4), long(15, 9), long(42, 4)}, "",
			[]int{53, 54, 3, 1, 6, 15, 42, 82}, [2][]int{}, nil},
		{"exactly", []render.Option{long(1, 4), long(15, 248)}, "", []int{53, 54, 1, 15, 82}, [2][]int{}, nil},
		{"one byte too many", []render.Option{long(1, 4), long(15, 249)}, "", []int{53, 54, 1, 82}, [2][]int{}, []uint8{15}},
		{"what has no room goes into file", []render.Option{long(1, 4), long(15, 249), long(6, 20)}, "", []int{53, 54, 1, 6, 82}, [2][]int{}, []uint8{15}},
		{"into file and sname", []render.Option{long(1, 4), long(15, 200), long(17, 100), long(6, 40)}, "",
			[]int{53, 54, 1, 6, 15, 52, 82}, [2][]int{{17}, nil}, nil},
		{"into sname, with a boot file in file", []render.Option{long(1, 4), long(15, 190), long(17, 60), long(6, 40)}, "a.efi",
			[]int{53, 54, 1, 6, 15, 67, 52, 82}, [2][]int{nil, {17}}, nil},
		{"first goes what nobody asked for, then what was asked for last", []render.Option{long(1, 4), long(6, 100), long(15, 120), long(17, 150), long(42, 130)}, "a.efi",
			[]int{53, 54, 1, 6, 15, 67, 82}, [2][]int{}, []uint8{17, 42}},
		{"what a boot needs stays", []render.Option{long(1, 4), long(43, 180), long(60, 9), long(119, 255), long(209, 20)}, "",
			[]int{53, 54, 1, 43, 60, 209, 82}, [2][]int{}, []uint8{119}},
		{"longer than one option can be", []render.Option{long(1, 4), long(17, 256)}, "", []int{53, 54, 1, 82}, [2][]int{}, []uint8{17}},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, f := decoded(t, wirePacket{options: message(fact.Discover, opt(55, 3, 1, 6, 15, 17, 67), opt(82, bytes.Repeat([]byte{9}, 40)...))})
			resp := newReply(new(dhcpv4.DHCPv4), req)
			fill(resp, req, &f, &render.Answer{Message: fact.Offer, YIAddr: addr("10.0.0.9"), ServerID: addr("10.0.0.1"), Options: c.options}, c.file)
			b, dropped := new(paper).encode(resp, &f, 548)
			if len(b) > 548 {
				t.Errorf("%d bytes", len(b))
			}
			got := areasOf(b)
			if c.file != "" {
				got[1] = nil // the boot file
			}
			if d := cmp.Diff([3][]int{c.main, c.fields[0], c.fields[1]}, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.dropped, dropped); d != "" {
				t.Error(d)
			}
			back, err := parsed(b)
			if err != nil || back.BootFileName != c.file {
				t.Fatalf("boot file %q: %v", back.BootFileName, err)
			}
			for _, code := range dropped {
				delete(resp.Options, code)
			}
			if d := cmp.Diff(resp.Options, back.Options); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestEncodeLong repeats an option that is longer than one can be (RFC 3396), and puts nothing into the fields of a BOOTP reply.
func TestEncodeLong(t *testing.T) {
	f := &fact.Facts{Message: fact.Discover}
	resp := &dhcpv4.DHCPv4{OpCode: dhcpv4.OpcodeBootReply, ClientHWAddr: testMAC[:], Options: dhcpv4.Options{53: {2}, 121: bytes.Repeat([]byte{7}, 600)}}
	b, dropped := new(paper).encode(resp, f, 1472)
	if got := areasOf(b)[0]; dropped != nil || !cmp.Equal(got, []int{53, 121, 121, 121}) {
		t.Errorf("%v, without %v", got, dropped)
	}
	back, err := dhcpv4.FromBytes(b) // the library's own decoder, which knows nothing of ours
	if err != nil || len(back.Options[121]) != 600 {
		t.Errorf("%d bytes: %v", len(back.Options[121]), err)
	}
	f.Message = fact.BOOTP
	delete(resp.Options, 53)
	if b, dropped = new(paper).encode(resp, f, bootpLen); len(b) != bootpLen || areasOf(b)[1] != nil || !cmp.Equal(dropped, []uint8{121}) {
		t.Errorf("%v, without %v", areasOf(b), dropped)
	}
}

// parsed is a request that has its memory for itself.
func parsed(b []byte) (*dhcpv4.DHCPv4, error) {
	p := new(dhcpv4.DHCPv4)
	return p, parse(p, bytes.Clone(b))
}
