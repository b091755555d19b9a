package spec

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"hostler/render/fact"
)

// unknown reads what a subnet does with machines that nobody declared: one group, or one for each processor.
func (in *instance) unknown(b *body) (group string, by []Discovery) {
	a := b.attrs["unknown"]
	if a == nil {
		return "", nil
	}
	if _, diags := hcl.ExprMap(a.expr); diags.HasErrors() {
		v := in.eval(a)
		if t := v.Type(); isRef(v) || v.IsNull() || !v.IsKnown() || !t.IsMapType() && !t.IsObjectType() {
			group, _ = in.ref(b, "unknown", "group")
			return group, nil
		}
	}
	for _, part := range in.mapParts(b, "unknown") {
		if !slices.Contains(processors(), part.key) {
			in.p.rep.err("unknown-processor", part.keyAt, "Unknown processor",
				fmt.Sprintf("There is no firmware of %q.%s These have one: %s.", short(part.key), didYouMean(part.key, processors()), strings.Join(processors(), ", ")))
			continue
		}
		if part.val.IsNull() {
			continue
		}
		if name, ok := in.asRef("unknown", "group", part.val, part.at); ok {
			by = append(by, Discovery{Arch: part.key, Group: name})
			in.p.discovery = append(in.p.discovery, discovery{in.name, part.key, name, part.at})
		}
	}
	slices.SortFunc(by, func(a, b Discovery) int { return strings.Compare(a.Arch, b.Arch) })
	return "", by
}

// processors are those that some firmware announces.
func processors() (names []string) {
	for _, name := range fact.ArchitectureNames() {
		if cpu := fact.Architectures(name)[0].Processor(); cpu != "" && !slices.Contains(names, cpu) {
			names = append(names, cpu)
		}
	}
	slices.Sort(names)
	return names
}

// discovery is a group for undeclared machines with a processor, as it is written.
type discovery struct {
	subnet, arch, group string
	at                  spot
}

// checkDiscovery compares the processors of images with those of the machines that are given them.
func (p *parser) checkDiscovery() {
	for _, d := range p.discovery {
		image := p.profile(d.subnet, []string{d.group}, "").Image
		i := slices.IndexFunc(p.fleet.Images, func(m Image) bool { return m.Name == image })
		if i >= 0 && p.fleet.Images[i].Arch != d.arch {
			p.rep.err("discovery-arch", d.at, "Image is for another processor", fmt.Sprintf("On subnet.%s, undeclared machines with %s would boot image.%s by group.%s, and that is for %s.",
				d.subnet, d.arch, image, d.group, p.fleet.Images[i].Arch))
		}
	}
}
