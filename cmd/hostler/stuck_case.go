package main

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"hostler/reconcile/diagnosis"
	"hostler/reconcile/timeline"
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
	"hostler/spec"
)

// surroundings are what the server knows around every boot, put together once for many machines.
type surroundings struct {
	s        *server
	snapshot *render.Snapshot // nil: nothing is served
	dhcp     dhcp.State
	host     diagnosis.Host
	wires    map[string]diagnosis.Wire // by subnet
	proven   map[string]bool           // images with which a machine was ready
	images   map[string][]diagnosis.File
	objects  map[string]string // in S3, by their unsigned URLs
	stores   *storeCheck       // nil: stores are not asked
}

// surroundings looks around. With ask, stores that deliver files themselves are asked for them, a moment each.
func (s *server) surroundings(ask bool) *surroundings {
	snapshot, rev := s.recon.Current()
	a := &surroundings{s: s, snapshot: snapshot, dhcp: s.dhcp.State(), wires: map[string]diagnosis.Wire{}, images: map[string][]diagnosis.File{}, objects: map[string]string{}}
	a.host = diagnosis.Host{Revision: rev, LeaseError: a.dhcp.LeaseError}
	if ask {
		a.stores = newStoreCheck()
	}
	if snapshot == nil {
		for _, c := range s.recon.Status().Conditions {
			a.host.Problem = cmp.Or(a.host.Problem, c.Message)
		}
		return a
	}
	unserved := map[string]string{}
	for _, p := range notServed(snapshot.Fleet().Subnets) {
		unserved[p.Subnet] = p.Problem
	}
	for i := range snapshot.Fleet().Subnets {
		sn := &snapshot.Fleet().Subnets[i]
		a.wires[sn.Name] = a.wire(sn, unserved[sn.Name])
	}
	a.proven = s.proven.images(snapshot, time.Now())
	artifacts := s.recon.Artifacts()
	for i := range snapshot.Fleet().Images {
		m := &snapshot.Fleet().Images[i]
		a.images[m.Name] = a.imageFiles(m, artifacts)
	}
	return a
}

// imageFiles are the files that a boot of the image fetches.
func (a *surroundings) imageFiles(m *spec.Image, artifacts render.Artifacts) (files []diagnosis.File) {
	stages := map[string]fact.Stage{"kernel": fact.StageKernel, "initrd": fact.StageInitrd}
	for _, f := range m.Files {
		if stage, boots := stages[f.Role]; boots {
			x := artifacts[f.File.ID()]
			files = append(files, diagnosis.File{Stage: stage, Name: cmp.Or(a.unsigned(x.URL), f.Name), Size: x.Size, Foreign: x.URL != ""})
		}
	}
	return files
}

// unsigned is a store's URL of a file. For an object that is signed when somebody asks, it remembers which one that is.
func (a *surroundings) unsigned(address string) string {
	for _, p := range fact.Text(address).Parts() {
		if o, err := fact.ParseObject(p.Value); p.Kind == fact.LatePresign && err == nil {
			a.objects[o.URL()] = p.Value
			return o.URL()
		}
	}
	return address
}

// signed is the URL by which a machine gets a file now.
func (a *surroundings) signed(address string) string {
	if object, ok := a.objects[address]; ok {
		if signed, err := a.s.s3.Presign(object); err == nil {
			return signed
		}
	}
	return address
}

// wire says how a subnet is reached and served.
func (a *surroundings) wire(sn *spec.Subnet, unserved string) diagnosis.Wire {
	w := diagnosis.Wire{Subnet: sn.Name, Relays: sn.Relays, Unserved: unserved}
	var down []string
	for _, i := range a.dhcp.Interfaces {
		if !i.Listening || i.Problem != "" {
			down = append(down, interfaceText(i))
		}
		if !slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return sn.CIDR.Contains(p.Addr()) }) {
			continue
		}
		w.Interface, w.Broadcast = i.Name, i.Broadcasting
		if !i.Listening || i.Problem != "" {
			w.Problem = interfaceText(i)
		}
	}
	for _, r := range a.dhcp.Relays {
		if r.Subnet == sn.Name && r.Last.After(w.Relayed) {
			w.Relayed = r.Last
		}
	}
	if w.Problem == "" && w.Interface == "" && len(sn.Relays) == 0 && w.Relayed.IsZero() && len(down) > 0 {
		w.Problem = strings.Join(down, "; ")
	}
	w.Source = a.source(sn)
	w.Foreign = a.notice(render.ForeignServer, func(n *dhcp.Notice) bool { return a.at(n.MAC) == sn.Name })
	w.Conflict = a.notice(render.AddressConflict, func(n *dhcp.Notice) bool { return a.at(n.MAC) == sn.Name })
	return w
}

// at is the subnet that a declared machine boots on.
func (a *surroundings) at(mac fact.MAC) string {
	subnet, _, _, _ := a.snapshot.Belongs(mac)
	return subnet
}

// notice is the newest of a kind.
func (a *surroundings) notice(kind render.NoticeKind, about func(*dhcp.Notice) bool) diagnosis.Notice {
	for i := range a.dhcp.Notices { // the newest stands first
		if n := &a.dhcp.Notices[i]; n.Kind == kind && about(n) {
			return diagnosis.Notice{Subject: n.Subject, Detail: n.Detail, MAC: n.MAC, Last: n.Last}
		}
	}
	return diagnosis.Notice{}
}

// source says why replies leave with an address that no served interface has: the server's name in boot_servers is one of this host, of
// a loopback interface or of one that balances load.
func (a *surroundings) source(sn *spec.Subnet) string {
	for _, server := range sn.BootServers {
		for _, i := range a.dhcp.Interfaces {
			if slices.ContainsFunc(i.Addresses, func(p netip.Prefix) bool { return p.Addr() == server }) {
				return ""
			}
		}
	}
	if len(sn.BootServers) == 0 {
		return ""
	}
	return fmt.Sprintf("replies leave from one of %v, which no interface has that is served", sn.BootServers)
}

// caseOf is the case of a machine with its newest boot, which is nil when nothing was heard of it.
func (a *surroundings) caseOf(mac fact.MAC, boot *timeline.Boot) *diagnosis.Case {
	c := &diagnosis.Case{Boot: boot, Host: a.host}
	if a.snapshot == nil {
		return c
	}
	info, declared := a.snapshot.Node(mac.String())
	if !declared {
		return c
	}
	c.Wire = a.wires[info.Subnet]
	c.Node = diagnosis.Node{Name: info.Name, MAC: info.MAC, Held: info.Hold, Looped: info.Assignment != nil && info.Assignment.Hold.By == breaker, Image: info.Image, Proven: a.proven[info.Image], Files: a.images[info.Image]}
	if lease, ok := a.s.leases.Held(mac, info.Subnet); ok {
		c.Node.Addr = lease.Addr
		if lease.State == fact.Expired {
			c.Node.Expired = lease.Expires
		}
	}
	for _, f := range c.Node.Files {
		if f.Foreign && a.stores != nil && boot != nil && boot.Stage >= fact.StageScript && boot.Outcome == timeline.Stuck {
			down, missing := a.stores.ask(f.Name, a.signed)
			c.Node.StoreDown, c.Node.Missing = cmp.Or(c.Node.StoreDown, down), cmp.Or(c.Node.Missing, missing)
		}
	}
	c.Other = a.other(mac, info.Name)
	return c
}

// other is the newest boot by another card of the same node.
func (a *surroundings) other(mac fact.MAC, node fact.NodeName) (newest *timeline.Boot) {
	for _, m := range a.snapshot.Cards(node) {
		if m == mac {
			continue
		}
		if b, ok := a.s.boots.Newest(m); ok && (newest == nil || b.Last.After(newest.Last)) {
			newest = &b
		}
	}
	return newest
}

// stuckMachine is a machine that does not boot, or one whose diagnosis was asked for; without a MAC, all of a subnet.
type stuckMachine struct {
	Node      fact.NodeName        `json:"node,omitempty"`
	MAC       fact.MAC             `json:"mac,omitzero"`
	Subnet    string               `json:"subnet,omitempty"`
	Boot      *timeline.Boot       `json:"boot,omitempty"` // without its events
	Diagnosis *diagnosis.Diagnosis `json:"diagnosis,omitempty"`
}

// diagnose looks at one machine.
func (a *surroundings) diagnose(mac fact.MAC, boot *timeline.Boot) stuckMachine {
	c := a.caseOf(mac, boot)
	m := stuckMachine{Node: c.Node.Name, MAC: mac, Subnet: c.Wire.Subnet, Boot: boot}
	if d, ok := diagnosis.Diagnose(c); ok {
		m.Diagnosis = &d
	}
	return m
}

// stuck gives the declared machines that are stuck, by their names, and then the subnets of which nothing is heard at all. Who is meant to
// wait is not among them.
func (a *surroundings) stuck(f admin.Filter) []stuckMachine {
	all := []stuckMachine{}
	boots := a.s.boots.Latest(func(mac fact.MAC, _ fact.Stage, o timeline.Outcome) bool {
		if a.snapshot == nil || o != timeline.Stuck && (o != timeline.Booting || f.After == 0) {
			return false
		}
		at, _, _, declared := a.snapshot.Belongs(mac)
		return declared && (f.Subnet == "" || f.Subnet == at)
	})
	for i := range boots {
		if a.judge(&boots[i], f.After); boots[i].Outcome != timeline.Stuck {
			continue
		}
		if m := a.diagnose(boots[i].MAC, &boots[i]); m.Diagnosis != nil && !m.Diagnosis.Meant {
			all = append(all, m)
		}
	}
	return append(all, a.deaf(f.Subnet)...)
}

// judge puts the outcome of a boot right: by what the spec says of the machine, and by the patience of whoever asks.
func (a *surroundings) judge(b *timeline.Boot, after time.Duration) {
	if silent := time.Since(b.Last); after > 0 && (b.Outcome == timeline.Booting || b.Outcome == timeline.Played) && silent >= after {
		b.Outcome, b.Since = timeline.Stuck, b.Last
	}
	b.Outcome = outcome(a.snapshot, b.MAC, b.Outcome)
}

// deaf are the subnets from which nothing can come, or nothing ever came although machines are declared there.
func (a *surroundings) deaf(only string) (silent []stuckMachine) {
	if a.snapshot == nil {
		return nil
	}
	heard := map[string]bool{}
	a.s.boots.Each(func(mac fact.MAC, _ fact.Stage, _ timeline.Outcome) { heard[a.at(mac)] = true })
	counts := a.snapshot.Counts()
	for i := range a.snapshot.Fleet().Subnets {
		sn := &a.snapshot.Fleet().Subnets[i]
		w := a.wires[sn.Name]
		if counts[sn.Name] == 0 || sn.DHCP == "off" || only != "" && only != sn.Name || heard[sn.Name] && w.Problem == "" && w.Unserved == "" {
			continue
		}
		d, ok := diagnosis.Diagnose(&diagnosis.Case{Host: a.host, Wire: w})
		if ok && d.Broken {
			silent = append(silent, stuckMachine{Subnet: sn.Name, Diagnosis: &d})
		}
	}
	return silent
}

// Stuck implements admin.Backend.
func (s *server) Stuck(ctx context.Context, f admin.Filter) (any, error) {
	a := s.surroundings(true)
	if f.Machine == "" {
		return a.stuck(f), nil
	}
	mac, err := s.machine(f.Machine)
	if err != nil {
		return nil, err
	}
	boot, seen := s.boots.Newest(mac)
	if !seen {
		return []stuckMachine{a.diagnose(mac, nil)}, nil
	}
	a.judge(&boot, f.After)
	c := a.caseOf(mac, &boot)
	if boot.Outcome == timeline.Ready && c.Node.Addr.IsValid() && c.Node.Expired.IsZero() {
		c.Node.Silent = !answersPing(ctx, c.Node.Addr)
	}
	m := stuckMachine{Node: c.Node.Name, MAC: mac, Subnet: c.Wire.Subnet, Boot: &boot}
	if d, ok := diagnosis.Diagnose(c); ok {
		m.Diagnosis = &d
	}
	return []stuckMachine{m}, nil
}

// Play implements admin.Backend.
func (s *server) Play(machine string) error {
	mac, err := s.machine(machine)
	if err != nil {
		return err
	}
	node := fact.NodeName("")
	if snapshot, _ := s.recon.Current(); snapshot != nil {
		n, _ := snapshot.Node(mac.String())
		node = n.Name
	}
	s.boots.Play(mac, node)
	return nil
}
