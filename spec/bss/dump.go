// Package bss reads what a Boot Script Service and its inventory hold, knows which script it would send to a node, writes a spec that
// boots the nodes alike, and compares scripts. It refuses to know how hostler renders: its caller asks for the scripts.
package bss

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hostler/render/fact"
)

// Record is boot parameters: of hosts, or of a kernel or an initrd wherever that is used (no hosts, MACs or NIDs).
type Record struct {
	Hosts     []string        `json:"hosts"`
	MACs      []string        `json:"macs"`
	NIDs      []json.Number   `json:"nids"`
	Params    string          `json:"params"`
	Kernel    string          `json:"kernel"`
	Initrd    string          `json:"initrd"`
	CloudInit json.RawMessage `json:"cloud-init"`
}

// Component is a node of the inventory.
type Component struct {
	ID              string      `json:"ID"`
	Type            string      `json:"Type"`
	State           string      `json:"State"`
	Role            string      `json:"Role"`
	SubRole         string      `json:"SubRole"`
	NID             json.Number `json:"NID"`
	Arch            string      `json:"Arch"`
	FQDN            string      `json:"FQDN"`
	MAC             []string    `json:"MAC"`
	EndpointEnabled *bool       `json:"EndpointEnabled"`

	addr netip.Addr
	macs []fact.MAC
}

// Interface is an Ethernet interface of the inventory. Versions differ in how they name its addresses.
type Interface struct {
	MACAddress  string `json:"MACAddress"`
	ComponentID string `json:"ComponentID"`
	IPAddress   string `json:"IPAddress"`
	IPAddresses []struct {
		IPAddress string `json:"IPAddress"`
	} `json:"IPAddresses"`
}

// Dump is everything that is known of a cluster.
type Dump struct {
	Components []Component
	Records    []Record
	Notes      []string // what was left out, and why

	images map[string]string // parameters of a kernel or an initrd: "kernel PATH"
	byName map[string]*Record
}

// MaxSize is the largest file that is read, in bytes.
const MaxSize = 256 << 20

// dumped is /boot/v1/dumpstate, an SMD answer, or both.
type dumped struct {
	Components []Component
	Params     []Record
	Interfaces []Interface `json:"EthernetInterfaces"`
}

// Read reads a dump of the service (/boot/v1/dumpstate, or the list that /boot/v1/bootparameters gives) and of inventories (the answers of
// /State/Components and /Inventory/EthernetInterfaces, each by itself or both in one object).
func Read(dump []byte, inventories ...[]byte) (*Dump, error) {
	d := &Dump{images: map[string]string{}, byName: map[string]*Record{}}
	var main dumped
	err := decode(dump, &main, &main.Params)
	if err != nil {
		return nil, fmt.Errorf("the dump: %w", err)
	}
	d.Components, d.Records = main.Components, main.Params
	interfaces := main.Interfaces
	for _, text := range inventories {
		var inv dumped
		var both []struct {
			Component
			Interface
		}
		if err := decode(text, &inv, &both); err != nil {
			return nil, fmt.Errorf("the inventory: %w", err)
		}
		for _, x := range both {
			if x.MACAddress != "" {
				inv.Interfaces = append(inv.Interfaces, x.Interface)
			} else {
				inv.Components = append(inv.Components, x.Component)
			}
		}
		d.merge(inv.Components)
		interfaces = append(interfaces, inv.Interfaces...)
	}
	if len(d.Records) == 0 {
		return nil, errors.New("the dump: there are no boot parameters in it")
	}
	d.connect(interfaces)
	d.index()
	return d, d.check()
}

// decode reads an object, or a bare list.
func decode(text []byte, object, list any) error {
	switch text := bytes.TrimSpace(text); {
	case len(text) > MaxSize:
		return fmt.Errorf("it is larger than %d MiB", MaxSize>>20)
	case len(text) > 0 && text[0] == '[':
		return json.Unmarshal(text, list)
	default:
		return json.Unmarshal(text, object)
	}
}

// merge takes over components; of one that is known, what is not.
func (d *Dump) merge(more []Component) {
	at := map[string]int{}
	for i := range d.Components {
		at[d.Components[i].ID] = i
	}
	for _, c := range more {
		i, known := at[c.ID]
		if !known {
			at[c.ID] = len(d.Components)
			d.Components = append(d.Components, c)
			continue
		}
		old := &d.Components[i]
		old.Role, old.SubRole, old.Arch = cmp.Or(old.Role, c.Role), cmp.Or(old.SubRole, c.SubRole), cmp.Or(old.Arch, c.Arch)
		old.NID, old.MAC = cmp.Or(old.NID, c.NID), append(old.MAC, c.MAC...)
	}
}

// connect gives the components their MACs and addresses, and keeps the nodes that could boot.
func (d *Dump) connect(interfaces []Interface) {
	at := map[string]*Component{}
	for i := range d.Components {
		at[d.Components[i].ID] = &d.Components[i]
	}
	for _, x := range interfaces {
		c := at[x.ComponentID]
		if c == nil {
			continue
		}
		c.MAC = append(c.MAC, x.MACAddress)
		texts := []string{x.IPAddress}
		for _, ip := range x.IPAddresses {
			texts = append(texts, ip.IPAddress)
		}
		for _, text := range texts {
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !c.addr.IsValid() {
				c.addr = a
			}
		}
	}
	nodes := d.Components[:0]
	taken := map[fact.MAC]string{}
	for _, c := range d.Components {
		if c.ID == "" || c.Type != "" && c.Type != "Node" || strings.EqualFold(c.State, "empty") {
			continue
		}
		d.addresses(&c, taken)
		nodes = append(nodes, c)
	}
	d.Components = nodes
}

// addresses reads a component's MACs. Of two components with one MAC the service answers the first.
func (d *Dump) addresses(c *Component, taken map[fact.MAC]string) {
	for _, text := range c.MAC {
		m, err := fact.ParseMAC(text)
		if err != nil || m.IsZero() || m[0]&1 != 0 || slices.Contains(c.macs, m) { // "not available", ff:ff:ff:ff:ff:ff
			continue
		}
		if first, double := taken[m]; double {
			d.note("%s has the MAC %s, which is %s's, too: it is left to that one", c.ID, m, first)
			continue
		}
		taken[m] = c.ID
		c.macs = append(c.macs, m)
	}
}

func (d *Dump) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// index keeps records by the names that they are stored under. A later record of a name replaces an earlier one.
func (d *Dump) index() {
	byMAC, byNID := map[fact.MAC]string{}, map[string]string{}
	for i := range d.Components {
		c := &d.Components[i]
		for _, m := range c.macs {
			byMAC[m] = c.ID
		}
		if c.NID != "" {
			byNID[c.NID.String()] = c.ID
		}
	}
	cloud := 0
	for i := range d.Records {
		r := &d.Records[i]
		if len(r.CloudInit) > 2 && string(r.CloudInit) != "null" {
			cloud++
		}
		switch {
		case len(r.Hosts)+len(r.MACs)+len(r.NIDs) > 0:
		case r.Kernel != "":
			d.images["kernel "+r.Kernel] = r.Params
		case r.Initrd != "":
			d.images["initrd "+r.Initrd] = r.Params
		}
		for _, h := range r.Hosts {
			d.byName[h] = r
		}
		for _, text := range r.MACs { // the service stores them under the component's name, if it knows one
			m, err := fact.ParseMAC(text)
			if id := byMAC[m]; err == nil && id != "" {
				d.byName[id] = r
			} else {
				d.note("the boot parameters of the MAC %s are left out: the inventory has no node with it", text)
			}
		}
		for _, n := range r.NIDs {
			if id := byNID[n.String()]; id != "" {
				d.byName[id] = r
			} else {
				d.byName["nid"+n.String()] = r
			}
		}
	}
	if cloud > 0 {
		d.note("cloud-init data of %d records is left out: write it as templates", cloud)
	}
}

// check refuses what cannot become names and arguments.
func (d *Dump) check() error {
	seen := map[string]bool{}
	for i := range d.Components {
		c := &d.Components[i]
		if seen[c.ID] {
			return fmt.Errorf("the inventory: %s is in it twice", c.ID)
		}
		seen[c.ID] = true
		if c.NID != "" {
			if _, err := strconv.ParseInt(c.NID.String(), 10, 64); err != nil {
				return fmt.Errorf("the inventory: %s: its NID %q is not a number", c.ID, c.NID)
			}
		}
	}
	for name := range d.byName {
		if !seen[name] && !special(name, d) {
			d.note("the boot parameters of %s are left out: it is no node of the inventory", name)
		}
	}
	slices.Sort(d.Notes)
	return nil
}

// Names of records that are none of nodes.
const (
	defaultTag    = "Default"
	globalTag     = "Global"
	unknownPrefix = "Unknown-"
)

func special(name string, d *Dump) bool {
	return name == defaultTag || name == globalTag || strings.HasPrefix(name, unknownPrefix) ||
		slices.ContainsFunc(d.Components, func(c Component) bool { return c.Role == name })
}
