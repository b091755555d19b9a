package kind

import (
	"fmt"
	"strings"
)

// kickstart checks that every section ends, and that nothing but sections follows where Anaconda would take a script's line for a
// command. What the commands mean only pykickstart knows.
func kickstart(_ *Checker, _, text string) []Problem {
	var ps []Problem
	open, since := "", 0
	for i, line := range strings.Split(text, "\n") {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(word, "%") {
			continue
		}
		switch word {
		case "%end":
			if open == "" {
				ps = append(ps, Problem{i + 1, "%end ends no section"})
			}
			open = ""
		case "%include", "%ksappend":
		case "%packages", "%pre", "%pre-install", "%post", "%onerror", "%traceback", "%addon", "%anaconda", "%certificate":
			if open != "" {
				ps = append(ps, Problem{i + 1, fmt.Sprintf("%s begins inside %s of line %d, which has no %%end", word, open, since)})
			}
			open, since = word, i+1
		default:
			if open == "" {
				ps = append(ps, Problem{i + 1, fmt.Sprintf("kickstart has no section %q", shorten(word))})
			}
		}
	}
	if open != "" {
		ps = append(ps, Problem{since, open + " has no %end"})
	}
	return ps
}

// preseedTypes are those of debconf's questions.
const preseedTypes = " boolean multiselect note password select string text title seen "

// preseed checks the form of each line: owner, question, type and value. debconf-set-selections says the same, and no more.
func preseed(_ *Checker, _, text string) []Problem {
	var ps []Problem
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		at, line := i+1, lines[i]
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + lines[i]
		}
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(fields[0], "#"):
		case len(fields) < 3:
			ps = append(ps, Problem{at, "it is not a line of the form: owner question type value"})
		case !strings.Contains(preseedTypes, " "+fields[2]+" "):
			ps = append(ps, Problem{at, fmt.Sprintf("%q is not a type of question", shorten(fields[2]))})
		case fields[2] == "boolean" && len(fields) > 3 && fields[3] != "true" && fields[3] != "false":
			ps = append(ps, Problem{at, fmt.Sprintf("%s is %q, and a boolean is true or false", shorten(fields[1]), shorten(fields[3]))})
		}
	}
	return ps
}
