package render_test

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	gocmp "github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

// signature is what a store adds to a URL to make it a credential for a while.
var signature = regexp.MustCompile(`\?X-Amz-\S*`)

// TestScriptOfDocument: the script that HPE's document "Healthy Compute Node Boot Process" shows of a Boot Script Service is
// what a fleet of that node gives, byte for byte but for signatures, and for the MAC in its last line, which in the document
// is another machine's.
func TestScriptOfDocument(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("testdata/bss/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	const mac = "a4:bf:01:3e:c0:a2"
	want := signature.ReplaceAllString(read("document.ipxe"), "")
	want = strings.ReplaceAll(want, "mac=a4:bf:01:3e:f9:28&retry=1", "mac="+mac+"&retry=1")

	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"fleet.boot.hcl": {Data: []byte(read("fleet.boot.hcl"))}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	as := observe(f, "")
	for _, x := range f.Images[0].Files {
		as[x.File.ID()] = render.Artifact{URL: f.Stores[0].URL + x.File.Key}
	}
	s, ds := render.Render(f, as, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	m, _ := fact.ParseMAC(mac)
	base := late.Base{Advertised: "https://api-gw-service-nmn.local/apis/bss"}
	for _, q := range []render.Query{{MAC: m}, {Name: "nid000004"}, {Name: "x3000c0s17b4n0"}, {NID: "4"}} {
		got := late.Fill(s.Script(q, 0).Text, late.Values{Base: base.URL(netip.Addr{})})
		if d := gocmp.Diff(want, got); d != "" {
			t.Errorf("%+v: -document +ours:\n%s", q, d)
		}
	}
}
