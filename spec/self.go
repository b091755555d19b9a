package spec

import (
	"net/netip"

	"github.com/zclconf/go-cty/cty"
)

// self is what expressions see of the node that they are evaluated for.
func (p *parser) self(n *nodeSource) cty.Value {
	text := func(s string) cty.Value {
		if s == "" {
			return cty.NullVal(cty.String)
		}
		return cty.StringVal(s)
	}
	addr := func(a netip.Addr) cty.Value {
		if !a.IsValid() {
			return cty.NullVal(cty.String)
		}
		return cty.StringVal(a.String())
	}
	nics := map[string]cty.Value{}
	for _, i := range n.Interfaces {
		nics[i.Name] = cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(i.Name), "mac": cty.StringVal(i.MAC.String()), "address": addr(i.Addr),
			"hostname": text(i.Hostname), "subnet": p.subnetRef(i.Subnet)})
	}
	boot := n.Interfaces[0]
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(string(n.Name)), "address": addr(boot.Addr), "mac": cty.StringVal(boot.MAC.String()), "hostname": text(boot.Hostname),
		"ids": labelObject(n.IDs), "labels": labelObject(n.Labels), "subnet": p.subnetRef(boot.Subnet), "interface": cty.ObjectVal(nics),
	})
}

func labelObject(ls []Label) cty.Value {
	vals := make(map[string]cty.Value, len(ls))
	for _, l := range ls {
		vals[l.Name] = cty.StringVal(l.Value)
	}
	return cty.ObjectVal(vals)
}

func (p *parser) subnetRef(name string) cty.Value {
	if i, ok := p.subnetByName[name]; ok {
		in := p.subnetList[i].in
		if in.seen == cty.NilVal {
			in.seen = in.object()
		}
		return in.seen
	}
	return cty.DynamicVal
}
