package dhcp

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render/fact"
)

// capture is what firmware sent.
type capture struct {
	name string // of the boot and the packet in it
	data []byte
}

// firmwarePackets are the DHCP messages of the boots in testdata/captures.
func firmwarePackets(t testing.TB) (ps []capture) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/captures/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no captures of firmware", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			if name, ok := strings.CutSuffix(f.Name, ".dhcp"); ok {
				ps = append(ps, capture{strings.TrimSuffix(filepath.Base(file), ".txtar") + " " + name, unhex(t, f.Data)})
			}
		}
	}
	return ps
}

// What each kind of firmware says of itself, and each program that it loads: the inputs of every decision.
func TestFirmware(t *testing.T) {
	var got strings.Builder
	for _, p := range firmwarePackets(t) {
		req, err := dhcpv4.FromBytes(p.data)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		f, err := factsOf(req, fact.Ingress{})
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		got.WriteString("-- " + p.name + " --\n" + factsText(&f))
	}
	golden := filepath.Join("testdata", "firmware.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
}
