package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"hostler/render/bootsim"
	"hostler/render/fact"
)

// pauses are what firmware does between two packets, without the network.
type pauses struct {
	request time.Duration // from its offer to its Request: it waits for better ones
	loader  time.Duration // from the loader's last byte to the loader's own Discover
	script  time.Duration // from the loader's lease until it asks for its script
	kernel  time.Duration // from the last byte of the initrd until the system is up and has its network
}

// pace is how a kind of machine behaves in time.
type pace struct {
	pauses
	dhcp []time.Duration // time-outs of the firmware, each followed by the same message again
	tftp patience
}

// ipxeTimeouts are iPXE's: they double from one second to ten (src/net/udp/dhcp.c).
var ipxeTimeouts = []time.Duration{1 * time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}

// paceOf gives a machine's pace. The pauses are those of the lab's machines, from undionly.kpxe and OVMF with ipxe.efi, as their boots show them; DHCP's
// time-outs are those of PXE 2.1 section 2.2.3, TFTP's those of EDK2 (PxeBcSupport.h), which BIOS ROMs resemble.
func paceOf(m bootsim.Machine) pace {
	p := pace{
		pauses: pauses{loader: 2600 * time.Millisecond, script: 8200 * time.Millisecond, kernel: 3400 * time.Millisecond},
		dhcp:   []time.Duration{4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second},
		tftp:   patience{6, 4 * time.Second},
	}
	if m.Arch.UEFI() {
		p.pauses = pauses{request: 3900 * time.Millisecond, loader: 6200 * time.Millisecond, script: 8 * time.Second, kernel: 3 * time.Second}
	}
	return p
}

// stages are what is measured of a boot, in its order.
var stages = []string{"offer", "ack", "loader", "script", "kernel", "initrd", "ready", "boot"}

var (
	digestIn = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	bootIn   = regexp.MustCompile(`\bhostler\.boot=(\S+)`)
)

// client is one machine of a storm, as bootsim's network.
type client struct {
	room *room
	ctx  context.Context
	mac  fact.MAC
	pace pace

	addr   netip.Addr // leased
	server *url.URL   // that gave it a script
	token  string     // its boot id and token, from the script
	files  int        // fetched since the script
	waited time.Duration
}

// boot boots the machine, and gives why it did not become ready.
func (c *client) boot(m bootsim.Machine) error {
	start := time.Now()
	t := bootsim.Walk(c, m)
	if !t.Booted {
		if cause := context.Cause(c.ctx); cause != nil {
			return fmt.Errorf("given up: %w", cause)
		}
		// Of a reason, what the machines have in common.
		return errors.New(digestIn.ReplaceAllString(strings.ReplaceAll(t.Reason, m.MAC.String(), "MAC"), "DIGEST"))
	}
	if err := c.wait(c.pace.kernel); err != nil {
		return err
	}
	if err := c.phoneHome(); err != nil {
		return fmt.Errorf("reporting that it is ready: %w", err)
	}
	c.room.took("boot", time.Since(start)-c.waited)
	return nil
}

// wait is a pause of the machine's own.
func (c *client) wait(d time.Duration) error {
	start := time.Now()
	defer func() { c.waited += time.Since(start) }()
	return pause(c.ctx, d)
}

// DHCP implements bootsim.Network.
func (c *client) DHCP(f fact.Facts) ([]bootsim.Reply, error) {
	if f.BootServer {
		return nil, errors.New("a storm has no site DHCP server beside it")
	}
	timeouts, stage, before := c.pace.dhcp, "ack", c.pace.request
	if f.Message == fact.Discover {
		stage, before = "offer", 0
	}
	if f.IPXE {
		timeouts, before = ipxeTimeouts, 0
		if f.Message == fact.Discover {
			before = c.pace.loader
		}
	}
	if err := c.wait(before); err != nil {
		return nil, err
	}
	request, err := encodeFacts(&f)
	if err != nil {
		return nil, err
	}
	if !f.Broadcast {
		request.SetUnicast()
	}
	start := time.Now()
	ack, err := c.exchange(request, timeouts)
	if err != nil {
		return nil, err
	}
	c.room.took(stage, time.Since(start))
	r := decodeReply(ack)
	if r.Message == fact.Ack {
		err = c.configure(ack)
	}
	return []bootsim.Reply{r}, err
}

// exchange sends a message until it is answered, or the firmware gives up.
func (c *client) exchange(request *dhcpv4.DHCPv4, timeouts []time.Duration) (*dhcpv4.DHCPv4, error) {
	replies := c.room.port.expect(request)
	defer c.room.port.forget(request)
	for i, timeout := range timeouts {
		if i > 0 {
			c.room.mu.Lock()
			c.room.resent++
			c.room.mu.Unlock()
		}
		if err := c.room.port.send(c.mac, request); err != nil {
			return nil, err
		}
		select {
		case reply := <-replies:
			return reply, nil
		case <-time.After(timeout):
		case <-c.ctx.Done():
			return nil, context.Cause(c.ctx)
		}
	}
	return nil, errors.New("no answer")
}

// configure puts the machine's address on the card that all share, and the way to its network beside it.
func (c *client) configure(ack *dhcpv4.DHCPv4) error {
	addr, _ := netip.AddrFromSlice(ack.YourIPAddr.To4())
	if addr == c.addr {
		return nil
	}
	c.addr = addr
	link, mask := c.room.card, ack.SubnetMask()
	return c.room.ns.do(func() error {
		own := &net.IPNet{IP: ack.YourIPAddr, Mask: net.CIDRMask(32, 32)}
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: own}); err != nil {
			return fmt.Errorf("taking the address: %w", err)
		}
		if mask == nil {
			return nil
		}
		subnet := &net.IPNet{IP: ack.YourIPAddr.Mask(mask), Mask: mask}
		err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: subnet, Scope: netlink.SCOPE_LINK})
		if err == nil && len(ack.Router()) > 0 {
			err = netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: ack.Router()[0]})
		}
		return err
	})
}

// TFTP implements bootsim.Network.
func (c *client) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	start := time.Now()
	f, err := readTFTP(c.room.ns.udp(c.addr.AsSlice()), server, tftpRequest(name, probe, c.pace.tftp))
	if err != nil || probe {
		return f, err
	}
	if b := bootIn.FindStringSubmatch(f.Text); b != nil { // a configuration of pxelinux or GRUB
		c.scripted(&url.URL{Scheme: "http", Host: net.JoinHostPort(server.String(), "8080")}, b[1])
	}
	c.fetched(start, f)
	return f, c.room.verify(name, f)
}

// HTTP implements bootsim.Network.
func (c *client) HTTP(address string) (bootsim.File, error) {
	at, err := url.Parse(address)
	if err != nil {
		return bootsim.File{}, err
	}
	if c.token == "" {
		if err := c.wait(c.pace.script); err != nil {
			return bootsim.File{}, err
		}
	}
	start := time.Now()
	f, err := get(c.ctx, c.http(), address)
	if err != nil {
		return f, err
	}
	if b := bootIn.FindStringSubmatch(f.Text); b != nil {
		c.scripted(at, b[1])
	}
	c.fetched(start, f)
	return f, c.room.verify(at.Path, f)
}

func (c *client) scripted(server *url.URL, boot string) {
	c.server, c.token, c.files = server, boot, 0
}

// fetched takes note of a file by what it must be: there is a loader until there is a script, which is a text; then kernel and initrds.
func (c *client) fetched(start time.Time, f bootsim.File) {
	stage := "loader"
	switch {
	case f.Text != "":
		stage = "script"
	case c.token != "" && c.files == 0:
		stage = "kernel"
	case c.token != "":
		stage = "initrd"
	}
	if c.token != "" && f.Text == "" {
		c.files++
	}
	c.room.took(stage, time.Since(start))
}

// phoneHome reports that the machine is ready, as the system that it booted would.
func (c *client) phoneHome() error {
	if c.token == "" {
		return errors.New("the kernel command line names no boot")
	}
	to := url.URL{Scheme: c.server.Scheme, Host: c.server.Host, Path: strings.TrimSuffix(c.server.Path, scriptPath)}
	if to.Path == c.server.Path {
		to.Path = ""
	}
	start := time.Now()
	req, err := http.NewRequestWithContext(c.ctx, http.MethodPost, to.String()+"/phone-home", strings.NewReader(url.Values{"boot": {c.token}}.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.http().Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	c.room.took("ready", time.Since(start))
	return nil
}

// scriptPath is where boot scripts are, below the base of the server's URLs.
const scriptPath = "/boot/v1/bootscript"

// http gives a client that speaks from the machine's address, with a connection for each request, as iPXE does.
func (c *client) http() *http.Client {
	dial := func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: c.addr.AsSlice()}}
		err = c.room.ns.do(func() (err error) { conn, err = d.DialContext(ctx, network, addr); return err })
		return conn, err
	}
	return httpClient(dial, 0)
}
