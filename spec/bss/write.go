package bss

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// Spec is what a dump becomes.
type Spec struct {
	Files   map[string][]byte
	Nodes   []*Node
	Notes   []string // what a person should look at: what was left out, and what was made up
	Missing []Missing
}

// Missing is a node that the service boots and the spec does not.
type Missing struct{ Name, Why string }

// Write writes a spec that boots the nodes of a dump as the service does.
func Write(d *Dump, o Options) *Spec {
	p := newPlan(d, o)
	s := &Spec{Files: map[string][]byte{}, Nodes: p.nodes}
	for name, write := range map[string]func(*bytes.Buffer){
		"spec.boot.hcl": p.writeSpec, "images.boot.hcl": p.writeImages, "groups.boot.hcl": p.writeGroups, "nodes.boot.hcl": p.writeNodes,
	} {
		var b bytes.Buffer
		write(&b)
		s.Files[name] = hclwrite.Format(b.Bytes())
	}
	s.Files["nodes.csv"] = p.table()
	s.Notes, s.Missing = p.notes, p.missing
	slices.Sort(s.Notes)
	return s
}

func (p *plan) writeSpec(b *bytes.Buffer) {
	b.WriteString("# Imported from a Boot Script Service.\nspec {\n  language = 1\n}\n\ndefaults {\n  retry { # as the service: 30 seconds, always\n    delay     = \"30s\"\n" +
		"    max_delay = \"30s\"\n    jitter    = 0\n  }\n}\n")
	for _, name := range slices.Sorted(maps.Keys(p.stores)) {
		at := p.stores[name]
		fmt.Fprintf(b, "\nstore %s {\n", text(name))
		if strings.Contains(at, "://") {
			fmt.Fprintf(b, "  deliver = \"direct\"\n  http {\n    url = %s\n  }\n}\n", text(at))
			continue
		}
		fmt.Fprintf(b, "  s3 { # its keys are in the server's configuration\n    endpoint = %s\n    bucket   = %s\n  }\n  presign {\n    ttl = \"24h\"\n  }\n}\n", text(p.o.Endpoint), text(at))
	}
}

func (p *plan) writeImages(b *bytes.Buffer) {
	for i, m := range p.images {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "image %s {\n  arch = %s\n", text(m.name), text(m.arch))
		for _, f := range m.files {
			fmt.Fprintf(b, "  file %s {\n    store = store.%s\n    key = %s\n  }\n", text(f.role), f.store, text(f.key))
		}
		b.WriteString("}\n")
	}
}

func (p *plan) writeGroups(b *bytes.Buffer) {
	for i, g := range slices.Concat(p.groups, p.unknown) {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(b, "group %s {\n  image = image.%s\n  kernel_args = {\n", text(g.name), g.image.name)
		order, lines, left := arguments(g.words)
		for _, key := range order {
			fmt.Fprintf(b, "    %s = %s\n", attribute(key), lines[key])
		}
		b.WriteString("  }\n  kernel_args_order = [")
		for i, key := range order {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(text(key))
		}
		b.WriteString("]\n")
		for _, w := range left {
			fmt.Fprintf(b, "  # FIXME: left out: %s\n", strings.ReplaceAll(w, "\n", " "))
			p.note("group %s: the argument %s is left out", g.name, w)
		}
		b.WriteString("}\n")
	}
}

// arguments are the words of a command line as elements of kernel_args, in the order of their keys, and those that it cannot have.
func arguments(words []string) (order []string, lines map[string]string, left []string) {
	values, flags := map[string][]string{}, map[string]bool{}
	for _, w := range words {
		key, value, set := cutWord(w)
		if key == "" || strings.Contains(w, "${") || strings.Contains(value, `"`) || flags[key] || !set && len(values[key]) > 0 {
			left = append(left, w)
			continue
		}
		if !slices.Contains(order, key) {
			order = append(order, key)
		}
		if !set {
			flags[key] = true
			continue
		}
		values[key] = append(values[key], expression(w, value))
	}
	lines = map[string]string{}
	for _, key := range order {
		switch v := values[key]; {
		case flags[key]:
			lines[key] = "true"
		case len(v) == 1:
			lines[key] = v[0]
		default:
			lines[key] = "[" + strings.Join(v, ", ") + "]"
		}
	}
	return order, lines, left
}

// expression is a value as an author would write it.
func expression(word, value string) string {
	switch role, _ := signedObject(word); {
	case word == ownXname:
		return "self.ids.xname"
	case word == ownNID:
		return "self.ids.nid"
	case word == ownSeed:
		return `"nocloud-net;s=http://${bootserver()}:8080/"`
	case role == "live":
		return `"live:${url("live")}"`
	case role != "":
		return `url("` + role + `")`
	}
	if n, err := strconv.ParseInt(value, 10, 32); err == nil && strconv.FormatInt(n, 10) == value {
		return value
	}
	return text(value)
}

// text is a string of the language.
func text(s string) string { return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes()) }

// attribute is a key of a map, with quotes where it needs them.
func attribute(key string) string {
	plain := strings.IndexFunc(key, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_'
	}) < 0
	if plain && key != "" && (key[0] < '0' || key[0] > '9') && key != "for" && key != "null" && key != "true" && key != "false" {
		return key
	}
	return text(key)
}

func (p *plan) writeNodes(b *bytes.Buffer) {
	fmt.Fprintf(b, "subnet \"nodes\" {\n  cidr = %s\n", text(p.cidr.String()))
	if len(p.unknown) > 0 {
		b.WriteString("  unknown = {\n")
		for _, g := range p.unknown {
			fmt.Fprintf(b, "    %s = group.%s\n", g.arch, g.name)
		}
		b.WriteString("  }\n")
	}
	if without := p.without(); without > 0 || len(p.unknown) > 0 {
		first, last := p.rest()
		fmt.Fprintf(b, "  pool \"any\" { # for those whose address the inventory does not know\n    range = \"%s-%s\"\n    serves = \"any\"\n  }\n", first, last)
	}
	b.WriteString("}\n")
	for ports := 1; ports <= p.ports(); ports++ {
		if !slices.ContainsFunc(p.nodes, func(n *Node) bool { return len(n.MACs) == ports }) {
			continue
		}
		fmt.Fprintf(b, "\n# The nodes with %d of their ports in the table.\nnode \"ports%d\" {\n", ports, ports)
		fmt.Fprintf(b, "  for_each = { for r in tabledecode(\"nodes.csv\") : r.name => r if r.ports == \"%d\" }\n\n  name = each.key\n  subnet = subnet.nodes\n", ports)
		address := "each.value.address == \"\" ? null : each.value.address"
		if ports == 1 {
			fmt.Fprintf(b, "  mac = each.value.mac\n  address = %s\n", address)
		}
		b.WriteString("  groups = [group[each.value.group]]\n  ids = { for k, v in { xname = each.key, nid = each.value.nid } : k => v if v != \"\" }\n")
		for i := 1; ports > 1 && i <= ports; i++ {
			fmt.Fprintf(b, "  interface \"port%d\" {\n    mac = each.value.%s\n", i, macColumn(i))
			if i == 1 {
				fmt.Fprintf(b, "    address = %s\n    boot = true\n", address)
			}
			b.WriteString("  }\n")
		}
		b.WriteString("}\n")
	}
}

func macColumn(i int) string {
	if i == 1 {
		return "mac"
	}
	return "mac" + strconv.Itoa(i)
}

func (p *plan) ports() (most int) {
	for _, n := range p.nodes {
		most = max(most, len(n.MACs))
	}
	return most
}

func (p *plan) without() (count int) {
	for _, n := range p.nodes {
		if !n.addr.IsValid() {
			count++
		}
	}
	return count
}

// rest is what is behind the nodes' addresses.
func (p *plan) rest() (first, last netip.Addr) {
	first, last = p.cidr.Addr().Next().Next(), p.cidr.Addr()
	for _, n := range p.nodes {
		if n.addr.IsValid() && !n.addr.Less(first) {
			first = n.addr.Next()
		}
	}
	b := last.As4()
	for i := p.cidr.Bits(); i < 32; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	if last = netip.AddrFrom4(b).Prev(); last.Less(first) {
		first = last
	}
	return first, last
}

// table is the inventory.
func (p *plan) table() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	header := []string{"name", "nid", "group", "address", "ports"}
	for i := 1; i <= p.ports(); i++ {
		header = append(header, macColumn(i))
	}
	rows := [][]string{header}
	for _, n := range p.nodes {
		address := ""
		if n.addr.IsValid() {
			address = n.addr.String()
		}
		row := []string{n.Name, n.nid, n.group.name, address, strconv.Itoa(len(n.MACs))}
		for i := range p.ports() {
			mac := ""
			if i < len(n.MACs) {
				mac = n.MACs[i].String()
			}
			row = append(row, mac)
		}
		rows = append(rows, row)
	}
	_ = w.WriteAll(rows) // a buffer takes everything
	return b.Bytes()
}
