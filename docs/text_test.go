package docs

import (
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// Every direct dependency says what it is for, in go.mod, where whoever wonders looks.
func TestDependenciesHaveReasons(t *testing.T) {
	requirement := regexp.MustCompile(`^\s*(?:require )?([^\s/]+\.[^\s/]+/\S+) v\S+(?:\s*// (.*))?$`)
	found := 0
	for _, line := range strings.Split(read(t, "go.mod"), "\n") {
		m := requirement.FindStringSubmatch(line)
		if m == nil || m[2] == "indirect" {
			continue
		}
		found++
		if m[2] == "" {
			t.Errorf("go.mod: %s has no reason beside it", m[1])
		}
	}
	if found < 10 {
		t.Errorf("found %d dependencies in go.mod", found)
	}
}

// The repository is the same on every machine: no path of somebody's own is in it.
func TestNoPathsOfOneMachine(t *testing.T) {
	own := regexp.MustCompile(`(?:^|[^\w.$}*])/(?:work|root|Users|home/[a-z]+)/[\w.]`)
	for _, name := range files(t) {
		text := read(t, name)
		if !utf8.ValidString(text) || name == "go.sum" {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			if m := own.FindString(line); m != "" {
				t.Errorf("%s:%d: %q is a path of one machine", name, i+1, strings.TrimSpace(m))
			}
		}
	}
}

func documents(t *testing.T) (names []string) {
	for _, name := range files(t) {
		if strings.HasSuffix(name, ".md") && !strings.Contains(name, "testdata/") {
			names = append(names, name)
		}
	}
	return names
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	all := map[string]bool{}
	for _, name := range files(t) {
		for ; name != "."; name = path.Dir(name) {
			all[name] = true
		}
	}
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(withoutCode(read(t, doc)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			file := doc
			if target != "" {
				file = path.Join(path.Dir(doc), target)
			}
			if !all[file] {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
				continue
			}
			if anchor != "" && strings.HasSuffix(file, ".md") && !hasHeading(read(t, file), anchor) {
				t.Errorf("%s links to %s: there is no such heading", doc, m[1])
			}
		}
	}
}

// withoutCode removes fenced blocks: brackets in them are no links.
func withoutCode(text string) string {
	var kept []string
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// hasHeading looks for a heading by the anchor that web sites make of it: lower case, blanks as hyphens, no punctuation.
func hasHeading(text, anchor string) bool {
	for _, line := range strings.Split(withoutCode(text), "\n") {
		title := strings.TrimLeft(line, "#")
		if title == line {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_':
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		if slug == anchor {
			return true
		}
	}
	return false
}
