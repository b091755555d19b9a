package spec

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
)

// checkIdentities refuses two machines with one name, MAC, address, UUID or id.
func (p *parser) checkIdentities() {
	if p.unchanged() {
		return
	}
	names := map[fact.NodeName]*nodeSource{}
	macs := map[fact.MAC]owner{}
	addrs := map[netip.Addr]owner{}
	uuids := map[string]*nodeSource{}
	ids := map[Label]*nodeSource{}
	for _, n := range p.nodeList {
		if first := names[n.Name]; first != nil {
			p.twice(n, "name", "duplicate-name", "Duplicate name", fmt.Sprintf("%s and %s are both named %q.", first.Address, n.Address, n.Name), first.at("name"))
		} else {
			names[n.Name] = n
		}
		for _, nic := range n.Interfaces {
			p.checkNIC(n, nic, macs, addrs)
		}
		if first := uuids[n.UUID]; n.UUID != "" && first != nil {
			p.twice(n, "uuid", "duplicate-uuid", "Duplicate UUID", fmt.Sprintf("%s and %s have the same UUID %s.", first.Address, n.Address, n.UUID), first.at("uuid"))
		}
		uuids[n.UUID] = n
		for _, id := range n.IDs {
			if first := ids[id]; first != nil {
				p.twice(n, "ids", "duplicate-id", "Duplicate id", fmt.Sprintf("%s and %s have the same id %s = %q.", first.Address, n.Address, id.Name, id.Value), first.at("ids"))
			}
			ids[id] = n
		}
	}
	p.checkXnames(names)
}

// checkXnames refuses an xname that is another node's name: whoever asks for a boot script by it would get that one's.
func (p *parser) checkXnames(names map[fact.NodeName]*nodeSource) {
	for _, n := range p.nodeList {
		for _, id := range n.IDs {
			if other := names[fact.NodeName(id.Value)]; id.Name == "xname" && other != nil && other != n {
				p.twice(n, "ids", "xname-is-a-name", "Xname is another node's name", fmt.Sprintf("%s has the xname %q, and %s has that name. A boot script is asked for by either.", n.Address, id.Value, other.Address), other.at("name"))
			}
		}
	}
}

// owner is an interface of a node.
type owner struct {
	node *nodeSource
	nic  string
}

func (o owner) String() string {
	if len(o.node.Interfaces) > 1 {
		return fmt.Sprintf("interface %q of %s", o.nic, o.node.Address)
	}
	return o.node.Address
}

func (p *parser) checkNIC(n *nodeSource, nic Interface, macs map[fact.MAC]owner, addrs map[netip.Addr]owner) {
	me := owner{n, nic.Name}
	if first, ok := macs[nic.MAC]; ok {
		p.rep.err("duplicate-mac", n.nicSpot(nic.Name, "mac"), "Duplicate MAC", fmt.Sprintf("%s and %s have the same MAC %s. A MAC belongs to one machine.", first, me, nic.MAC),
			related("The other is here.", first.node.nicSpot(first.nic, "mac")))
	} else {
		macs[nic.MAC] = me
	}
	if !nic.Addr.IsValid() {
		return
	}
	if first, ok := addrs[nic.Addr]; ok {
		p.rep.err("duplicate-address", n.nicSpot(nic.Name, "address"), "Duplicate address", fmt.Sprintf("%s and %s have the same address %s.", first, me, nic.Addr),
			related("The other is here.", first.node.nicSpot(first.nic, "address")))
	} else {
		addrs[nic.Addr] = me
	}
}

func (p *parser) twice(n *nodeSource, attr, code, summary, detail string, first spot) {
	p.rep.err(code, n.at(attr), summary, detail, related("The other is here.", first))
}

// checkProfile refuses settings that cannot work together, wherever they came from.
func (p *parser) checkProfile(pr *profile) {
	at := func(path string) spot {
		for _, t := range pr.Trace {
			if t.Path == path {
				pl := t.Steps[len(t.Steps)-1].Place
				return placeSpot(pl)
			}
		}
		return spot{}
	}
	p.checkSettings(&pr.Settings, pr.Image, at)
	if r := pr.Settings.Retry; r.Fallback != "" && r.Attempts <= 0 {
		p.rep.warn("fallback-unused", at("retry.fallback"), "Fallback is never used", fmt.Sprintf("The image is tried for ever before image.%s. Set attempts, too.", r.Fallback))
	}
	codes := map[uint8]string{}
	for _, o := range pr.Settings.Options {
		if other, ok := codes[o.Code]; ok {
			p.rep.err("duplicate-option", placeSpot(o.Place), "Duplicate option", fmt.Sprintf("Options %q and %q both set option %d.", other, o.Name, o.Code))
		}
		codes[o.Code] = o.Name
	}
}

// checkOwn is checkProfile for what a node has of its own.
func (p *parser) checkOwn(n *nodeSource) {
	s := *n.Own
	if own := s.Lease; own != (Lease{}) {
		s.Lease = own.over(n.profile.Settings.Lease)
	}
	p.checkSettings(&s, n.profile.Image, func(string) spot { return n.spot(n.body.at) })
}

func (p *parser) checkSettings(s *Settings, image string, at func(path string) spot) {
	for _, a := range s.KernelArgs {
		for _, v := range a.Values {
			p.checkLate(v, image, placeSpot(a.Place), "kernel argument "+a.Key)
			if names := v.Secrets(); len(names) > 0 {
				p.rep.err("secret-on-command-line", placeSpot(a.Place), "Secret on the command line",
					fmt.Sprintf("The kernel argument %s holds secret(%q). A command line stands in the boot script, which anybody may fetch, and in /proc/cmdline. Put the secret into a template, and the template's address on the command line with self_url(\"NAME\").", a.Key, names[0]))
			}
		}
	}
	for _, v := range s.Vars {
		p.checkLate(fact.Text(strings.ReplaceAll(v.JSON, `\u0000`, "\x00")), image, placeSpot(v.Place), "variable "+v.Name)
	}
	p.checkLease(s.Lease, at)
}

func (p *parser) checkLease(l Lease, at func(path string) spot) {
	if l.Max != 0 && l.Default > l.Max {
		p.rep.err("lease-times", at("lease.default"), "Lease times contradict", fmt.Sprintf("The default lease time %s is longer than the longest, %s.", durationText(l.Default), durationText(l.Max)))
	} else if l.Min > l.Default && l.Default != 0 {
		p.rep.err("lease-times", at("lease.min"), "Lease times contradict", fmt.Sprintf("The shortest lease time %s is longer than the default, %s.", durationText(l.Min), durationText(l.Default)))
	}
}

// checkLate refuses url() of a file that the image does not have, and self_url() of a template that nobody declared.
func (p *parser) checkLate(t fact.Text, image string, at spot, what string) {
	for _, part := range t.Parts() {
		switch part.Kind {
		case fact.LateConfig:
			if p.units["template"][part.Value] == nil {
				p.rep.err("unknown-template", at, "Unknown template", fmt.Sprintf("%s uses self_url(%q), but there is no template.%s.%s", what, part.Value, part.Value, didYouMean(part.Value, sortedKeys(p.units["template"]))))
			}
		case fact.LateURL, fact.LateS3URI, fact.LateETag:
			p.checkRole(part, image, at, what)
		}
	}
}

// checkRole makes sure that the image has the file, and for s3uri and etag, that the file is in S3.
func (p *parser) checkRole(part fact.Part, image string, at spot, what string) {
	role := part.Value
	if image == "" {
		return // a machine that boots nothing asks for no URL
	}
	i := slices.IndexFunc(p.fleet.Images, func(x Image) bool { return x.Name == image })
	if i < 0 {
		return
	}
	var roles []string
	for _, f := range p.fleet.Images[i].Files {
		if f.Role == role {
			if st := p.fleet.Store(f.File.Store); part.Kind != fact.LateURL && (st == nil || st.S3 == nil) {
				p.rep.err("not-in-s3", at, "File is not in S3", fmt.Sprintf("%s uses %s(%q), but that file of image.%s is not in a store of kind s3.", what, part.Kind, role, image))
			}
			return
		}
		roles = append(roles, f.Role)
	}
	p.rep.err("unknown-file-role", at, "Unknown file role", fmt.Sprintf("%s uses %s(%q), but image.%s has no file of that role.%s", what, part.Kind, role, image, didYouMean(role, roles)))
}
