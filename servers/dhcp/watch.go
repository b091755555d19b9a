package dhcp

import (
	"context"
	"net"
	"reflect"
	"sync"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"hostler/render/fact"
)

// lookAgain is how often the interfaces are looked at although the kernel reported no change, because its
// reports may get lost, and to try again on a port that was taken.
const lookAgain = 5 * time.Second

// changes reports links and addresses that changed, until ctx ends. Several changes may be one report.
func changes(ctx context.Context, wg *sync.WaitGroup) (<-chan struct{}, error) {
	sock, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, sock.Close)
	ch := make(chan struct{}, 1)
	wg.Go(func() {
		defer stop()
		for ctx.Err() == nil {
			if _, _, err := sock.Receive(); err != nil && ctx.Err() == nil {
				// ENOBUFS: changes came faster than they were read, so there is something to look at.
				// Anything else is caught by looking again.
				time.Sleep(10 * time.Millisecond)
			}
			select {
			case ch <- struct{}{}:
			default:
			}
		}
	})
	return ch, nil
}

// watch keeps the sockets in step with the interfaces: they appear, vanish, and change their addresses.
func (s *Server) watch(ctx context.Context, wg *sync.WaitGroup) {
	changed, err := changes(ctx, wg)
	if err != nil {
		s.cfg.Log.Warn("dhcp: changes of interfaces are noticed late", "delay", lookAgain, "err", err)
	}
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	revisions := time.NewTicker(lookAtRevision)
	defer revisions.Stop()
	s.watchBoot(wg, true)
	for {
		select {
		case <-ctx.Done():
			return
		case <-revisions.C:
			s.watchBoot(wg, false)
			continue
		case <-changed:
		case <-tick.C:
		}
		for _, name := range s.cfg.Interfaces {
			a, err := s.refresh(name)
			if s.setProblem(name, err) && err != nil {
				s.cfg.Log.Warn("dhcp: not serving an interface", "interface", name, "err", err)
			}
			if a != nil {
				s.cfg.Log.Info("dhcp: serving an interface", "interface", name, "address", a.ingress.Load().Prefixes)
				s.start(wg, a)
			}
		}
		s.watchBoot(wg, true)
	}
}

// refresh compares an interface with its sockets, and opens, closes or updates them. It gives the attachment if it is new.
func (s *Server) refresh(name string) (*attachment, error) {
	ifi, err := net.InterfaceByName(name)
	old := s.attached(name)
	if old != nil && (err != nil || !old.sameLink(ifi)) {
		s.detach(name)
		old = nil
	}
	if err != nil {
		return nil, errNoInterface
	}
	in, err := ingressOf(name)
	if err != nil {
		return nil, err
	}
	if old != nil {
		if !sameIngress(old.ingress.Load(), &in) {
			old.ingress.Store(&in)
			s.cfg.Log.Info("dhcp: addresses changed", "interface", name, "address", in.Prefixes)
		}
		return nil, nil
	}
	a, err := attach(*ifi, s.cfg.Port)
	if err != nil {
		return nil, err
	}
	a.ingress.Store(&in)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.links[name] = a
	return a, nil
}

func sameIngress(a, b *fact.Ingress) bool { return reflect.DeepEqual(a, b) }
