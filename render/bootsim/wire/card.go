// Package wire plays machines on a real network: one with a network card of its own, or thousands that are switched on at once. What a
// machine does is bootsim's; here are its packets and its sockets. It needs root, for network namespaces and raw packets.
package wire

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
)

// Card is a machine's network card on a real network: a macvlan interface with the machine's MAC, in a network namespace of its own, so
// that neither its address nor its routes touch this host's.
type Card struct {
	ns    *namespace
	link  netlink.Link
	mac   fact.MAC
	dhcp  net.PacketConn
	acked *dhcpv4.DHCPv4 // the last reply
	http  *http.Client
}

const (
	answerTimeout = 5 * time.Second // for one answer
	cardName      = "hostler0"
	mostFetched   = 2 << 30
)

// New puts a card with the machine's MAC on an interface of this host.
func New(parent string, mac fact.MAC) (_ *Card, err error) {
	w := &Card{mac: mac}
	if w.ns, err = newNamespace(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.link, err = w.ns.macvlan(parent, cardName, net.HardwareAddr(mac[:])); err != nil {
		return nil, fmt.Errorf("making a network card on %s: %v", parent, err)
	}
	err = w.ns.do(func() (err error) {
		lc := net.ListenConfig{Control: bindToDevice(cardName)}
		w.dhcp, err = lc.ListenPacket(context.Background(), "udp4", ":68")
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening for DHCP replies: %v", err)
	}
	dial := func(_ context.Context, network, addr string) (c net.Conn, err error) {
		err = w.ns.do(func() (err error) { c, err = net.DialTimeout(network, addr, answerTimeout); return err })
		return c, err
	}
	w.http = httpClient(dial, answerTimeout)
	return w, nil
}

// httpClient speaks HTTP as firmware does.
func httpClient(dial func(context.Context, string, string) (net.Conn, error), timeout time.Duration) *http.Client {
	return &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true, ResponseHeaderTimeout: timeout},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("a redirect, which firmware does not follow")
		},
	}
}

// Close takes the card off the network.
func (w *Card) Close() {
	if w.dhcp != nil {
		w.dhcp.Close()
	}
	if w.link != nil {
		// The kernel takes a namespace apart when it likes. Until then the MAC would be in use, and the next play refused. An
		// error leaves it to the kernel.
		_ = w.ns.do(func() error { return netlink.LinkDel(w.link) })
	}
	w.ns.close()
}

// DHCP implements bootsim.Network. Replies are asked for as broadcasts, since the card has no address yet.
func (w *Card) DHCP(f fact.Facts) ([]bootsim.Reply, error) {
	request, err := encodeFacts(&f)
	if err != nil {
		return nil, err
	}
	to := &net.UDPAddr{IP: net.IPv4bcast, Port: 67}
	if f.BootServer {
		to = &net.UDPAddr{IP: f.ServerID.AsSlice(), Port: 4011}
		request.SetUnicast()
	}
	for range 3 {
		if _, err := w.dhcp.WriteTo(request.ToBytes(), to); err != nil {
			return nil, err
		}
		if replies := w.replies(request, &f); len(replies) > 0 {
			if replies[0].Message == fact.Ack && !f.BootServer {
				return replies, w.ns.configure(w.link, w.acked)
			}
			return replies, nil
		}
	}
	return nil, errors.New("no answer")
}

// replies waits for what comes back: to a DISCOVER, all that comes in two seconds, unless an offer has an address and a boot file.
// That is when firmware stops to wait for a proxy's.
func (w *Card) replies(request *dhcpv4.DHCPv4, f *fact.Facts) []bootsim.Reply {
	var replies []bootsim.Reply
	var address, file bool
	buf := make([]byte, 1500)
	w.dhcp.SetReadDeadline(time.Now().Add(2 * time.Second))
	for {
		n, _, err := w.dhcp.ReadFrom(buf)
		if err != nil {
			return replies // a time-out: send again, as firmware does
		}
		p, err := dhcpv4.FromBytes(buf[:n])
		if err != nil || p.TransactionID != request.TransactionID || p.OpCode != dhcpv4.OpcodeBootReply {
			continue
		}
		w.acked = p
		r := decodeReply(p)
		replies = append(replies, r)
		address, file = address || r.YIAddr.IsValid(), file || r.BootFile != ""
		if f.Message != fact.Discover || address && file {
			return replies
		}
	}
}

// encodeFacts makes the packet that says the facts.
func encodeFacts(f *fact.Facts) (*dhcpv4.DHCPv4, error) {
	p, err := dhcpv4.New(dhcpv4.WithHwAddr(net.HardwareAddr(f.MAC[:])), dhcpv4.WithBroadcast(true),
		dhcpv4.WithMessageType(dhcpv4.MessageType(f.Message)))
	if err != nil {
		return nil, err
	}
	put := func(code uint8, data []byte) { p.Options[code] = data }
	text := map[uint8]string{12: f.Hostname, 55: f.Params, 60: f.VendorClass, 61: f.ClientID, 77: f.UserClass, 97: f.UUID}
	for code, s := range text {
		if s != "" {
			put(code, []byte(s))
		}
	}
	for code, a := range map[uint8]netip.Addr{50: f.Requested, 54: f.ServerID} {
		if a.IsValid() {
			put(code, a.AsSlice())
		}
	}
	if f.Arch != fact.NoArch {
		put(93, binary.BigEndian.AppendUint16(nil, uint16(f.Arch)))
	}
	if f.IPXE {
		put(175, []byte{1, 1, 0}) // a feature list, as iPXE sends it
	}
	if f.MaxSize > 0 {
		put(57, binary.BigEndian.AppendUint16(nil, uint16(f.MaxSize)))
	}
	if f.CIAddr.IsValid() {
		p.ClientIPAddr = f.CIAddr.AsSlice()
	}
	return p, nil
}

// decodeReply takes what a machine reads out of a reply, in the shape of render.Answer.
func decodeReply(p *dhcpv4.DHCPv4) bootsim.Reply {
	addr := func(b []byte) netip.Addr {
		a, _ := netip.AddrFromSlice(b)
		if a = a.Unmap(); a.IsUnspecified() {
			return netip.Addr{}
		}
		return a
	}
	r := bootsim.Reply{
		Message: fact.Message(p.MessageType()), YIAddr: addr(p.YourIPAddr), SIAddr: addr(p.ServerIPAddr), ServerID: addr(p.Options[54]),
		BootFile: p.BootFileName,
	}
	if b := p.Options[67]; len(b) > 0 {
		r.BootFile = strings.TrimRight(string(b), "\x00")
	}
	for code, data := range p.Options {
		switch code { // what the server writes beside the answer
		case 53, 54, 61, 67, 82, 97, 118:
		default:
			r.Options = append(r.Options, render.Option{Code: code, Data: data})
		}
	}
	slices.SortFunc(r.Options, func(a, b render.Option) int { return int(a.Code) - int(b.Code) })
	return r
}

// HTTP implements bootsim.Network.
func (w *Card) HTTP(url string) (bootsim.File, error) { return get(context.Background(), w.http, url) }

func get(ctx context.Context, client *http.Client, url string) (bootsim.File, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return bootsim.File{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return bootsim.File{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return bootsim.File{}, errors.New("not found")
	}
	if resp.StatusCode != http.StatusOK {
		return bootsim.File{}, errors.New(resp.Status)
	}
	if resp.ContentLength < 0 {
		return bootsim.File{}, errors.New("no Content-Length, without which firmware does not boot")
	}
	return fetched(io.LimitReader(resp.Body, mostFetched), strings.HasPrefix(resp.Header.Get("Content-Type"), "text/"))
}

// fetched sums a file up. Texts are kept: they say what comes next.
func fetched(r io.Reader, text bool) (bootsim.File, error) {
	h := sha256.New()
	var kept strings.Builder
	var to io.Writer = h
	if text {
		to = io.MultiWriter(h, &kept)
		r = io.LimitReader(r, 64<<10)
	}
	n, err := io.Copy(to, r)
	if err != nil {
		return bootsim.File{}, err
	}
	f := bootsim.File{Size: n, Text: kept.String()}
	if !text {
		f.Digest = fact.Digest(hex.EncodeToString(h.Sum(nil)))
	}
	return f, nil
}
