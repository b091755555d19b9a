package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"hostler/render/fact"
)

var (
	node    = fact.MAC{0x52, 0x54, 0, 0x77, 0, 1}
	begun   = time.Date(2026, 10, 2, 3, 4, 5, 678_000_000, time.UTC)
	machine = netip.MustParseAddr("10.77.0.11")
	server  = netip.MustParseAddr("10.77.0.1")
)

func mac(n int) fact.MAC {
	m := fact.MAC{2}
	binary.BigEndian.PutUint32(m[2:], uint32(n))
	return m
}

func packet(mac fact.MAC, node fact.NodeName, n, size int) fact.Packet {
	return fact.Packet{
		Time: begun.Add(time.Duration(n) * time.Millisecond), MAC: mac, Node: node, Proto: fact.ProtoTFTP,
		From: netip.AddrPortFrom(server, 69), To: netip.AddrPortFrom(machine, 1024), Sent: true,
		Payload: bytes.Repeat([]byte{byte(n)}, size), Size: size, Skipped: n,
	}
}

func TestKept(t *testing.T) {
	s := newStore(100, 10)
	want := packet(node, "bios1", 7, 300)
	s.Add(want)
	got := s.Packets(node)
	want.Node = "" // whoever asks knows it
	if diff := cmp.Diff([]fact.Packet{want}, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	s.Add(fact.Packet{MAC: node})                                                              // of no address
	s.Add(fact.Packet{From: netip.AddrPortFrom(server, 1), To: netip.AddrPortFrom(server, 2)}) // of no machine
	if n := len(s.Packets(node)); n != 1 {
		t.Errorf("%d packets", n)
	}
}

// TestOneMachine holds that a machine that talks without end has its share, the newest of it, and costs others nothing.
func TestOneMachine(t *testing.T) {
	s := newStore(1000, 10)
	s.Add(packet(mac(1), "quiet", 1, 300))
	const n = 10_000
	for i := range n {
		s.Add(packet(node, "bios1", i, 500))
	}
	got := s.Packets(node)
	if len(got) < (perMachine-1)*3 || len(got) > perMachine*4 {
		t.Errorf("%d packets of 500 bytes in %d blocks", len(got), perMachine)
	}
	for i, p := range got {
		if want := n - len(got) + i; p.Skipped != want {
			t.Fatalf("packet %d is number %d, want %d", i, p.Skipped, want)
		}
	}
	if len(s.Packets(mac(1))) != 1 {
		t.Error("it pushed out another machine")
	}
	if bytes, machines := s.Size(); bytes != (perMachine+1)*blockSize || machines != 2 {
		t.Errorf("%d bytes, %d machines", bytes, machines)
	}
}

// TestStrangers holds that made-up machines push out each other, the silent ones first, and never a declared one.
func TestStrangers(t *testing.T) {
	s := newStore(20, 20)
	s.Add(packet(node, "bios1", 1, 300))
	for i := range 10_000 {
		s.Add(packet(mac(i), "", i, 1400))
		s.Add(packet(mac(0), "", i, 100)) // talks on
	}
	if len(s.Packets(node)) != 1 {
		t.Error("strangers pushed out a declared machine")
	}
	if len(s.Packets(mac(0))) == 0 || len(s.Packets(mac(9_999))) != 1 || len(s.Packets(mac(5_000))) != 0 {
		t.Error("not those that were silent for longest went")
	}
	if bytes, _ := s.Size(); bytes != 21*blockSize {
		t.Errorf("%d bytes are taken, want 21 blocks", bytes)
	}
}

func TestAddAllocatesNothing(t *testing.T) {
	s := newStore(100, 10)
	p := packet(node, "bios1", 1, 590)
	for range 1000 {
		s.Add(p)
	}
	if n := testing.AllocsPerRun(1000, func() { s.Add(p) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	s := New()
	p := packet(node, "bios1", 1, 590)
	b.ReportAllocs()
	for b.Loop() {
		s.Add(p)
	}
}

// dhcp makes a DHCP packet.
func dhcp(sent bool, typ dhcpv4.MessageType, more ...dhcpv4.Modifier) fact.Packet {
	more = append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(node[:]), dhcpv4.WithMessageType(typ), dhcpv4.WithTransactionID([4]byte{1, 2, 3, 4})}, more...)
	m, err := dhcpv4.New(more...)
	if err != nil {
		panic(err)
	}
	p := fact.Packet{
		Time: begun, MAC: node, Proto: fact.ProtoDHCP, From: netip.MustParseAddrPort("0.0.0.0:68"), To: netip.MustParseAddrPort("255.255.255.255:67"), Sent: sent,
	}
	if sent {
		m.OpCode = dhcpv4.OpcodeBootReply
		p.From, p.To = netip.AddrPortFrom(server, 67), netip.AddrPortFrom(machine, 68)
	}
	p.Payload = m.ToBytes()
	p.Size = len(p.Payload)
	return p
}

func option(code uint8, value string) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), []byte(value)))
}

func tftp(sent bool, payload string, size int) fact.Packet {
	p := fact.Packet{
		Time: begun, MAC: node, Proto: fact.ProtoTFTP, Sent: sent, Payload: []byte(payload), Size: max(size, len(payload)),
		From: netip.AddrPortFrom(machine, 2070), To: netip.AddrPortFrom(server, 69),
	}
	if sent {
		p.From, p.To = p.To, p.From
	}
	return p
}

// boot is the conversation of the field's documents: DHCP, a size probe, a transfer, a script.
func boot() []fact.Packet {
	address := func(m *dhcpv4.DHCPv4) {
		m.YourIPAddr, m.ServerIPAddr, m.BootFileName = machine.AsSlice(), server.AsSlice(), "undionly.kpxe"
	}
	lease := option(51, "\x00\x00\x02\x58")
	last := tftp(true, "\x00\x03\x00\x42", 4+755)
	last.Skipped = 128
	http := func(sent bool, head string, size int) fact.Packet {
		p := tftp(sent, head, size)
		p.Proto = fact.ProtoHTTP
		p.From, p.To = netip.AddrPortFrom(machine, 40000), netip.AddrPortFrom(server, 8080)
		if sent {
			p.From, p.To = p.To, p.From
		}
		return p
	}
	list := []fact.Packet{
		dhcp(false, dhcpv4.MessageTypeDiscover, option(93, "\x00\x07"), option(60, "PXEClient:Arch:00007")),
		dhcp(true, dhcpv4.MessageTypeOffer, address, lease, option(12, "bios1")),
		dhcp(false, dhcpv4.MessageTypeRequest, option(50, "\x0a\x4d\x00\x0b"), option(54, "\x0a\x4d\x00\x01")),
		dhcp(true, dhcpv4.MessageTypeAck, address, lease),
		tftp(false, "\x00\x01undionly.kpxe\x00octet\x00TSIZE\x000\x00", 0),
		tftp(true, "\x00\x06tsize\x0093955\x00", 0),
		tftp(false, "\x00\x05\x00\x08User aborted the transfer\x00", 0),
		tftp(false, "\x00\x01undionly.kpxe\x00octet\x00blksize\x001456\x00", 0),
		tftp(true, "\x00\x06blksize\x001456\x00", 0),
		tftp(false, "\x00\x04\x00\x00", 0),
		tftp(true, "\x00\x03\x00\x01", 4+1456),
		tftp(false, "\x00\x04\x00\x01", 0),
		last,
		tftp(false, "\x00\x04\x00\x42", 0),
		dhcp(false, dhcpv4.MessageTypeDiscover, option(77, "iPXE"), option(93, "\x00\x07"), option(175, "\x01\x02")),
		http(false, "GET /boot/v1/bootscript?mac=52:54:00:77:00:01 HTTP/1.1\r\nHost: 10.77.0.1:8080\r\n\r\n", 0),
		http(true, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 41+1234),
	}
	for i := range list {
		list[i].Time = begun.Add(time.Duration(i) * 10 * time.Millisecond)
	}
	return list
}

func table(packets []fact.Packet) string {
	var b strings.Builder
	for _, r := range Describe(packets) {
		fmt.Fprintf(&b, "%s | %s | %s\n", r.Traffic, r.Description, r.Sender)
	}
	return b.String()
}

func TestDescribe(t *testing.T) {
	const want = `DHCP Discover | x86_64-uefi firmware of 52:54:00:77:00:01 asks for an address | Client
DHCP Offer | 10.77.0.11, host name bios1, for 600 s, next-server 10.77.0.1, boot file undionly.kpxe | Server
DHCP Request | takes 10.77.0.11 from 10.77.0.1 | Client
DHCP ACK | 10.77.0.11, for 600 s, next-server 10.77.0.1, boot file undionly.kpxe | Server
Read Request File: undionly.kpxe tsize=0 | asks for the file, and for its size first | Client
Option Acknowledgement | agrees on tsize=93955 | Server
Error Code, Code: Option negotiation failed, Message: User aborted the transfer | ends the transfer | Client
Read Request File: undionly.kpxe blksize=1456 | asks for the file | Client
Option Acknowledgement | agrees on blksize=1456 | Server
Acknowledgement, Block: 0 | is ready | Client
Data Packet, Block: 1 | 1456 bytes | Server
Acknowledgement, Block: 1 | has block 1 | Client
Data Packet, Block: 66 (Last) | 755 bytes: the file ends here (128 packets of this transfer before it are not kept) | Server
Acknowledgement, Block: 66 | has block 66 | Client
DHCP Discover | iPXE of 52:54:00:77:00:01 asks for an address | Client
HTTP GET | http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:01 | Client
HTTP 200 OK | sends 1234 bytes | Server
`
	if diff := cmp.Diff(want, table(boot())); diff != "" {
		t.Error(diff)
	}
}

// TestDescribeOdd are the messages of machines that are no clean boot.
func TestDescribeOdd(t *testing.T) {
	has := func(a string) dhcpv4.Modifier {
		return func(m *dhcpv4.DHCPv4) { m.ClientIPAddr = netip.MustParseAddr(a).AsSlice() }
	}
	relayed := func(m *dhcpv4.DHCPv4) { m.GatewayIPAddr = netip.MustParseAddr("10.9.0.1").AsSlice() }
	for _, c := range []struct {
		p    fact.Packet
		want string
	}{
		{dhcp(false, dhcpv4.MessageTypeRequest, has("10.77.0.11")), "DHCP Request | renews 10.77.0.11 | Client"},
		{dhcp(false, dhcpv4.MessageTypeRequest, option(50, "\x0a\x4d\x00\x0b"), relayed), "DHCP Request | asks whether it still has 10.77.0.11, through relay 10.9.0.1 | Client"},
		{dhcp(false, dhcpv4.MessageTypeDecline, option(50, "\x0a\x4d\x00\x0b")), "DHCP Decline | somebody else uses 10.77.0.11 | Client"},
		{dhcp(false, dhcpv4.MessageTypeRelease, has("10.77.0.11")), "DHCP Release | gives 10.77.0.11 back | Client"},
		{dhcp(false, dhcpv4.MessageTypeInform, has("10.77.0.11")), "DHCP Inform | has 10.77.0.11, and asks for options | Client"},
		{dhcp(true, dhcpv4.MessageTypeNak, option(56, "not yours\x1b[2J")), "DHCP NAK | refuses: not yours?[2J | Server"},
		{tftp(false, "\x00\x01a\x1b[31mb\x00octet\x00", 0), "Read Request File: a?[31mb | asks for the file | Client"},
		{tftp(false, "\x00\x02x\x00octet\x00", 0), "Write Request File: x | wants to write | Client"},
		{tftp(true, "\x00\x05\x00\x63\x00", 0), "Error Code, Code: code 99 | ends the transfer | Server"},
		{tftp(false, "\x00", 0), "TFTP | too short to mean anything | Client"},
		{tftp(false, "\x12\x34", 0), "TFTP operation 4660 | is not one | Client"},
	} {
		if got := strings.TrimSuffix(table([]fact.Packet{c.p}), "\n"); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

// TestPcap has tshark read the file back.
func TestPcap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "boot.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := WritePcap(f, boot(), map[netip.Addr]fact.MAC{server: {2, 0, 0, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	f.Close()
	args := []string{"-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-T", "fields", "-E", "separator=|"}
	for _, field := range []string{"frame.time_epoch", "frame.len", "eth.src", "eth.dst", "ip.src", "ip.dst", "ip.checksum.status", "dhcp.option.dhcp", "dhcp.ip.your",
		"tftp.opcode", "tftp.source_file", "tftp.block", "http.request.uri", "http.response.code", "_ws.malformed"} {
		args = append(args, "-e", field)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	const want = `
1790910245.678000000|342|52:54:00:77:00:01|ff:ff:ff:ff:ff:ff|0.0.0.0|255.255.255.255|1|1|0.0.0.0||||||
1790910245.688000000|342|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|2|10.77.0.11||||||
1790910245.698000000|342|52:54:00:77:00:01|ff:ff:ff:ff:ff:ff|0.0.0.0|255.255.255.255|1|3|0.0.0.0||||||
1790910245.708000000|342|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|5|10.77.0.11||||||
1790910245.718000000|72|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||1|undionly.kpxe||||
1790910245.728000000|56|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|||6|||||
1790910245.738000000|72|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||5|||||
1790910245.748000000|77|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||1|undionly.kpxe||||
1790910245.758000000|57|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|||6|||||
1790910245.768000000|46|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||4||0|||
1790910245.778000000|1502|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|||3||1|||
1790910245.788000000|46|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||4||1|||
1790910245.798000000|801|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|||3||66|||
1790910245.808000000|46|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1|||4||66|||
1790910245.818000000|342|52:54:00:77:00:01|ff:ff:ff:ff:ff:ff|0.0.0.0|255.255.255.255|1|1|0.0.0.0||||||
1790910245.828000000|134|52:54:00:77:00:01|02:00:00:00:00:01|10.77.0.11|10.77.0.1|1||||||/boot/v1/bootscript?mac=52:54:00:77:00:01||
1790910245.838000000|1329|02:00:00:00:00:01|52:54:00:77:00:01|10.77.0.1|10.77.0.11|1|||||||200|
`
	if diff := cmp.Diff(want, "\n"+string(out)); diff != "" {
		t.Error(diff)
	}
}

// FuzzDescribe: whatever a machine sends, the table and the file can be made, and a terminal is safe.
func FuzzDescribe(f *testing.F) {
	for _, p := range boot() {
		f.Add(p.Payload, p.Sent, string(p.Proto))
	}
	f.Fuzz(func(t *testing.T, payload []byte, sent bool, proto string) {
		p := tftp(sent, string(payload), 0)
		p.Proto = fact.Proto(proto)
		s := newStore(4, 4)
		s.Add(p)
		kept := s.Packets(node)
		for _, r := range Describe(kept) {
			if strings.ContainsAny(r.Traffic+r.Description, "\x1b\n\r\x00") {
				t.Errorf("%q", r)
			}
		}
		if err := WritePcap(&bytes.Buffer{}, kept, nil); err != nil {
			t.Error(err)
		}
	})
}
