package kind

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of a YAML text, aliases written out.
const (
	maxValues  = 100_000
	maxNesting = 100
)

// document is a YAML document as plain values, and where each of them stands.
type document struct {
	value  any
	node   *yaml.Node
	offset int      // lines before the text
	inside []string // where in it the value stands; empty: it is all of it
}

// documents reads a stream of YAML documents. Line numbers begin behind offset lines.
func documents(text string, offset int) ([]document, []Problem) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var docs []document
	left := maxValues
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if err == io.EOF {
			return docs, nil
		}
		if err != nil {
			return nil, []Problem{yamlProblem(err, offset)}
		}
		r := reader{offset: offset, left: &left}
		value := r.value(&n, 0)
		if r.problems != nil {
			return nil, r.problems
		}
		docs = append(docs, document{value: value, node: &n, offset: offset})
	}
}

var yamlLine = regexp.MustCompile(`^line (\d+): `)

func yamlProblem(err error, offset int) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{Text: "it is not YAML: " + text}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1])
		p.Line, p.Text = n+offset, "it is not YAML: "+text[len(m[0]):]
	}
	return p
}

// reader makes plain values of YAML as version 1.1 has it, which is what cloud-init reads: yes and on are true.
type reader struct {
	offset   int
	left     *int
	problems []Problem
}

func (r *reader) fail(n *yaml.Node, text string) {
	if len(r.problems) < most {
		r.problems = append(r.problems, Problem{n.Line + r.offset, text})
	}
}

func (r *reader) value(n *yaml.Node, depth int) any {
	if *r.left--; *r.left < 0 || depth > maxNesting {
		if len(r.problems) == 0 {
			r.fail(n, fmt.Sprintf("it has more than %d values, or more than %d inside one another", maxValues, maxNesting))
		}
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], depth)
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, e := range n.Content {
			list = append(list, r.value(e, depth+1))
		}
		return list
	case yaml.MappingNode:
		return r.mapping(n, depth)
	default:
		return r.scalar(n)
	}
}

func (r *reader) mapping(n *yaml.Node, depth int) any {
	m := make(map[string]any, len(n.Content)/2)
	at := map[string]int{}
	var merged []any
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		first, twice := at[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode:
			r.fail(k, "a key is not a simple word")
		case k.Tag == "!!merge":
			merged = append(merged, r.value(v, depth+1))
		case twice:
			r.fail(k, fmt.Sprintf("the key %q stands in line %d already, and only one of the two would be taken", shorten(k.Value), first))
		default:
			at[k.Value] = k.Line + r.offset
			m[k.Value] = r.value(v, depth+1)
		}
	}
	for _, x := range merged {
		merge(m, x)
	}
	return m
}

// merge adds what a "<<" key refers to: a mapping, or a list of them.
func merge(m map[string]any, from any) {
	switch from := from.(type) {
	case map[string]any:
		for k, v := range from {
			if _, has := m[k]; !has {
				m[k] = v
			}
		}
	case []any:
		for _, x := range from {
			merge(m, x)
		}
	}
}

func (r *reader) scalar(n *yaml.Node) any {
	if n.Style == 0 && n.Tag == "!!str" {
		switch n.Value {
		case "yes", "Yes", "YES", "on", "On", "ON":
			return true
		case "no", "No", "NO", "off", "Off", "OFF":
			return false
		}
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		var b bool
		_ = n.Decode(&b)
		return b
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return i
		}
		return float64(1 << 62)
	case "!!float":
		var f float64
		_ = n.Decode(&f)
		return f
	}
	return n.Value
}

// line is where a value stands, by the path that a schema's errors name: the line of its key, or of the nearest that it is inside of.
func (d *document) line(path []string) int {
	n := d.node
	if n.Kind == yaml.DocumentNode {
		n = n.Content[0]
	}
	line := n.Line
	for _, name := range slices.Concat(d.inside, path) {
		for hops := 0; n.Kind == yaml.AliasNode && hops < maxNesting; hops++ {
			n = n.Alias
		}
		at, inner := child(n, name)
		if inner == nil {
			break
		}
		line, n = at, inner
	}
	return line + d.offset
}

func child(n *yaml.Node, name string) (line int, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i].Line, n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i].Line, n.Content[i]
		}
	}
	return 0, nil
}
