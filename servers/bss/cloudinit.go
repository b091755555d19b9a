package bss

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// EmptyConfig is a cloud-config that says nothing: cloud-init needs one.
const EmptyConfig = "#cloud-config\n{}\n"

// MetaData is what cloud-init knows as a node's meta-data.
func (v *View) MetaData(n *spec.Node) map[string]any {
	ids, labels := map[string]any{}, map[string]any{}
	for _, l := range n.IDs {
		ids[l.Name] = l.Value
	}
	for _, l := range n.Labels {
		labels[l.Name] = l.Value
	}
	groups := []any{}
	for _, g := range v.Snapshot.Fleet().Profiles[n.Profile].Groups {
		groups = append(groups, g)
	}
	return map[string]any{
		"instance-id": v.instanceID(n), "local-hostname": v.Snapshot.Hostname(n), "name": string(n.Name),
		"shasta-role": v.role(n), "ids": ids, "labels": labels, "groups": groups, "Global": map[string]any{},
	}
}

// instanceID is what cloud-init calls a machine between two installations: it changes with the machine (its name or the MAC of its
// boot interface), when it is told to be installed, and when it was.
func (v *View) instanceID(n *spec.Node) string {
	return instance(string(n.Name), n.Interfaces[0].MAC, v.Snapshot.Installation(n))
}

func instance(name string, mac fact.MAC, installation string) string {
	sum := sha256.Sum256([]byte(name + "\n" + mac.String() + "\n" + installation))
	return name + "-" + hex.EncodeToString(sum[:6])
}

// StrangerData is the meta-data of a machine that nobody declared.
func StrangerData(mac fact.MAC) map[string]any {
	name := "unknown-" + strings.ReplaceAll(mac.String(), ":", "")
	return map[string]any{"instance-id": instance(name, mac, ""), "local-hostname": name, "Global": map[string]any{}}
}

// Lookup gives the part of meta-data that a key with dots names.
func Lookup(data map[string]any, key string) (any, bool) {
	var v any = data
	for part := range strings.SplitSeq(key, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[part]; !ok {
			return nil, false
		}
	}
	return v, true
}

// VendorData has a machine report when it is done, if it can prove which boot it is.
func VendorData(phoneHome string) string {
	if phoneHome == "" {
		return EmptyConfig
	}
	url, _ := json.Marshal(phoneHome)
	return "#cloud-config\nphone_home:\n  url: " + string(url) + "\n  post: [instance_id, hostname, fqdn]\n  tries: 10\n"
}

// ethernet is a network interface in version 2 of cloud-init's network configuration.
type ethernet struct {
	Match     map[string]string   `json:"match"`
	DHCP4     bool                `json:"dhcp4"`
	Addresses []netip.Prefix      `json:"addresses,omitempty"`
	Routes    []map[string]string `json:"routes,omitempty"`
	Resolvers *resolvers          `json:"nameservers,omitempty"`
}

type resolvers struct {
	Addresses []netip.Addr `json:"addresses,omitempty"`
	Search    []string     `json:"search,omitempty"`
}

// NetworkConfig configures the interfaces that the node declares: by DHCP, and with their declared address where their subnet has none.
// JSON is YAML, too.
func (v *View) NetworkConfig(n *spec.Node) ([]byte, error) {
	nics := map[string]ethernet{}
	for i := range n.Interfaces {
		x := &n.Interfaces[i]
		if x.MAC.IsZero() {
			continue
		}
		e := ethernet{Match: map[string]string{"macaddress": x.MAC.String()}, DHCP4: true}
		if sn := v.subnet(x.Subnet); sn != nil && sn.DHCP == "off" && x.Addr.IsValid() {
			v.fixed(&e, n, sn, x.Addr, i == 0)
		}
		nics[fmt.Sprintf("id%d", i)] = e
	}
	return json.MarshalIndent(map[string]any{"version": 2, "ethernets": nics}, "", "  ")
}

func (v *View) fixed(e *ethernet, n *spec.Node, sn *spec.Subnet, a netip.Addr, boots bool) {
	e.DHCP4, e.Addresses = false, []netip.Prefix{netip.PrefixFrom(a, sn.CIDR.Bits())}
	if !boots {
		return
	}
	if sn.Gateway.IsValid() {
		e.Routes = []map[string]string{{"to": "0.0.0.0/0", "via": sn.Gateway.String()}}
	}
	if s := v.Snapshot.Fleet().Effective(n); len(s.DNS) > 0 {
		e.Resolvers = &resolvers{Addresses: s.DNS}
		if s.Domain != "" {
			e.Resolvers.Search = []string{s.Domain}
		}
	}
}

func (v *View) subnet(name string) *spec.Subnet {
	list := v.Snapshot.Fleet().Subnets
	if i := slices.IndexFunc(list, func(s spec.Subnet) bool { return s.Name == name }); i >= 0 {
		return &list[i]
	}
	return nil
}
