package kind

import "fmt"

// talos checks a machine configuration of Talos: a stream of documents. One with a kind has a schema of its own; the one without is the
// machine's and the cluster's.
func (c *Checker) talos(_, text string) []Problem {
	docs, ps := documents(text, 0)
	var machine *document
	for i := range docs {
		d := &docs[i]
		m, ok := d.value.(map[string]any)
		switch kind, named := m["kind"].(string); {
		case d.value == nil: // an empty document between others
		case !ok:
			ps = append(ps, Problem{d.line(nil), "a document of a Talos configuration is a mapping"})
		case m["kind"] == nil && machine != nil:
			ps = append(ps, Problem{d.line(nil), fmt.Sprintf("the machine's configuration stands in line %d already", machine.line(nil))})
		case m["kind"] == nil:
			machine = d
			ps = append(ps, c.talosMachine(d, m)...)
		default:
			definition := c.talosKinds()[kind]
			if !named || definition == "" {
				ps = append(ps, Problem{d.line([]string{"kind"}), fmt.Sprintf("Talos 1.12 has no configuration of kind %q", shorten(fmt.Sprint(m["kind"])))})
				continue
			}
			ps = append(ps, c.hold(d, "talos.json", definition)...)
		}
	}
	if len(docs) == 0 && ps == nil {
		return []Problem{{0, "it is empty, and Talos would wait for a configuration"}}
	}
	return ps
}

// talosMachine adds what the schema leaves out and the machine refuses.
func (c *Checker) talosMachine(d *document, m map[string]any) []Problem {
	ps := c.hold(d, "talos.json", "v1alpha1.Config")
	if m["version"] != "v1alpha1" {
		ps = append(ps, Problem{d.line([]string{"version"}), `it needs version: v1alpha1`})
	}
	machine, ok := m["machine"].(map[string]any)
	if !ok {
		return append(ps, Problem{d.line([]string{"machine"}), "it needs a machine section"})
	}
	if machine["type"] == nil {
		ps = append(ps, Problem{d.line([]string{"machine"}), "machine needs a type: controlplane or worker"})
	}
	if cluster, ok := m["cluster"].(map[string]any); !ok || cluster["controlPlane"] == nil {
		ps = append(ps, Problem{d.line([]string{"cluster"}), "it needs cluster.controlPlane.endpoint, the address of the cluster"})
	}
	return ps
}

// talosKinds gives the schema's definition for each kind of document.
func (c *Checker) talosKinds() map[string]string {
	if c.kinds != nil {
		return c.kinds
	}
	c.kinds = map[string]string{}
	doc, err := schemaDocument("talos.json")
	if err != nil {
		panic("kind: " + err.Error()) // as in hold
	}
	schema, _ := doc.(map[string]any)
	definitions, _ := schema["$defs"].(map[string]any)
	for name, d := range definitions {
		d, _ := d.(map[string]any)
		properties, _ := d["properties"].(map[string]any)
		kind, _ := properties["kind"].(map[string]any)
		names, _ := kind["enum"].([]any)
		for _, n := range names {
			if n, ok := n.(string); ok {
				c.kinds[n] = name
			}
		}
	}
	return c.kinds
}
