package bss

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// fleet has a node of each kind that matters here.
const fleet = `
spec {
  language = 1
}
store "s3" {
  s3 {
    endpoint = "https://rgw.local"
    bucket   = "boot-images"
  }
}
image "compute" {
  file "kernel" {
    store = store.s3
    key   = "1/kernel"
  }
  file "initrd" {
    store = store.s3
    key   = "1/microcode"
  }
  file "initrd" {
    store = store.s3
    key   = "1/initrd"
  }
}
group "compute" {
  image       = image.compute
  kernel_args = { root = "live:${url("kernel")}", quiet = true, proof = self_url("seed"), ds = "nocloud;s=${seed_url()}/" }
  domain      = "lab.example.net"
  dns         = ["10.1.0.53"]
}
template "seed" {
  content = "x"
}
group "gpu" {
  inherits = [group.compute]
}
subnet "nmn" {
  cidr = "10.1.0.0/24"
  pool "boot" {
    range  = "10.1.0.100-10.1.0.199"
    serves = "boot"
  }
}
subnet "hsn" {
  cidr    = "10.2.0.0/24"
  gateway = "10.2.0.1"
  dhcp    = "off"
}
node "c1" {
  subnet = subnet.nmn
  groups = [group.gpu]
  ids    = { xname = "x3000c0s17b4n0", nid = 4 }
  labels = { role = "Compute", subrole = "GPU" }
  interface "eth0" {
    mac  = "a4:bf:01:3e:c0:a2"
    boot = true
  }
  interface "hsn0" {
    mac     = "02:00:00:00:00:04"
    subnet  = subnet.hsn
    address = "10.2.0.4"
  }
}
node "c2" {
  subnet  = subnet.nmn
  groups  = [group.compute]
  mac     = "a4:bf:01:3e:c0:a3"
  arch    = "arm64"
  enabled = false
  boot    = "disk"
}
node "far" {
  subnet  = subnet.hsn
  mac     = "a4:bf:01:3e:c0:a4"
  address = "10.2.0.9"
  groups  = [group.gpu, group.compute]
}
`

func view(t testing.TB) *View {
	t.Helper()
	return viewOf(t, fleet)
}

func viewOf(t testing.TB, text string) *View {
	t.Helper()
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"f.boot.hcl": {Data: []byte(text)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	as := render.Artifacts{}
	for _, m := range f.Images {
		for _, x := range m.Files {
			as[x.File.ID()] = render.Artifact{URL: string(fact.NewLate(fact.LatePresign, f.Stores[0].S3.Object(x.File.Key).String()))}
		}
	}
	for _, l := range f.Loaders {
		as[l.File.ID()] = render.Artifact{Digest: fact.Digest(strings.Repeat("0", 64)), Size: 1}
	}
	s, ds := render.Render(f, as, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	seen := map[string]Seen{
		"a4:bf:01:3e:c0:a2": {Script: time.Unix(1000, 0), Config: time.Unix(1010, 0), Ready: true},
		"02:00:00:00:00:04": {Script: time.Unix(2000, 0), Stuck: true},
		"a4:bf:01:3e:c0:a3": {Script: time.Unix(3000, 0)},
	}
	return &View{Snapshot: s, Values: late.Values{Base: "http://10.1.0.1:8080"}, All: true, Seen: func(m fact.MAC) Seen { return seen[m.String()] }}
}

// TestShapes compares whole answers with golden files: they are what clients of a Boot Script Service read.
func TestShapes(t *testing.T) {
	v := view(t)
	for name, ask := range map[string]func() (any, *Problem){
		"bootparameters":   func() (any, *Problem) { return v.BootParameters(Filter{}) },
		"hosts":            func() (any, *Problem) { return v.Hosts(Filter{}) },
		"endpoint-history": func() (any, *Problem) { return v.History("", "") },
		"network-config": func() (any, *Problem) {
			all := map[string]json.RawMessage{}
			for i := range v.Snapshot.Fleet().Nodes {
				n := &v.Snapshot.Fleet().Nodes[i]
				all[string(n.Name)], _ = v.NetworkConfig(n)
			}
			return all, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, problem := ask()
			if problem != nil {
				t.Fatal(problem)
			}
			b, err := json.MarshalIndent(got, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := "testdata/" + name + ".json"
			if *update {
				if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(b)+"\n"); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestWhoSeesWhat: a node sees itself by each of its names, and is told nothing of others, not even whether they exist.
func TestWhoSeesWhat(t *testing.T) {
	for _, tt := range []struct {
		own    string
		query  string
		status int // 0: ok
		hosts  string
	}{
		{"c1", "", 0, "x3000c0s17b4n0"},
		{"c1", "name=c1&name=x3000c0s17b4n0&nid=4&mac=A4BF013EC0A2&mac=02-00-00-00-00-04", 0, "x3000c0s17b4n0 x3000c0s17b4n0 x3000c0s17b4n0 x3000c0s17b4n0 x3000c0s17b4n0"},
		{"c1", "name=c2", http.StatusForbidden, ""},
		{"c1", "name=nobody", http.StatusForbidden, ""},
		{"c1", "name=c1,c2", http.StatusForbidden, ""},
		{"", "", http.StatusForbidden, ""},
		{"", "name=c1", http.StatusForbidden, ""},
		{"gone", "", http.StatusForbidden, ""},
		{"all", "", 0, "x3000c0s17b4n0 c2 far"},
		{"all", "name=far,,c2&nid=", 0, "far c2"},
		{"all", "name=nobody", http.StatusNotFound, ""},
		{"all", "nid=05", http.StatusNotFound, ""},
		{"all", "nid=four", http.StatusBadRequest, ""},
		{"all", "mac=zz", http.StatusBadRequest, ""},
		{"all", "mac=00:00:00:00:00:00", http.StatusBadRequest, ""},
		{"all", "mac=%", http.StatusBadRequest, ""},
		{"c1", strings.Repeat("nid=4&", mostOwnNames+1), http.StatusBadRequest, ""},
	} {
		v := view(t)
		if v.All = tt.own == "all"; !v.All {
			v.Own = fact.NodeName(tt.own)
		}
		f, problem := ParseFilter(tt.query, nil)
		var list []Host
		if problem == nil {
			list, problem = v.Hosts(f)
		}
		var ids []string
		for _, h := range list {
			ids = append(ids, h.ID)
		}
		status := 0
		if problem != nil {
			status = problem.Status
		}
		if got := strings.Join(ids, " "); got != tt.hosts || status != tt.status {
			t.Errorf("%s asks for %q: %q, %d; want %q, %d", tt.own, tt.query, got, status, tt.hosts, tt.status)
		}
	}
}

// TestInstanceID: it stays, but for another machine and another installation.
func TestInstanceID(t *testing.T) {
	text := strings.Replace(fleet, `labels = { role`, "boot = \"install-once\"\n  labels = { role", 1)
	v := viewOf(t, text)
	id := func(as map[fact.NodeName]*render.Assignment) string {
		w := *v
		w.Snapshot = v.Snapshot.Assign(render.Assignments{Nodes: as})
		n, _ := w.Snapshot.Whose(render.Query{Name: "c1"})
		return w.instanceID(n)
	}
	mac, _ := fact.ParseMAC("a4:bf:01:3e:c0:a2")
	done := func(boot fact.BootID, d fact.Digest) map[fact.NodeName]*render.Assignment {
		return map[fact.NodeName]*render.Assignment{"c1": {Installed: render.Installed{Digest: d, MAC: mac, Boot: boot}}}
	}
	steps := []string{id(nil), id(done("B1", "x")), id(done("B1", "")), id(done("B2", "x"))}
	for i := range steps {
		for j := range i {
			if steps[i] == steps[j] {
				t.Errorf("steps %d and %d: %s", i, j, steps[i])
			}
		}
	}
	if again := id(done("B2", "x")); again != steps[3] {
		t.Errorf("it changes by itself: %s, %s", steps[3], again)
	}
	if a, b := instance("n", fact.MAC{2}, ""), instance("n", fact.MAC{4}, ""); a == b {
		t.Error("another machine under the same name has the same id")
	}
}

// FuzzFilter: whatever is asked, a machine sees itself or nothing.
func FuzzFilter(f *testing.F) {
	for _, q := range []string{"", "name=c1", "mac=a4:bf:01:3e:c0:a2,02-00-00-00-00-04&nid=4", "nid=-1", "name=%", "name=x3000c0s17b4n0;c2"} {
		f.Add(q, "")
	}
	f.Add("", `{"hosts": ["c1"], "macs": ["a4bf013ec0a2"], "nids": [4]}`)
	f.Add("", `{"nids": ["x", 1e99]}`)
	v := view(f)
	v.All, v.Own = false, "c1"
	f.Fuzz(func(t *testing.T, query, body string) {
		filter, problem := ParseFilter(query, []byte(body))
		if problem != nil {
			if problem.Status != http.StatusBadRequest || len(filter.Queries) > 0 {
				t.Errorf("%+v, %+v", filter, problem)
			}
			return
		}
		list, problem := v.BootParameters(filter)
		if (problem == nil) == (len(list) == 0) {
			t.Errorf("%+v, %+v", list, problem)
		}
		for _, p := range list {
			if cmp.Diff([]string{"x3000c0s17b4n0"}, p.Hosts) != "" {
				t.Errorf("%+v", p)
			}
		}
	})
}
