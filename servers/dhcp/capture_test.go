package dhcp

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render/fact"
)

var update = flag.Bool("update", false, "write what the tests expect anew")

var captures = filepath.Join("testdata", "requests.txtar")

// TestCaptures decodes what real clients sent.
func TestCaptures(t *testing.T) {
	a, err := txtar.ParseFile(captures)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(a.Files); i += 2 {
		name, isHex := strings.CutSuffix(a.Files[i].Name, ".hex")
		if !isHex || a.Files[i+1].Name != name+".facts" {
			t.Fatalf("%s: want NAME.hex and NAME.facts in turn", a.Files[i].Name)
		}
		t.Run(name, func(t *testing.T) {
			req, err := dhcpv4.FromBytes(unhex(t, a.Files[i].Data))
			if err != nil {
				t.Fatal(err)
			}
			f, err := factsOf(req, fact.Ingress{})
			if err != nil {
				t.Fatal(err)
			}
			got := factsText(&f)
			if *update {
				a.Files[i+1].Data = []byte(got)
			} else if d := cmp.Diff(string(a.Files[i+1].Data), got); d != "" {
				t.Error(d)
			}
		})
	}
	if *update {
		if err := os.WriteFile(captures, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// unhex reads hexadecimal lines; those that begin with # are comments.
func unhex(t testing.TB, text []byte) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// factsText writes the facts that were given, a line each.
func factsText(f *fact.Facts) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Client: %s\n", f.Client())
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		if field := v.Field(i); !field.IsZero() {
			format := "%s: %v\n"
			if field.Kind() == reflect.String {
				format = "%s: %q\n"
			}
			fmt.Fprintf(&b, format, v.Type().Field(i).Name, field.Interface())
		}
	}
	return b.String()
}
