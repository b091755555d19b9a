package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/examples"
)

// A command in a document is a line in a fenced block marked sh, or a line "$ COMMAND" in one marked console; there, the
// lines below it are what it prints, with "..." for any number of lines. Nothing below it: what it prints is not compared,
// but it must succeed. A block that a test cannot run, because it needs root, a network or another machine, says so in a
// comment before the fence:
//
//	<!-- not run: needs an interface with machines behind it -->
//
// Its hostler commands must exist nevertheless, and have the flags that are used. The commands of one document run in
// order in one folder, which begins with a copy of examples, and beside a server that serves examples/lab.
type command struct {
	doc    string
	line   int
	args   string // what a shell is given
	output []string
	notRun bool
}

var notRun = regexp.MustCompile(`^<!-- not run: \S.* -->$`)

func commands(doc, text string) (found []command) {
	fence, skip := "", false // the opening line of the block that we are in
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```") && fence == "":
			fence = line
		case strings.HasPrefix(line, "```"):
			fence, skip = "", false
		case fence == "```sh" && line != "":
			found = append(found, command{doc: doc, line: i + 1, args: line, notRun: skip})
		case fence == "```console" && strings.HasPrefix(line, "$ "):
			found = append(found, command{doc: doc, line: i + 1, args: line[2:], notRun: skip})
		case fence == "```console" && len(found) > 0:
			last := &found[len(found)-1]
			last.output = append(last.output, line)
		case fence == "" && strings.TrimSpace(line) != "":
			skip = notRun.MatchString(line)
		}
	}
	return found
}

func TestCommandsInDocuments(t *testing.T) {
	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin, "../cmd/hostler")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", build, err, out)
	}
	lab, err := examples.NewLab(t.Context(), filepath.Join(bin, "hostler"), "lab", false)
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	if err := lab.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, doc := range documents(t) {
		cmds := commands(doc, read(t, doc))
		if doc == "README.md" && len(cmds) == 0 {
			t.Error("README.md shows no command")
		}
		t.Run(doc, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")); err != nil {
				t.Fatal(err)
			}
			for _, c := range cmds {
				c.check(t, lab, bin, dir)
			}
		})
	}
}

func (c command) check(t *testing.T, lab *examples.Lab, bin, dir string) {
	t.Helper()
	// What a reader has under these names, the lab has under others.
	args := strings.NewReplacer("go run ./cmd/hostler", "hostler", "boots c007", "boots bios1", "/srv/fleet", lab.Repo, "/backup/", dir+"/").Replace(c.args)
	if rest, ok := strings.CutPrefix(args, "make "); ok {
		target, _, _ := strings.Cut(rest, " ")
		if !strings.Contains(read(t, "Makefile"), "\n"+target+":") {
			t.Errorf("%s:%d: the Makefile has no target %q", c.doc, c.line, target)
		}
		return // make test runs this test, and a test boots what make demo does
	}
	if c.notRun {
		c.checkFlags(t, bin, args)
		return
	}
	out, err := shell(t, lab, bin, dir, args)
	if err != nil {
		t.Errorf("%s:%d: %s: %v\n%s", c.doc, c.line, c.args, err, out)
		return
	}
	if want := strings.TrimRight(strings.Join(c.output, "\n"), "\n"); want != "" && !like(out, want) {
		t.Errorf("%s:%d: %s prints something else (- document, + program):\n%s", c.doc, c.line, c.args, cmp.Diff(want, strings.TrimRight(out, "\n")))
	}
}

func shell(t *testing.T, lab *examples.Lab, bin, dir, line string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "NO_COLOR=1", "COLUMNS=120",
		"HOSTLER_SOCKET="+filepath.Join(lab.State, "admin.sock"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// like compares output with what a document shows of it.
func like(out, want string) bool {
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for _, line := range strings.Split(want, "\n") {
		if strings.TrimSpace(line) == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
		} else {
			pattern.WriteString(regexp.QuoteMeta(strings.TrimRight(line, " ")) + ` *\n`)
		}
	}
	pattern.WriteString(`\n*$`)
	return regexp.MustCompile(pattern.String()).MatchString(strings.TrimRight(out, "\n") + "\n")
}

var hostlerCommand = regexp.MustCompile(`(?:^|[|;&(] ?|sudo )(?:bin/)?hostler ([a-z]+(?: backup| bss)?)((?: [^|;&]*)?)`)

// checkFlags holds a command that is not run against the program's own help.
func (c command) checkFlags(t *testing.T, bin, args string) {
	t.Helper()
	for _, m := range hostlerCommand.FindAllStringSubmatch(args, -1) {
		help, _ := exec.Command(filepath.Join(bin, "hostler"), append(strings.Fields(m[1]), "-help")...).CombinedOutput()
		if !strings.Contains(string(help), "hostler "+m[1]) {
			t.Errorf("%s:%d: there is no command %q: -help says %q", c.doc, c.line, m[1], help)
			continue
		}
		options, _, _ := strings.Cut(m[2], "#")
		for _, word := range strings.Fields(options) {
			if !strings.HasPrefix(word, "-") {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimLeft(word, "-"), "=")
			if !regexp.MustCompile(`(?m)^\s*-` + regexp.QuoteMeta(name) + `\b`).Match(help) {
				t.Errorf("%s:%d: %s has no flag -%s", c.doc, c.line, m[1], name)
			}
		}
	}
}

func TestCommandSyntax(t *testing.T) {
	text := "```console\n$ hostler version\nv1\n...\n$ hostler plan\n```\n\n<!-- not run: needs machines -->\n```console\n$ hostler serve -interface=eth1 .\n```\n```hcl\n$ no\n```\n```sh\nmake demo # x\n```\n"
	got := commands("x.md", text)
	want := []command{
		{doc: "x.md", line: 2, args: "hostler version", output: []string{"v1", "..."}},
		{doc: "x.md", line: 5, args: "hostler plan"},
		{doc: "x.md", line: 10, args: "hostler serve -interface=eth1 .", notRun: true},
		{doc: "x.md", line: 16, args: "make demo # x"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(command{})); d != "" {
		t.Errorf("commands of a document (-want +got):\n%s", d)
	}
	for _, c := range []struct {
		out, want string
		like      bool
	}{
		{"a\nb\n", "a\nb", true},
		{"a\nb\nc\n", "a\n...\nc", true},
		{"a\nc\n", "a\n...\nc", true},
		{"a\nb\n", "a", false},
		{"a\nb\n", "a\n...", true},
		{"x\na\n", "a", false},
	} {
		if got := like(c.out, c.want); got != c.like {
			t.Error(fmt.Sprintf("%q like %q", c.out, c.want), got)
		}
	}
}
