package reconcile

import (
	"fmt"
	"slices"

	"hostler/spec"
)

// secrets says which secrets of a fleet the server does not have: a node whose configuration needs one would come up, ask, and be sent
// away. That is no mistake of the spec, and is looked at again in each cycle.
func (r *Reconciler) secrets(f *spec.Fleet) spec.Diagnostics {
	if r.c.Secret == nil {
		return nil
	}
	needed := map[string][]string{} // names of secrets by template
	for i := range f.Nodes {
		for _, x := range f.Nodes[i].Texts {
			for _, name := range x.Secrets {
				if !slices.Contains(needed[x.Template], name) {
					needed[x.Template] = append(needed[x.Template], name)
				}
			}
		}
	}
	var ds spec.Diagnostics
	for i := range f.Templates {
		t := &f.Templates[i]
		names := needed[t.Name]
		slices.Sort(names)
		for _, name := range names {
			if err := r.c.Secret(name); err != nil {
				ds = append(ds, spec.Diagnostic{Severity: spec.Error, Code: "missing-secret", Summary: "Secret is missing", Place: &t.Place,
					Detail: fmt.Sprintf("template.%s needs a secret that this server does not have: %s. Put it there; the revision is tried again.", t.Name, err)})
			}
		}
	}
	return ds
}
