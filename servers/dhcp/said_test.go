package dhcp

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

// A relay agent says where a machine is in many ways; what is shown can be read, and moves no cursor.
func TestAgentText(t *testing.T) {
	for sent, want := range map[string]string{
		"Gi1/0/7":                          "Gi1/0/7",
		"sw-r1\x00":                        "sw-r1",
		"\x00\x04\x00\x0a\x01\x07":         "vlan 10 port 1/7",
		"\x00\x06\x00\x1b\x21\x3a\x00\x01": "00:1b:21:3a:00:01",
		"\x00\x1b\x21\x3a\x00\x01":         "00:1b:21:3a:00:01",
		"\x1b[2J":                          "1b5b324a",
		"M\xfcnchen":                       "4dfc6e6368656e",
		"":                                 "",
	} {
		if got := agentText([]byte(sent)); got != want {
			t.Errorf("%q: got %q, want %q", sent, got, want)
		}
	}
}

func TestUUIDText(t *testing.T) {
	for sent, want := range map[string]string{
		"\x00DELL\x00\x51\x10\x30\x80W\xb5\xc0O\x4d\x32\x33":                   "4c4c4544-5100-3010-8057-b5c04f4d3233",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00": "",
		"\x01DELL": "", "": "",
	} {
		if got := uuidText(sent); got != want {
			t.Errorf("%x: got %q, want %q", sent, got, want)
		}
	}
}

// Events of machines that nobody declared carry what the inbox shows; those of declared ones carry nothing.
func TestSaid(t *testing.T) {
	req, err := dhcpv4.New(dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(optRelay), []byte("\x01\x03p/7\x02\x05sw-r1\x01"))))
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{req: req, facts: fact.Facts{Message: fact.Discover, Arch: 11, VendorClass: "PXE\x07Client", GIAddr: netip.MustParseAddr("10.0.0.2")}}
	want := &fact.Said{Arch: 11, VendorClass: "PXE?Client", Relay: netip.MustParseAddr("10.0.0.2"), Circuit: "p/7", Remote: "sw-r1"}
	if diff := cmp.Diff(want, x.request().Said, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if x.node = "n1"; x.request().Said != nil {
		t.Error("a declared machine's event has it, too")
	}
}
