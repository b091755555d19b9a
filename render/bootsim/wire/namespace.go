package wire

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as the threads in it. Sockets made by do belong to it, wherever they
// are used.
type namespace struct {
	tasks   chan func()
	threads sync.WaitGroup
	tid     int // of the first
}

func newNamespace() (*namespace, error) {
	ns := &namespace{tasks: make(chan func())}
	err := ns.thread(func() error {
		ns.tid = unix.Gettid()
		return unix.Unshare(unix.CLONE_NEWNET)
	})
	if err != nil {
		return ns, fmt.Errorf("making a network namespace (this needs root): %v", err)
	}
	return ns, nil
}

// thread adds a thread that enters the namespace, so that one more task can be done at a time.
func (ns *namespace) thread(enter func() error) error {
	entered := make(chan error)
	ns.threads.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread, and with the last one the namespace, ends with the goroutine
		err := enter()
		entered <- err
		if err != nil {
			return
		}
		for f := range ns.tasks {
			f()
		}
	})
	return <-entered
}

// grow adds threads.
func (ns *namespace) grow(n int) error {
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", ns.tid))
	if err != nil {
		return err
	}
	defer home.Close()
	for range n {
		if err := ns.thread(func() error { return unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) }); err != nil {
			return err
		}
	}
	return nil
}

// close ends the namespace and everything in it.
func (ns *namespace) close() {
	close(ns.tasks)
	ns.threads.Wait()
}

// do runs f in the namespace.
func (ns *namespace) do(f func() error) error {
	done := make(chan error, 1)
	ns.tasks <- func() { done <- f() }
	return <-done
}

// macvlan puts a network card with its own MAC on an interface of this host into the namespace, and switches it on.
func (ns *namespace) macvlan(parent, name string, mac net.HardwareAddr) (netlink.Link, error) {
	p, err := netlink.LinkByName(parent)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(p.Attrs().HardwareAddr, mac) {
		return nil, fmt.Errorf("%s is the MAC of %s itself: play the machine from another one", mac, parent)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.HardwareAddr, attrs.Namespace = name, p.Attrs().Index, mac, netlink.NsPid(ns.tid)
	if err := netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}); err != nil {
		return nil, err
	}
	var link netlink.Link
	err = ns.do(func() (err error) {
		if link, err = netlink.LinkByName(name); err != nil {
			return err
		}
		return netlink.LinkSetUp(link)
	})
	return link, err
}

// configure gives the card the address and the route of a lease.
func (ns *namespace) configure(link netlink.Link, ack *dhcpv4.DHCPv4) error {
	mask := ack.SubnetMask()
	if mask == nil {
		mask = net.CIDRMask(24, 32)
	}
	return ns.do(func() error {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}}
		if err := netlink.AddrReplace(link, addr); err != nil {
			return fmt.Errorf("taking the address: %v", err)
		}
		routers := ack.Router()
		if len(routers) == 0 {
			return nil
		}
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: routers[0]}); err != nil {
			return fmt.Errorf("taking the gateway: %v", err)
		}
		return nil
	})
}

func bindToDevice(name string) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) {
			if err = unix.BindToDevice(int(fd), name); err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
			}
		})
		if cerr != nil {
			return cerr
		}
		return err
	}
}
