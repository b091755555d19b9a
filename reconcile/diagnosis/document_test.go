package diagnosis

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the rules in docs/diagnosis.md")

const document = "../../docs/diagnosis.md"

// The symptoms that operators of clusters reported most, by their number in the catalogue. What is not among them, hostler makes impossible or
// does not see.
var catalogue = map[int]string{
	1:  "PXE-E18, PXE-E99: the relay (ip helper) is missing or wrong",
	2:  "A DISCOVER is sent, and nothing arrives at the server",
	3:  "Offered, and never requested",
	4:  "The offer leaves with another source address than the server's",
	5:  "The server runs and answers nobody",
	8:  "DECLINE storms, \"duplicate address detected\", a pool that walks up one by one",
	9:  "Addresses do not match DNS: a second DHCP server",
	10: "A node asks by several of its network cards",
	11: "TFTP: \"server response has timed out\"",
	12: "TFTP works sometimes",
	13: "The loader is empty, damaged, or for another processor",
	14: "A TFTP client opens with tsize=0 and aborts (this is healthy)",
	17: "iPXE: \"No configuration methods succeeded\"",
	20: "The boot script is a 404",
	21: "Sleep and chain without an end",
	22: "\"Could not start download\"",
	23: "\"Initramfs unpacking failed: invalid magic\", VFS panic",
	24: "The name of the initrd is not found",
	28: "dracut: initqueue timeout, an emergency shell",
	31: "Booted, and not reachable",
}

// TestCatalogue holds that every symptom is covered by a rule, and every rule's number is one.
func TestCatalogue(t *testing.T) {
	covered := map[int]bool{}
	for _, r := range Rules() {
		for _, n := range r.Symptoms {
			covered[n] = true
			if catalogue[n] == "" {
				t.Errorf("rule %s: there is no symptom %d", r.Name, n)
			}
		}
	}
	for n, text := range catalogue {
		if !covered[n] {
			t.Errorf("no rule for symptom %d, %s", n, text)
		}
	}
}

func rulesText() string {
	var b strings.Builder
	for _, r := range Rules() {
		fmt.Fprintf(&b, "### %s\n\n%s.\n\n", r.Name, r.Sees)
		fmt.Fprintf(&b, "- Cause: %s.\n- Do: %s\n", r.Cause, strings.TrimSuffix(r.Advice, "."))
		for _, n := range r.Symptoms {
			fmt.Fprintf(&b, "- Symptom %d: %s\n", n, catalogue[n])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// TestDocument holds the document against the table.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(text), "\n## The rules\n\n")
	if !ok {
		t.Fatal("docs/diagnosis.md has no section The rules")
	}
	want := head + "\n## The rules\n\nIn the order in which they are asked; the first that holds is told.\n\n" + strings.TrimRight(rulesText(), "\n") + "\n"
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("docs/diagnosis.md is not the table (go test ./reconcile/diagnosis -update rewrites it):\n%s", diff)
	}
}
