package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/spec/kind"
)

// checked remembers which texts were looked at, by sameText. Most fleets have few: those of nodes that differ only in their own names and
// addresses are the same here.
type checked struct {
	checker *kind.Checker
	right   map[textKey]bool // whether the text had no mistake
}

type textKey [sha256.Size]byte

// nodeTexts executes the templates of every node, checks what they give, and keeps their digests.
func (p *parser) nodeTexts() {
	if len(p.templates) == 0 {
		return
	}
	p.checked = checked{checker: &kind.Checker{}, right: map[textKey]bool{}}
	if p.mem != nil && p.mem.checked.checker != nil {
		p.checked.checker = p.mem.checked.checker
		// Nodes whose texts are kept are not looked at. What has gathered over many commits is forgotten, and looked at again.
		if p.mem.templating == p.templating && len(p.mem.checked.right) <= 8*len(p.fleet.Nodes)+1000 {
			maps.Copy(p.checked.right, p.mem.checked.right)
		}
	}
	for i := range p.fleet.Nodes {
		n := &p.fleet.Nodes[i]
		if x := p.nodeList[i]; x.keepTexts {
			n.Texts = p.mem.fleet.Nodes[x.before].Texts
			continue
		}
		s := p.fleet.Effective(n)
		for _, name := range s.templates() {
			p.nodeText(n, name, &s)
		}
	}
}

func (p *parser) nodeText(n *Node, name string, s *Settings) {
	i := slices.IndexFunc(p.fleet.Templates, func(t Template) bool { return t.Name == name })
	t := &p.fleet.Templates[i]
	text, err := p.fleet.execute(p.templates[name], t, s.Vars, n)
	if err != nil {
		p.rep.addUpTo(1, Diagnostic{Severity: Error, Code: "template-error", Summary: "Template does not execute", Place: &t.Place,
			Detail:  fmt.Sprintf("template.%s, executed for %s: %s.", name, n.Address, err),
			Related: []Related{{Text: "The node is here.", Place: n.Place}}})
		return
	}
	if image := p.fleet.Profiles[n.Profile].Image; image != "" {
		p.checkLate(text, image, placeSpot(t.Place), "template."+name)
	}
	secrets := text.Secrets()
	if len(secrets) > 0 && t.Kind == "ipxe" {
		p.rep.addUpTo(1, Diagnostic{Severity: Error, Code: "secret-in-script", Summary: "Secret in a boot script", Place: &t.Place,
			Detail: fmt.Sprintf("template.%s holds secret(%q). Anybody may fetch a boot script. Put the secret into a template of another kind, which only the booting machine gets, and its address into the script with self_url.", name, secrets[0])})
	}
	p.checkText(t, n, s.use(name), text)
	sum := sha256.Sum256([]byte(text))
	n.Texts = append(n.Texts, NodeText{Template: name, Digest: fact.Digest(hex.EncodeToString(sum[:])), Size: len(text), Secrets: secrets})
}

// checkText holds a text against what its kind must be.
func (p *parser) checkText(t *Template, n *Node, use string, text fact.Text) {
	if !slices.Contains(kind.Names(), t.Kind) {
		return
	}
	filled := Sample(text)
	key := sameText(t.Kind+" "+use, filled, n)
	if p.mem != nil && p.mem.checked.right[key] {
		p.checked.right[key] = true
	}
	if _, known := p.checked.right[key]; known {
		return
	}
	problems := p.checked.checker.Check(t.Kind, use, filled)
	p.checked.right[key] = len(problems) == 0
	for _, x := range problems {
		p.rep.add(t.Diagnose(n, filled, x))
	}
}

// Sample is a text as a machine might get it, with examples for what is only known when one asks. A secret's is right as text and as base64.
func Sample(t fact.Text) string {
	return t.Fill(func(k fact.Late, _ string) string {
		switch k {
		case fact.LateSecret:
			return "c2VjcmV0"
		case fact.LateServer:
			return "192.0.2.1"
		case fact.LateBoot:
			return "01J00000000000000000000000.AAAAAAAAAAAAAAAAAAAAAAAAAA"
		case fact.LateRetries:
			return "0"
		}
		return "http://192.0.2.1/" + string(k)
	})
}

// sameText is the same for texts that differ only in the names and addresses of their nodes. Those that would be read as something else
// than a word, such as 101 or no, stay.
func sameText(what, text string, n *Node) textKey {
	pairs := make([]string, 0, 16)
	add := func(s, mark string) {
		if wordlike.MatchString(s) {
			pairs = append(pairs, s, "\x00"+mark)
		}
	}
	for _, i := range n.Interfaces {
		add(i.MAC.String(), "mac")
		add(i.Hostname, "hostname")
		add(addrText(i.Addr), "address")
	}
	for _, id := range n.IDs {
		add(id.Value, "id."+id.Name)
	}
	add(string(n.Name), "name")
	return sha256.Sum256([]byte(what + "\x00" + strings.NewReplacer(pairs...).Replace(text)))
}

// wordlike is a name that YAML takes for a word, a MAC or an IPv4 address.
var wordlike = regexp.MustCompile(`^([a-zA-Z][a-zA-Z_-]*[0-9.][a-zA-Z0-9._-]*|[a-zA-Z]+[_-][a-zA-Z0-9._-]*|[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9]+(\.[0-9]+){3})$`)

// Diagnose says what is wrong with a text that was made for a node, by Sample.
func (t *Template) Diagnose(n *Node, text string, x kind.Problem) Diagnostic {
	d := Diagnostic{Severity: Error, Code: "bad-configuration", Summary: "Configuration is not valid", Place: &t.Place,
		Related: []Related{{Text: "The node is here.", Place: n.Place}}}
	where := ""
	if lines := strings.Split(text, "\n"); x.Line > 0 && x.Line <= len(lines) {
		where = fmt.Sprintf(", line %d", x.Line)
		if at := t.lineOf(lines[x.Line-1]); at != nil {
			d.Place, d.Snippet = at, t.snippet(at)
		}
	}
	what := "template." + t.Name
	if t.File != what {
		what += " (" + t.File + ")"
	}
	d.Detail = fmt.Sprintf("%s, of kind %s, as %s gets it%s: %s.", what, t.Kind, n.Address, where, x.Text)
	return d
}

var holes = regexp.MustCompile(`\{\{.*?\}\}|[$%]\{.*?\}`)

// lineOf is the line of the template's file that gave a line of its text: the only one that is like it, holes aside. nil when that does not tell.
func (t *Template) lineOf(line string) *Place {
	if t.File == "template."+t.Name || strings.TrimSpace(line) == "" {
		return nil
	}
	var found *Place
	for i, source := range strings.Split(t.Source, "\n") {
		if !fits(line, holes.Split(strings.TrimRight(source, "\r"), -1)) {
			continue
		}
		if found != nil {
			return nil
		}
		indent := len(source) - len(strings.TrimLeft(source, " \t"))
		found = &Place{File: t.File, Line: i + 1, Column: indent + 1, EndLine: i + 1, EndColumn: len([]rune(source)) + 1}
	}
	return found
}

func (t *Template) snippet(at *Place) *Snippet {
	line := strings.TrimRight(strings.Split(t.Source, "\n")[at.Line-1], "\r")
	if len(line) > 500 { // not a line that helps anyone
		return nil
	}
	return &Snippet{Code: line, Start: at.Column - 1, End: len(line)}
}

// fits reports whether a line consists of the literal parts of a template's line, in their order, with anything between them.
func fits(line string, parts []string) bool {
	if strings.TrimSpace(strings.Join(parts, "")) == "" { // nothing but holes fits everything
		return false
	}
	if len(parts) == 1 {
		return line == parts[0]
	}
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(line, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}
