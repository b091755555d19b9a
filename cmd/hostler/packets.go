package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"
	"unicode/utf8"

	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/capture"
)

// conversation is what the server keeps of one machine's packets.
type conversation struct {
	MAC      fact.MAC                `json:"mac"`
	Node     fact.NodeName           `json:"node,omitempty"`
	Packets  []fact.Packet           `json:"packets"`  // oldest first
	Hardware map[netip.Addr]fact.MAC `json:"hardware"` // Ethernet addresses of the server, by its IP addresses
}

// Packets implements admin.Backend.
func (s *server) Packets(f admin.Filter) (any, error) {
	mac, err := s.machine(f.Machine)
	if err != nil {
		return nil, err
	}
	c := conversation{MAC: mac, Packets: s.packets.Packets(mac), Hardware: hardware()}
	if boots := s.boots.Boots(mac, f.Newest); len(boots) > 0 {
		c.Node = boots[0].Node
		if f.Newest > 0 {
			c.Packets = capture.Between(c.Packets, boots[len(boots)-1].Start, time.Time{})
		}
	}
	return c, nil
}

// hardware finds the Ethernet address behind each address of this host.
func hardware() map[netip.Addr]fact.MAC {
	found := map[netip.Addr]fact.MAC{}
	all, err := net.Interfaces()
	if err != nil {
		return found
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || len(i.HardwareAddr) != 6 {
			continue
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				found[p.Addr()] = fact.MAC(i.HardwareAddr)
			}
		}
	}
	return found
}

// conversation prints a machine's packets, or writes them to a file.
func (env *environment) conversation(ctx context.Context, c *admin.Client, q url.Values, file string, asJSON bool) int {
	if q.Get("machine") == "" {
		return env.fail("boots: -packets and -pcap are about one machine: name it")
	}
	var v conversation
	if err := c.Get(ctx, "/v1/packets?"+q.Encode(), &v); err != nil {
		return env.serverError(err)
	}
	switch {
	case file != "":
		if err := writePcap(file, &v); err != nil {
			return env.fail("writing the packets: %v", err)
		}
		fmt.Fprintf(env.stdout, "Wrote %s, %s.\n", file, plural(len(v.Packets), "packet"))
	case asJSON:
		return env.json(struct {
			conversation
			Rows []capture.Row `json:"rows"`
		}{v, capture.Describe(v.Packets)})
	case len(v.Packets) == 0:
		fmt.Fprintln(env.stdout, "No packet of this machine is kept: none came since the server was started, or other machines took its place.")
	default:
		env.printPackets(&v)
	}
	return exitOK
}

func writePcap(file string, v *conversation) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	err = capture.WritePcap(f, v.Packets, v.Hardware)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// printPackets prints the table that `hostler boot` prints, with the time before it.
func (env *environment) printPackets(v *conversation) {
	rows := append([]capture.Row{{Traffic: "Traffic", Description: "Description", Sender: "Sender"}}, capture.Describe(v.Packets)...)
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r.Traffic))
	}
	width = min(width, 60)
	begun := v.Packets[0].Time
	who := v.MAC.String()
	if v.Node != "" {
		who = fmt.Sprintf("%s (%s)", v.Node, v.MAC)
	}
	fmt.Fprintf(env.stdout, "%s, from %s\n\n", who, begun.UTC().Format("2 Jan 2006 15:04:05.000 MST"))
	for i, r := range rows {
		at := "Time"
		if i > 0 {
			at = fmt.Sprintf("%.3f", v.Packets[i-1].Time.Sub(begun).Seconds())
		}
		fmt.Fprintf(env.stdout, "%9s  %-6s  %-*s  %s\n", at, r.Sender, width, r.Traffic, r.Description)
	}
}
