package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coredhcp/coredhcp/config"
	"golang.org/x/sync/errgroup"

	"hostler/reconcile"
	"hostler/reconcile/assign"
	"hostler/reconcile/inbox"
	"hostler/reconcile/ledger"
	"hostler/reconcile/s3"
	"hostler/reconcile/source"
	"hostler/reconcile/timeline"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/capture"
	"hostler/servers/dhcp"
	"hostler/servers/httpd"
	"hostler/servers/late"
	"hostler/servers/metrics"
	"hostler/servers/secret"
	"hostler/servers/tftp"
	"hostler/spec/serverconf"
)

// server is everything that `hostler serve` runs, put together: state at the bottom, then the reconciler, then the servers that read
// its snapshot. Sockets are bound before anything starts.
type server struct {
	config  serverconf.Config
	log     *slog.Logger
	started time.Time

	store   ledger.Store
	leases  *ledger.Leases
	boots   *timeline.Timeline
	keeper  *keeper
	inbox   *inbox.Inbox
	secrets *secret.Store
	tls     *httpd.Certificate // nil without a TLS listener
	s3      *s3.Service
	recon   *reconcile.Reconciler
	dhcp    *dhcp.Server
	http    *httpd.Server
	tftp    *tftp.Server
	metrics *metrics.Metrics
	packets *capture.Store
	proven  provenImages
	tasks   []task
	listens []string
	undo    []func() // in reverse, when it never ran
}

// task is one long-running part.
type task struct {
	name  string
	serve func(context.Context) error
}

// newServer opens the state and binds every socket, or fails and leaves nothing behind.
func newServer(c serverconf.Config, log *slog.Logger) (s *server, err error) {
	s = &server{config: c, log: log, started: time.Now()}
	s.secrets = secretsOf(c.Secrets)
	s.metrics, s.packets = metrics.New(s.sample), capture.New()
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := checkInterfaces(c.Interfaces, log); err != nil {
		return s, err
	}
	if err := s.openState(); err != nil {
		return s, err
	}
	if err := s.loadCertificate(); err != nil {
		return s, err
	}
	if s.s3, err = s3.New(accounts(c.S3), os.Getenv, time.Now); err != nil {
		return s, err
	}
	var both errgroup.Group // each reads as much as there are machines, and neither needs the other
	both.Go(s.openLeases)
	both.Go(s.newReconciler)
	if err := both.Wait(); err != nil {
		return s, err
	}
	if err := s.openBook(); err != nil {
		return s, err
	}
	if err := s.bind(); err != nil {
		return s, err
	}
	return s, nil
}

// accounts are the keys of S3 as the package takes them.
func accounts(blocks []serverconf.S3) []s3.Account {
	var list []s3.Account
	for _, b := range blocks {
		list = append(list, s3.Account(b))
	}
	return list
}

func (s *server) later(undo func()) { s.undo = append(s.undo, undo) }

func (s *server) close() {
	for i := len(s.undo) - 1; i >= 0; i-- {
		s.undo[i]()
	}
}

func checkInterfaces(names []string, log *slog.Logger) error {
	if len(names) == 0 {
		return fmt.Errorf("serving: no interface named: give -interface=NAME, or an interface block in the server configuration")
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("serving: interface %q: named twice", name)
		}
		if err := missingInterface(name); err != nil { // a VLAN or a bridge may be made after this server is started
			log.Warn("waiting for an interface", "interface", name, "err", err)
		}
	}
	return nil
}

// missingInterface says that there is no such interface, and which ones there are.
func missingInterface(name string) error {
	if _, err := net.InterfaceByName(name); err == nil {
		return nil
	}
	var have []string
	if all, err := net.Interfaces(); err == nil {
		for _, i := range all {
			have = append(have, i.Name)
		}
	}
	return fmt.Errorf("there is no such interface; this host has %s", strings.Join(have, ", "))
}

func (s *server) openState() (err error) {
	if err := os.MkdirAll(s.config.StateDir, 0o700); err != nil {
		return fmt.Errorf("making the state directory: %v", err)
	}
	if s.store, err = ledger.Open(filepath.Join(s.config.StateDir, "state.db")); err != nil {
		return fmt.Errorf("opening the state in %s: %w", s.config.StateDir, err)
	}
	s.store = measured{s.store, s.metrics}
	s.proven.store = s.store
	s.later(func() { s.store.Close() })
	s.keeper = newKeeper(s.store, s.metrics, s.event, s.log)
	s.boots, err = timeline.Open(filepath.Join(s.config.StateDir, "timeline"), s.keeper, time.Now, s.log)
	if err != nil {
		return fmt.Errorf("opening the boots in %s: %w", s.config.StateDir, err)
	}
	s.boots.OnProgress(s.progress)
	s.later(func() { s.boots.Close() })
	s.inbox = inbox.Open(filepath.Join(s.config.StateDir, "inbox.json"), s.log)
	s.tasks = append(s.tasks, task{"inbox", s.inbox.Serve})
	return nil
}

func (s *server) openLeases() (err error) {
	s.leases, err = ledger.OpenLeases(s.config.StateDir, s.store, ledger.SystemClock(), s.log)
	if err != nil {
		return fmt.Errorf("opening the leases in %s: %w", s.config.StateDir, err)
	}
	s.leases.OnCommit(func(took time.Duration, err error) { s.metrics.Stored("leases", took, err) })
	s.later(func() { s.leases.Close() })
	return nil
}

// openBook reads the assignments. Nothing is served before they hold.
func (s *server) openBook() (err error) {
	k := s.keeper
	k.recon = s.recon
	if k.book, err = assign.Open(context.Background(), assign.Config{Store: s.store, Elapsed: s.leases.Elapsed, Now: time.Now}); err != nil {
		return fmt.Errorf("reading the state in %s: %w", s.config.StateDir, err)
	}
	if _, err := k.book.Expire(context.Background()); err != nil {
		s.log.Error("ending orders whose time is over", "err", err)
	}
	s.recon.Reassign()
	s.tasks = append(s.tasks, task{"orders", k.run})
	return nil
}

func (s *server) newReconciler() error {
	trust := func() fact.Digest { return "" }
	if s.tls != nil {
		trust = s.tls.Trust
	}
	c := s.config.Source
	src, err := source.New(source.Options{
		Location: c.URL, Branch: c.Branch, Path: c.Path, Mirror: filepath.Join(s.config.StateDir, "mirror.git"),
		SSHKey: c.SSHKeyFile, KnownHosts: c.KnownHostsFile, User: c.Username, TokenFile: c.TokenFile, CAFile: c.CAFile, Now: time.Now,
	})
	if err != nil {
		return err
	}
	s.recon, err = reconcile.New(reconcile.Config{
		Source: src, Ledger: s.store, StateDir: s.config.StateDir, S3: s.s3, StoreRoots: s.config.StoreRoots, Trust: trust, Poll: c.Poll, Sync: reconcile.Sync(c.Sync), AllowRewind: c.AllowRewind,
		Vars: s.config.Vars, Limits: reconcile.Limits{Wall: s.config.Limits.EvalTime, Memory: s.config.Limits.EvalMemory}, Log: s.log, Now: time.Now,
		Secret:      func(name string) error { _, err := s.secrets.Read(name); return err },
		Assignments: s.keeper.assignments,
		Probe: func(_ fact.Revision, took time.Duration) {
			s.metrics.Converged(took)
			s.keeper.revision()
		},
	})
	if err != nil {
		return err
	}
	s.tasks = append(s.tasks, task{"reconciler", s.recon.Run})
	return nil
}

// bind opens every socket: DHCP, TFTP, boot HTTP, and the operator's.
func (s *server) bind() error {
	l := s.config.Listen
	base := s.base()
	before, after := chain(s.config.Plugins)
	d, err := dhcp.Listen(dhcp.Config{
		Before: before, After: after,
		Interfaces: s.config.Interfaces, Current: s.recon.Current, Leases: s.leases, Base: base, Event: s.event, Packet: s.packets.Add, Log: s.log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	s.dhcp = d
	s.later(d.Close)
	holders := holders{s.leases, d}
	t, err := tftp.Listen(tftp.Config{
		Addr: l.TFTP, SinglePort: l.TFTPSinglePort, Interfaces: s.config.Interfaces, Current: s.recon.Current, Older: s.recon.Older, Blobs: s.recon, Leases: holders, Boots: s.boots,
		Base: base, Signer: s.s3, Event: s.event, Packet: s.packets.Add, Log: s.log, Now: time.Now,
		MaxTransfers: s.config.Limits.TFTPTransfers, MaxPerClient: s.config.Limits.TFTPPerClient,
	})
	if err != nil {
		return err
	}
	s.tftp = t
	s.later(func() { t.Close() })
	h, err := httpd.Listen(httpd.Config{
		Addr: l.HTTP, Interfaces: s.config.Interfaces, Current: s.recon.Current, At: s.recon.At, Older: s.recon.Older, Blobs: s.recon,
		Leases: holders, Boots: s.boots, Secrets: s.secrets, Deliveries: deliveries{s.store}, Base: base, Signer: s.s3, Event: s.event, Packet: s.packets.Add, Log: s.log, Now: time.Now,
		Secure: l.HTTPS, TLS: s.tls, Seed: l.CloudInit, BSS: s.bss(),
		MaxConns: s.config.Limits.HTTPConnections, PerClient: s.config.Limits.HTTPPerClient, Drain: s.config.Limits.HTTPDrain,
	})
	if err != nil {
		return err
	}
	s.http = h
	s.later(func() { h.Close() })
	a, err := admin.Listen(s.config.Socket, s, s.log)
	if err != nil {
		return err
	}
	s.later(func() { a.Close() })
	s.tasks = append(s.tasks, task{"dhcp", d.Serve}, task{"tftp", t.Serve}, task{"boot http", h.Serve}, task{"admin", a.Serve})
	s.listens = append(s.listens, "dhcp udp 67", "admin "+s.config.Socket)
	if l.Metrics.IsValid() {
		m, err := admin.ListenMonitoring(l.Metrics, s, s.log)
		if err != nil {
			return err
		}
		s.later(func() { m.Close() })
		s.tasks = append(s.tasks, task{"monitoring", m.Serve})
		s.listens = append(s.listens, "metrics tcp "+m.Addr().String())
	}
	for _, addr := range t.Addrs() {
		s.listens = append(s.listens, "tftp udp "+addr.String())
	}
	for _, addr := range h.Addrs() {
		s.listens = append(s.listens, "http tcp "+addr.String())
	}
	s.tasks = append(s.tasks, task{"service manager", s.tellManager}, task{"garbage", spareCollector})
	return nil
}

// base says where machines reach the boot HTTP server.
func (s *server) base() late.Base {
	l := s.config.Listen
	base := late.Base{Advertised: s.config.Advertise, Port: l.HTTP.Port(), Prefix: l.PathPrefix}
	if s.config.TLS.Machines {
		base.SecurePort = l.HTTPS.Port()
	}
	return base
}

// tellManager is the task that keeps systemd informed.
func (s *server) tellManager(ctx context.Context) error {
	managerOf(os.Getenv).report(ctx, s.Checks, func(err error) { s.log.Warn("service manager", "err", err) })
	return nil
}

// chain gives the plugins that stand before and after ours.
func chain(all []serverconf.Plugin) (before, after []config.PluginConfig) {
	for _, p := range all {
		c := config.PluginConfig{Name: p.Name, Args: p.Args}
		if p.Place == "before" {
			before = append(before, c)
		} else {
			after = append(after, c)
		}
	}
	return before, after
}

// holders know whose an address is: the machine's that has a lease on it, or that was heard to get it from a site's own DHCP server.
type holders struct {
	leases *ledger.Leases
	dhcp   *dhcp.Server
}

// Holder implements tftp.Leases and httpd.Leases.
func (h holders) Holder(a netip.Addr) (fact.Lease, bool) {
	if l, ok := h.leases.Holder(a); ok {
		return l, true
	}
	return h.dhcp.Met(a)
}

// run serves until ctx ends or a part breaks, and then waits for all of them. State is closed last: nothing writes after it.
func (s *server) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, t := range s.tasks {
		g.Go(func() error {
			if err := t.serve(ctx); err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	for _, close := range []func() error{s.boots.Close, s.leases.Close, s.store.Close} {
		if cerr := close(); err == nil && cerr != nil {
			err = fmt.Errorf("closing the state: %v", cerr)
		}
	}
	return err
}

// addresses of this host on the interfaces, for the first log line.
func localAddresses(names []string) []string {
	var out []string
	for _, name := range names {
		i, err := net.InterfaceByName(name)
		if err != nil {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				out = append(out, name+"="+p.String())
			}
		}
	}
	return out
}
