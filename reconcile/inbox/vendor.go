package inbox

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/hex"
	"strings"
)

// vendors is the IEEE's public listing of address blocks (MA-L), in which the IEEE claims no copyright, with names cut short: on each line a
// vendor, a tab and the first three bytes of its addresses, in hexadecimal. TestVendors makes it from the IEEE's oui.csv.
//
//go:embed vendors.gz
var vendors []byte

// nameVendors fills in who made the machines' network cards. Nobody did where the address was made up. The table is read each time: it is
// asked for by people, and takes milliseconds.
func nameVendors(machines []Machine) {
	wanted := map[string][]*Machine{}
	for i := range machines {
		m := &machines[i]
		if m.MAC[0]&2 != 0 {
			m.Vendor = "locally administered"
			continue
		}
		block := hex.EncodeToString(m.MAC[:3])
		wanted[block] = append(wanted[block], m)
	}
	if len(wanted) == 0 {
		return
	}
	z, err := gzip.NewReader(bytes.NewReader(vendors))
	if err != nil {
		panic("inbox: the table of vendors: " + err.Error())
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, blocks, _ := strings.Cut(lines.Text(), "\t")
		for block := range strings.FieldsSeq(blocks) {
			for _, m := range wanted[block] {
				m.Vendor = name
			}
		}
	}
}
