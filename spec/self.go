package spec

import (
	"net/netip"

	"github.com/zclconf/go-cty/cty"
)

// subject is the node that self stands for.
type subject struct {
	p   *parser
	n   *nodeSource // nil: every node at once
	val cty.Value   // once it was asked for: few expressions need more of it than the name
}

func (x *subject) value() cty.Value {
	switch {
	case x.n == nil:
		return cty.DynamicVal
	case x.val == cty.NilVal:
		x.val = x.p.self(x.n)
	}
	return x.val
}

// text gives an attribute that is a string.
func (x *subject) text(name string) (cty.Value, bool) {
	if x.n == nil {
		return cty.NilVal, false
	}
	switch boot := &x.n.Interfaces[0]; name {
	case "name":
		return cty.StringVal(string(x.n.Name)), true
	case "address":
		return addrValue(boot.Addr), true
	case "mac":
		return cty.StringVal(boot.MAC.String()), true
	case "hostname":
		return textValue(boot.Hostname), true
	}
	return cty.NilVal, false
}

func textValue(s string) cty.Value {
	if s == "" {
		return cty.NullVal(cty.String)
	}
	return cty.StringVal(s)
}

func addrValue(a netip.Addr) cty.Value {
	if !a.IsValid() {
		return cty.NullVal(cty.String)
	}
	return cty.StringVal(a.String())
}

// self is what expressions see of the node that they are evaluated for.
func (p *parser) self(n *nodeSource) cty.Value {
	nics := map[string]cty.Value{}
	for _, i := range n.Interfaces {
		nics[i.Name] = cty.ObjectVal(map[string]cty.Value{"name": cty.StringVal(i.Name), "mac": cty.StringVal(i.MAC.String()), "address": addrValue(i.Addr),
			"hostname": textValue(i.Hostname), "subnet": p.subnetRef(i.Subnet)})
	}
	boot := n.Interfaces[0]
	return cty.ObjectVal(map[string]cty.Value{
		"name": cty.StringVal(string(n.Name)), "address": addrValue(boot.Addr), "mac": cty.StringVal(boot.MAC.String()), "hostname": textValue(boot.Hostname),
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
