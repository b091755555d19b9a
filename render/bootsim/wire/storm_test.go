package wire

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/bootsim"
	"hostler/render/fact"
)

var mac = fact.MAC{0x52, 0x54, 0, 0x77, 0, 1}

// TestVerify: a machine must not count bytes as good that are not those of the digest, or not those that others got.
func TestVerify(t *testing.T) {
	const a, b = fact.Digest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), fact.Digest("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
	r := &room{digests: map[string]fact.Digest{}}
	for _, c := range []struct {
		name string
		got  fact.Digest
		want error
	}{
		{"/files/" + string(a) + "/kernel", a, nil},
		{"/files/" + string(a) + "/kernel", b, errContents},
		{"undionly.kpxe", a, nil},
		{"undionly.kpxe", b, errContents},
		{"ipxe.efi", b, nil},
		{"/boot/v1/bootscript", "", nil},
	} {
		if err := r.verify(c.name, bootsim.File{Digest: c.got, Size: 100}); !errors.Is(err, c.want) {
			t.Errorf("%s with %.4s: %v, want %v", c.name, c.got, err, c.want)
		}
	}
	if r.files != 3 || r.bytes != 300 {
		t.Errorf("%d files, %d bytes were counted as good, want 3, 300", r.files, r.bytes)
	}
}

// TestSameTransaction: two of many machines choose the same transaction id.
func TestSameTransaction(t *testing.T) {
	p := &port{waiting: map[exchange]chan *dhcpv4.DHCPv4{}}
	message := func(mac fact.MAC) *dhcpv4.DHCPv4 {
		m, err := dhcpv4.New(dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first, second := p.expect(message(mac)), p.expect(message(fact.MAC{2, 0, 0, 0, 0, 1}))
	p.deliver(message(mac))
	if len(first) != 1 || len(second) != 0 {
		t.Errorf("%d and %d replies, want 1 and 0", len(first), len(second))
	}
}

func TestReport(t *testing.T) {
	r := &room{times: map[string][]time.Duration{}, failures: map[string]*Failure{}}
	for i := range 100 {
		r.took("offer", time.Duration(100-i))
	}
	for i := range 10 {
		var err error
		switch {
		case i < 2:
			err = errors.New("rare")
		case i < 5:
			err = errors.New("frequent")
		}
		if done := r.ended(fact.MAC{byte(i)}, err); done != i+1 {
			t.Errorf("%d have ended, want %d", done, i+1)
		}
	}
	want := Report{
		Machines: 10, Ready: 5, Elapsed: time.Second,
		Stages:   []StageTimes{{"offer", 100, 50, 90, 99, 100}},
		Failures: []Failure{{"frequent", 3, fact.MAC{2}}, {"rare", 2, fact.MAC{0}}},
	}
	if diff := cmp.Diff(want, r.report(10, time.Second)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestFrame reads a frame back as a host would.
func TestFrame(t *testing.T) {
	f := fact.Facts{Message: fact.Discover, MAC: mac, Arch: 7, VendorClass: "PXEClient"}
	p, err := encodeFacts(&f)
	if err != nil {
		t.Fatal(err)
	}
	b := frame(mac, p.ToBytes())
	if got := b[:14]; string(got) != "\xff\xff\xff\xff\xff\xff\x52\x54\x00\x77\x00\x01\x08\x00" {
		t.Errorf("Ethernet header % x", got)
	}
	ip := b[14:]
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	if sum = sum>>16 + sum&0xffff; sum != 0xffff { // RFC 1071: with its checksum, a header sums up to all ones
		t.Errorf("IP header % x sums up to %x", ip[:20], sum)
	}
	if n := int(binary.BigEndian.Uint16(ip[2:])); n != len(ip) || int(binary.BigEndian.Uint16(ip[24:])) != n-20 {
		t.Errorf("lengths in % x, of %d bytes", ip[:28], len(ip))
	}
	back, err := dhcpv4.FromBytes(ip[28:])
	if err != nil || fact.MAC(back.ClientHWAddr) != mac || back.TransactionID != p.TransactionID {
		t.Errorf("%v: %v", err, back)
	}
}
