package vm

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Beside makes another host on the network's bridge: a namespace of its own, whose only interface, eth0, has an address.
// What listens on a port there leaves the same port free here. Close it before the network.
func (n *Network) Beside(addr netip.Prefix) (*Network, error) {
	m, err := isolated()
	if err != nil {
		return nil, err
	}
	if err := n.cable(m, addr); err != nil {
		m.Close()
		return nil, fmt.Errorf("making a host beside the others: %w", err)
	}
	return m, nil
}

func (n *Network) cable(m *Network, addr netip.Prefix) error {
	var tid int
	if err := m.inside(func() error { tid = unix.Gettid(); return nil }); err != nil {
		return err
	}
	n.mu.Lock()
	n.taps++
	name := fmt.Sprint("cable", n.taps)
	n.mu.Unlock()
	for _, args := range [][]string{
		{"link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(tid)},
		{"link", "set", name, "master", "br0"},
		{"link", "set", name, "up"},
	} {
		if err := n.ip(args...); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", addr.String(), "dev", "eth0"},
		{"link", "set", "eth0", "up"},
	} {
		if err := m.ip(args...); err != nil {
			return err
		}
	}
	return nil
}
