package reconcile

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

const planSpec = `
spec {
  language = 1
}
store "s" {
  local {
    path = "/srv"
  }
}
image "live" {
  arch = "x86_64"
  file "kernel" {
    store = store.s
    key   = "k"
  }
}
group "compute" {
  image       = image.live
  kernel_args = { hugepages = 64 }
}
subnet "lab" {
  cidr = "10.77.0.0/24"
  pool "fixed" {
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
  pool "boot" {
    range  = "10.77.0.100-10.77.0.199"
    serves = "boot"
  }
}
node "all" {
  for_each = { for r in tabledecode("machines.csv") : r.name => r }
  name     = each.key
  subnet   = subnet.lab
  mac      = each.value.mac
  address  = each.value.address == "" ? null : each.value.address
  groups   = [group.compute]
  config   = template.seed
}
template "seed" {
  source = "seed.gotmpl"
}
`

const planTemplate = "# A seed.\n{{ .self.name }} of {{ .self.subnet.name }} at {{ .self.address }}\n"

const planTable = `name,mac,address
c1,52:54:00:00:00:01,10.77.0.11
c2,52:54:00:00:00:02,10.77.0.12
c3,52:54:00:00:00:03,
`

// planSnapshot renders the spec after replacing pairs of strings in it and its table.
func planSnapshot(t *testing.T, replace ...string) *render.Snapshot {
	t.Helper()
	r := strings.NewReplacer(replace...)
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{
		"fleet.boot.hcl": {Data: []byte(r.Replace(planSpec))}, "machines.csv": {Data: []byte(r.Replace(planTable))},
		"seed.gotmpl": {Data: []byte(r.Replace(planTemplate))},
	}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	s, ds := render.Render(f, nil, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return s
}

// summary writes a plan on a few lines.
func summary(p *Plan) string {
	var b strings.Builder
	for _, g := range p.Groups {
		fmt.Fprintf(&b, "%s %s %s%v", g.Action, g.Class, g.Subject, g.Nodes)
		for _, d := range g.Deltas {
			fmt.Fprintf(&b, " %s=%s->%s", d.Path, d.Old, d.New)
		}
		for _, c := range g.Causes {
			fmt.Fprintf(&b, " because %s %s", c.Layer, c.Place)
			if c.Rows > 1 {
				fmt.Fprintf(&b, " and %d rows", c.Rows-1)
			}
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "%d to add, %d to change, %d to remove", p.Add, p.Change, p.Remove)
	return b.String()
}

func TestPlan(t *testing.T) {
	lease := func(addr, pool string) fact.Lease {
		return fact.Lease{Addr: netip.MustParseAddr(addr), Subnet: "lab", Pool: pool, State: fact.Bound}
	}
	for _, c := range []struct {
		name    string
		replace []string
		leases  []fact.Lease
		want    string
	}{
		{name: "nothing", want: "0 to add, 0 to change, 0 to remove"},
		{
			name: "one change of a group is one group of nodes", replace: []string{"hugepages = 64", "hugepages = 128"},
			want: "~ next-boot [c1 c2 c3] kernel_args.hugepages=64->128 because group.compute fleet.boot.hcl:19\n0 to add, 3 to change, 0 to remove",
		},
		{
			name: "a machine that goes is the danger, and comes first", replace: []string{"c2,52:54:00:00:00:02,10.77.0.12\n", "", "hugepages = 64", "hugepages = 128"},
			want: "- remove [c2] because node machines.csv:3\n" +
				"~ next-boot [c1 c3] kernel_args.hugepages=64->128 because group.compute fleet.boot.hcl:19\n" +
				"0 to add, 2 to change, 1 to remove",
		},
		{
			name: "addresses are each node's own", replace: []string{"10.77.0.11\n", "10.77.0.21\n", "10.77.0.12\n", "10.77.0.22\n"},
			want: "~ address [c1 c2] address=10.77.0.11->10.77.0.21 text.seed=sha256:cd2c2bdbd40e->sha256:d8b732d7f1a2 because node machines.csv:2 and 1 rows\n0 to add, 2 to change, 0 to remove",
		},
		{
			name: "a lease that no pool holds any more", replace: []string{"10.77.0.199", "10.77.0.150"},
			leases: []fact.Lease{lease("10.77.0.160", "boot"), lease("10.77.0.110", "boot"), lease("10.77.0.11", "")},
			want: "! orphan subnet.lab[] lease=10.77.0.160->\n" +
				"~ address subnet.lab[] pool.boot.range=10.77.0.100-10.77.0.199->10.77.0.100-10.77.0.150 because subnet.lab fleet.boot.hcl:27\n" +
				"0 to add, 0 to change, 0 to remove",
		},
		{
			name: "one change of a template is one group of nodes", replace: []string{" of {{ .self.subnet.name }}", ""},
			want: "~ next-boot [c1 c2 c3] text.seed=sha256:cd2c2bdbd40e->sha256:c2dca08d4de8 because template.seed seed.gotmpl:2\n0 to add, 3 to change, 0 to remove",
		},
		{
			name: "what a text is made from explains it", replace: []string{"10.77.0.12\n", "10.77.0.13\n"},
			want: "~ address [c2] address=10.77.0.12->10.77.0.13 text.seed=sha256:6b124b92b36a->sha256:1aca21eeedf1 because node machines.csv:3\n0 to add, 1 to change, 0 to remove",
		},
		{
			name: "of a few machines each value is shown, and the layer that it comes from", replace: []string{"hugepages = 64 }", "hugepages = 64, host = self.name }"},
			want: "~ next-boot [c1] kernel_args.host=->c1 because group.compute fleet.boot.hcl:19\n" +
				"~ next-boot [c2] kernel_args.host=->c2 because group.compute fleet.boot.hcl:19\n" +
				"~ next-boot [c3] kernel_args.host=->c3 because group.compute fleet.boot.hcl:19\n0 to add, 3 to change, 0 to remove",
		},
		{
			name: "another card under the same name", replace: []string{"52:54:00:00:00:01", "52:54:00:00:00:0a"},
			want: "-/+ remove [c1] mac=52:54:00:00:00:01->52:54:00:00:00:0a because node machines.csv:2\n0 to add, 1 to change, 0 to remove",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, new := planSnapshot(t), planSnapshot(t, c.replace...)
			p := NewPlan(old, new, c.leases)
			if diff := cmp.Diff(c.want, summary(p)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if p.Empty() != (c.name == "nothing") {
				t.Errorf("Empty is %t", p.Empty())
			}
			if again := NewPlan(planSnapshot(t), new, c.leases); again.Digest != p.Digest {
				t.Errorf("planned again, the digest is %s, not %s", again.Digest, p.Digest)
			}
		})
	}
}

// TestPlanOfManyOwnValues holds that what changes for many machines at once is one change, also when each gets a value of its own.
func TestPlanOfManyOwnValues(t *testing.T) {
	var rows strings.Builder
	for i := 4; i <= 9; i++ {
		fmt.Fprintf(&rows, "c%d,52:54:00:00:00:%02d,\n", i, i)
	}
	table := []string{"c3,52:54:00:00:00:03,\n", "c3,52:54:00:00:00:03,\n" + rows.String()}
	old := planSnapshot(t, append(table, "hugepages = 64 }", "hugepages = 64, host = self.name }")...)
	new := planSnapshot(t, append(table, "hugepages = 64 }", "hugepages = 64, host = \"x-${self.name}\" }")...)
	want := "~ next-boot [c1 c2 c3 c4 c5 c6 c7 c8 c9] kernel_args.host=c1->x-c1 because group.compute fleet.boot.hcl:19\n0 to add, 9 to change, 0 to remove"
	p := NewPlan(old, new, nil)
	if diff := cmp.Diff(want, summary(p)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if d := p.Groups[0].Deltas[0]; !d.PerNode {
		t.Errorf("the values are not marked as each node's own: %+v", d)
	}
}

// TestPlanDigest holds that two plans that differ for any machine have two digests, also where a group shows one machine's values.
func TestPlanDigest(t *testing.T) {
	old := planSnapshot(t)
	moved := func(c2 string) *Plan {
		return NewPlan(old, planSnapshot(t, "10.77.0.11\n", "10.77.0.21\n", "10.77.0.12\n", c2+"\n"), nil)
	}
	a, b := moved("10.77.0.22"), moved("10.77.0.23")
	if diff := cmp.Diff(summary(a), summary(b)); diff != "" {
		t.Fatalf("the plans were to look alike:\n%s", diff)
	}
	if a.Digest == b.Digest {
		t.Errorf("both have the digest %s", a.Digest)
	}
}

// TestPlanOfAll holds that a first plan lists every node once, grouped, and that hostler's own loaders are not news.
func TestPlanOfAll(t *testing.T) {
	p := NewPlan(nil, planSnapshot(t), nil)
	if p.Add != 3 || p.Change != 0 || p.Remove != 0 {
		t.Errorf("%d to add, %d to change, %d to remove; want 3, 0, 0", p.Add, p.Change, p.Remove)
	}
	for _, g := range p.Groups {
		if strings.HasPrefix(g.Subject, "loader.builtin") {
			t.Errorf("%s is listed", g.Subject)
		}
	}
	mixed := NewPlan(nil, planSnapshot(t, "  groups   = [group.compute]", `  groups   = each.key == "c3" ? [] : [group.compute]
  image    = image.live`), nil)
	var groups []string
	for _, g := range mixed.Groups {
		if len(g.Nodes) > 0 {
			groups = append(groups, fmt.Sprint(g.Nodes))
		}
	}
	if diff := cmp.Diff([]string{"[c1 c2]", "[c3]"}, groups); diff != "" {
		t.Errorf("nodes that are new in different ways (-want +got)\n%s", diff)
	}
	back := NewPlan(planSnapshot(t), nil, nil)
	if back.Remove != 3 || back.Worst() != render.ClassRemove {
		t.Errorf("taking all away: %d to remove, worst %s", back.Remove, back.Worst())
	}
}
