package inbox

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"hostler/render/fact"
)

var oui = flag.String("oui", "", "make the table of vendors from the IEEE's oui.csv")

// companyForm is what stands behind a vendor's name and tells nobody anything.
var companyForm = regexp.MustCompile(`(?i)[,. ]*\b(inc|incorporated|ltd|limited|llc|l\.l\.c|corp|corporate|corporation|co|company|gmbh|ag|kg|sa|s\.a|spa|s\.p\.a|bv|b\.v|ab|oy|as|a/s|srl|s\.r\.l|sas|pty|plc|pvt|private|p/l|kk|k\.k)\b[.) ]*$`)

func shortVendor(name string) string {
	name = fact.Printable(strings.Join(strings.Fields(name), " "))
	for {
		short := strings.Trim(companyForm.ReplaceAllString(name, ""), " ,.(")
		if short == name || short == "" {
			break
		}
		name = short
	}
	if len(name) > 40 {
		name = strings.TrimSpace(strings.ToValidUTF8(name[:40], ""))
	}
	return name
}

func makeVendors(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return err
	}
	blocks := map[string][]string{}
	for _, r := range rows[1:] {
		if r[0] != "MA-L" || r[2] == "IEEE Registration Authority" || r[2] == "Private" { // cut into smaller blocks, or secret
			continue
		}
		name := shortVendor(r[2])
		blocks[name] = append(blocks[name], strings.ToLower(r[1]))
	}
	var text bytes.Buffer
	z, _ := gzip.NewWriterLevel(&text, gzip.BestCompression)
	for _, name := range slices.Sorted(maps.Keys(blocks)) {
		slices.Sort(blocks[name])
		fmt.Fprintf(z, "%s\t%s\n", name, strings.Join(blocks[name], " "))
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile("vendors.gz", text.Bytes(), 0o644)
}

func TestVendors(t *testing.T) {
	if *oui != "" {
		if err := makeVendors(*oui); err != nil {
			t.Fatal(err)
		}
		t.Log("made vendors.gz: run the test again")
		return
	}
	if len(vendors) > 400_000 {
		t.Errorf("the table takes %d bytes of the program", len(vendors))
	}
	for mac, want := range map[string]string{
		"00:00:0c:00:00:01": "Cisco Systems", "a4:bf:01:3e:c0:a2": "Intel", "b8:27:eb:00:00:01": "Raspberry Pi Foundation", "00:25:b5:00:00:01": "Cisco Systems",
		"52:54:00:00:00:01": "locally administered", "00:00:5e:00:00:01": "ICANN, IANA Department",
	} {
		m, err := fact.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		machines := []Machine{{MAC: m}}
		if nameVendors(machines); machines[0].Vendor != want {
			t.Errorf("%s: got %q, want %q", mac, machines[0].Vendor, want)
		}
	}
}
