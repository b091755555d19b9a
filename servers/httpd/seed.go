package httpd

import (
	"net/http"
	"net/url"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/bss"
	"hostler/servers/late"
)

// seedRoutes are the addresses that cloud-init looks for below the one that it is given on the kernel command line
// (ds=nocloud;s=URL/): those of a Boot Script Service, where a machine is recognised by its address; and the same with the proof of
// a boot in the path, below which there is also what only that machine may have.
func seedRoutes() []route {
	list := []route{{path: "/cloud-init/", methods: reading, seed: true, serve: (*exchange).provenSeed}}
	for _, name := range []string{"meta-data", "user-data", "vendor-data", "network-config"} {
		list = append(list, route{path: "/" + name, methods: reading, seed: true, serve: func(x *exchange, _ string) { x.seed(name) }})
	}
	return list
}

// seedPart gives what a seed has under a name; nil: nothing.
func seedPart(name string) func(*exchange, *seed) {
	switch name {
	case "meta-data":
		return (*exchange).metaData
	case "user-data":
		return (*exchange).userData
	case "vendor-data":
		return (*exchange).vendorData
	case "network-config":
		return (*exchange).networkConfig
	}
	return nil
}

// seed is the machine that cloud-init runs on.
type seed struct {
	view   *bss.View
	node   fact.NodeName // empty: nobody declared it
	mac    fact.MAC
	values late.Values // with the boot, if that was proven
}

// seed answers a machine that is known by its address: nothing that is secret, for an address proves little.
func (x *exchange) seed(name string) {
	x.event.Stage, x.event.File = fact.StageConfig, name
	view := x.view()
	switch {
	case view.Snapshot == nil:
		x.refuse(http.StatusServiceUnavailable, "the server has no configuration yet", "no revision is in force yet")
	case !x.known:
		x.refuse(http.StatusNotFound, "no machine is known at this address", "no machine is known at this address")
	default:
		seedPart(name)(x, &seed{view: view, node: x.event.Node, mac: x.event.MAC, values: x.values})
	}
}

// provenSeed answers boot=BOOTID.TOKEN/NAME from the revision that the boot is pinned to.
func (x *exchange) provenSeed(rest string) {
	sent, name, _ := strings.Cut(rest, "/")
	x.event.Stage, x.event.File = fact.StageConfig, shown(name)
	serve := seedPart(name)
	if serve == nil {
		x.refuse(http.StatusNotFound, "there is nothing here", "no such path")
		return
	}
	view := x.view()
	sent, ok := strings.CutPrefix(sent, "boot=") // by which the proof is found where it is to be masked
	boot, token, proof := parseBoot(sent)
	snap, node, ok := x.proven(boot, token, ok && proof)
	if !ok {
		return
	}
	view.Snapshot = snap
	s := &seed{view: view, node: node, mac: x.event.MAC, values: x.values}
	s.values.Boot, s.values.Token = boot, token
	serve(x, s)
}

// proven finds the node and the snapshot of a boot, or refuses.
func (x *exchange) proven(boot fact.BootID, token fact.Token, ok bool) (*render.Snapshot, fact.NodeName, bool) {
	var node fact.NodeName
	var rev fact.Revision
	if ok {
		node, rev, ok = x.Boots.Check(boot, token, x.peer)
	}
	if !ok {
		x.refuse(http.StatusForbidden, "this boot is not known, or not from here", "no running boot has this token and address")
		return nil, "", false
	}
	x.event.Boot, x.event.Node, x.event.Revision = boot, node, rev
	snap, ok := x.snapshot(rev)
	if !ok {
		x.refuse(http.StatusGone, "the configuration of this boot is no longer held: boot again", "the boot's revision is no longer held")
		return nil, "", false
	}
	return snap, node, true
}

func (x *exchange) metaData(s *seed) {
	data := bss.StrangerData(s.mac)
	if n, ok := s.view.Snapshot.Whose(render.Query{Name: string(s.node)}); ok {
		data = s.view.MetaData(n)
	}
	q, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil || !q.Has("key") {
		x.json(http.StatusOK, jsonType, data)
		return
	}
	part, ok := bss.Lookup(data, q.Get("key"))
	if !ok {
		x.problem(bss.Refuse(http.StatusNotFound, "Not Found"))
		return
	}
	x.json(http.StatusOK, jsonType, part)
}

// userData is the configuration of the node.
func (x *exchange) userData(s *seed) {
	name := s.view.Snapshot.ConfigPart(s.node, "user-data")
	if name == "" {
		x.send(yamlType, []byte(bss.EmptyConfig))
		return
	}
	x.template(s.view.Snapshot, s.node, name, s.values)
}

// vendorData is what the spec says, or has a machine that can prove its boot report when it is done.
func (x *exchange) vendorData(s *seed) {
	if name := s.view.Snapshot.ConfigPart(s.node, "vendor-data"); name != "" {
		x.template(s.view.Snapshot, s.node, name, s.values)
		return
	}
	home := ""
	if s.values.Boot != "" {
		home = s.values.Base + "/phone-home?boot=" + string(s.values.Boot) + "." + string(s.values.Token)
	}
	x.send(yamlType, []byte(bss.VendorData(home)))
}

// networkConfig is what the spec says, or what follows from the node's interfaces.
func (x *exchange) networkConfig(s *seed) {
	if name := s.view.Snapshot.ConfigPart(s.node, "network-config"); name != "" {
		x.template(s.view.Snapshot, s.node, name, s.values)
		return
	}
	n, ok := s.view.Snapshot.Whose(render.Query{Name: string(s.node)})
	if !ok {
		x.refuse(http.StatusNotFound, "there is no network configuration", "nobody declared the machine")
		return
	}
	body, err := s.view.NetworkConfig(n)
	if err != nil {
		panic(err) // our own types
	}
	x.send(yamlType, append(body, '\n'))
}
