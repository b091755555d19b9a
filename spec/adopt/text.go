package adopt

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"hostler/render/fact"
	"hostler/spec"
)

// Block is the declaration as a node block, laid out as `hostler fmt` does. groups are those that it lists.
func (p *Proposal) Block(groups []string) []byte {
	f := hclwrite.NewEmptyFile()
	b := f.Body().AppendNewBlock("node", []string{string(p.Name)}).Body()
	b.SetAttributeTraversal("subnet", reference("subnet", p.Subnet))
	set := func(name, value string) {
		if value != "" {
			b.SetAttributeValue(name, cty.StringVal(value))
		}
	}
	set("mac", p.MAC.String())
	if p.Address.IsValid() {
		set("address", p.Address.String())
	}
	set("uuid", p.UUID)
	set("firmware", p.Firmware)
	set("arch", p.Arch)
	if len(groups) > 0 {
		var list []hclwrite.Tokens
		for _, g := range groups {
			list = append(list, hclwrite.TokensForTraversal(reference("group", g)))
		}
		b.SetAttributeRaw("groups", hclwrite.TokensForTuple(list))
	}
	if len(p.IDs) > 0 {
		ids := map[string]cty.Value{}
		for _, l := range p.IDs {
			ids[l.Name] = cty.StringVal(l.Value)
		}
		b.SetAttributeValue("ids", cty.ObjectVal(ids))
	}
	return hclwrite.Format(f.Bytes())
}

// reference is group.compute, or group["1st"] where the name is none that can stand behind a dot.
func reference(kind, name string) hcl.Traversal {
	if hclsyntax.ValidIdentifier(name) {
		return hcl.Traversal{hcl.TraverseRoot{Name: kind}, hcl.TraverseAttr{Name: name}}
	}
	return hcl.Traversal{hcl.TraverseRoot{Name: kind}, hcl.TraverseIndex{Key: cty.StringVal(name)}}
}

// IsTable reports whether rows can be appended to a file: it is a table of separated values.
func IsTable(name string) bool { return comma(name) != 0 }

func comma(name string) rune {
	switch strings.ToLower(path.Ext(name)) {
	case ".csv":
		return ','
	case ".tsv":
		return '\t'
	}
	return 0
}

// Row is the declaration as a row of the table that the neighbours come from, with the line's end. What a column means is seen from the
// neighbours' rows; a column that means nothing that is known is as in all of them, or empty.
func (p *Proposal) Row(text []byte) ([]byte, error) {
	header, rows, err := readTable(p.Table, text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %v", p.Table, err)
	}
	for _, n := range p.like {
		if len(rows[n.Place.Row]) != len(header) {
			return nil, fmt.Errorf("reading %s: it is not the text that node %s comes from", p.Table, n.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.wish.Set)) {
		if !slices.Contains(header, name) && !slices.Contains(kinds(p.like), name) {
			return nil, fmt.Errorf("-set=%s: %s has no such column, and its nodes have no such id", name, p.Table)
		}
	}
	row := make([]string, len(header))
	for i, column := range header {
		value := func(n *spec.Node) string { return rows[n.Place.Row][i] }
		if row[i] = p.cell(column, value); row[i] == "" && p.isID(value) {
			return nil, fmt.Errorf("%s: each row has a %s of its own, and nothing says what this machine's is: give it with -set=%s=VALUE", p.Table, column, column)
		}
	}
	if !slices.ContainsFunc(row, func(s string) bool { m, err := fact.ParseMAC(s); return err == nil && m == p.MAC }) {
		return nil, fmt.Errorf("reading %s: none of its columns holds the MACs of its rows", p.Table)
	}
	var line bytes.Buffer
	w := csv.NewWriter(&line)
	w.Comma, w.UseCRLF = comma(p.Table), bytes.Contains(text, []byte("\r\n"))
	if err := w.Write(row); err != nil {
		return nil, fmt.Errorf("writing a row of %s: %v", p.Table, err)
	}
	w.Flush()
	return line.Bytes(), w.Error()
}

// isID reports whether a column has an id of each row's machine, by which others may know it: an empty one would be a machine without a name.
func (p *Proposal) isID(value func(*spec.Node) string) bool {
	return slices.ContainsFunc(kinds(p.like), func(kind string) bool {
		return means(p.like, value, func(n *spec.Node) string { return label(n.IDs, kind) })
	})
}

// readTable gives a table's rows by their lines.
func readTable(name string, text []byte) (header []string, rows map[int][]string, err error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))))
	r.Comma = comma(name)
	if r.Comma == 0 {
		return nil, nil, fmt.Errorf("it is not a table of separated values")
	}
	if header, err = r.Read(); err != nil {
		return nil, nil, err
	}
	rows = map[int][]string{}
	for {
		row, err := r.Read()
		if err == io.EOF {
			return header, rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		line, _ := r.FieldPos(0)
		rows[line] = row
	}
}

// meaning is what a column can hold.
type meaning struct {
	of     func(n *spec.Node) string
	own    string // the new machine's
	shared bool   // between machines: what most others have may be its own, too
}

func (p *Proposal) meanings() []meaning {
	address := ""
	if p.Address.IsValid() {
		address = p.Address.String()
	}
	ms := []meaning{
		{func(n *spec.Node) string { return string(n.Name) }, string(p.Name), false},
		{func(n *spec.Node) string {
			if a := n.Interfaces[0].Addr; a.IsValid() {
				return a.String()
			}
			return ""
		}, address, false},
		{func(n *spec.Node) string { return n.UUID }, p.UUID, false},
	}
	for _, kind := range kinds(p.like) {
		ms = append(ms, meaning{func(n *spec.Node) string { return label(n.IDs, kind) }, label(p.IDs, kind), false})
	}
	return append(ms,
		meaning{func(n *spec.Node) string { return n.Firmware }, p.Firmware, true},
		meaning{func(n *spec.Node) string { return n.Arch }, p.Arch, true},
		meaning{func(n *spec.Node) string { return n.Interfaces[0].Subnet }, p.Subnet, false},
		meaning{func(n *spec.Node) string { return n.Interfaces[0].Hostname }, string(p.Name), false},
	)
}

// cell is the value of one column.
func (p *Proposal) cell(column string, value func(*spec.Node) string) string {
	if v, ok := p.wish.Set[column]; ok {
		return v
	}
	if isMAC(p.like, value) {
		return likeMAC(p.MAC, value(p.like[0]))
	}
	for _, m := range p.meanings() {
		switch {
		case !means(p.like, value, m.of):
		case m.own == "" && m.shared:
			v, _ := most(p.closest(), value)
			p.note("%s is taken from the machines beside it: %s", column, v)
			return v
		default:
			return m.own
		}
	}
	if v, count := most(p.peers, value); count > 0 && count == len(p.peers) {
		return v
	}
	if len(p.peers) == 0 && len(p.Groups) > 0 { // the operator chose groups that no neighbour is in
		if last := p.Groups[len(p.Groups)-1]; strings.Contains(column, "group") || strings.Contains(column, "role") {
			return last
		}
	}
	p.note("the column %s differs between the machines beside it, so it is empty: give it with -set=%s=VALUE", column, column)
	return ""
}

// means reports whether a column has what of says, in every row; a column that is always empty says nothing.
func means(sample []*spec.Node, value, of func(*spec.Node) string) bool {
	some := false
	for _, n := range sample {
		v := value(n)
		if !strings.EqualFold(v, of(n)) {
			return false
		}
		some = some || v != ""
	}
	return some
}

func isMAC(sample []*spec.Node, value func(*spec.Node) string) bool {
	for _, n := range sample {
		if m, err := fact.ParseMAC(value(n)); err != nil || m != n.Interfaces[0].MAC {
			return false
		}
	}
	return true
}

// likeMAC writes an address as another one is written.
func likeMAC(m fact.MAC, like string) string {
	text := m.String()
	switch {
	case strings.Contains(like, "-"):
		text = m.Dashed()
	case strings.Contains(like, "."):
		text = strings.ReplaceAll(text, ":", "")
		text = text[:4] + "." + text[4:8] + "." + text[8:]
	case !strings.Contains(like, ":"):
		text = strings.ReplaceAll(text, ":", "")
	}
	if like == strings.ToUpper(like) && like != strings.ToLower(like) {
		text = strings.ToUpper(text)
	}
	return text
}

// Append puts what was proposed behind a text, on a line of its own; a block after an empty line.
func Append(text, addition []byte, block bool) []byte {
	out := slices.Clone(text)
	if len(out) > 0 && !bytes.HasSuffix(out, []byte("\n")) {
		out = append(out, '\n')
	}
	if block && len(out) > 0 && !bytes.HasSuffix(out, []byte("\n\n")) {
		out = append(out, '\n')
	}
	return append(out, addition...)
}
