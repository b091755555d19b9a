package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hostler/render"
	"hostler/spec"
	"hostler/spec/kind"
)

// The bounds of programs that check texts. Only a person or CI runs them, and never the server.
const (
	programTime  = 20 * time.Second // for one text
	programsTime = 2 * time.Minute  // for all
	programSays  = 64 << 10         // bytes of what it says; the rest is dropped
)

// program is a checker that is part of no library.
type program struct {
	kind, name, from string
	args             []string
	problem          *regexp.Regexp           // in what it says: a line number, and what is wrong
	harmless         *regexp.Regexp           // of what it says, although it fails; nil: nothing is
	skip             func(text string) string // why it must not see a text; nil: it may see each
}

func programs() []program {
	return []program{
		{kind: "kickstart", name: "ksvalidator", from: "pykickstart",
			problem: regexp.MustCompile(`on line (\d+) of the kickstart file:\s+([^\n]+)`), skip: appends},
		{kind: "preseed", name: "debconf-set-selections", from: "debconf", args: []string{"-c"},
			problem:  regexp.MustCompile(`(?:error: parse error on|warning: .* skipping) line (\d+)(?:: )?([^\n]*)`),
			harmless: regexp.MustCompile(`error: Cannot find a question for [^\n]*\n`)}, // an installer's, which this host does not have
	}
}

// appends keeps texts from ksvalidator for which it would read other files, or fetch them.
func appends(text string) string {
	if strings.Contains(text, "%ksappend") {
		return "it has %ksappend, for which ksvalidator would read other files"
	}
	return ""
}

// checkByPrograms gives each distinct text of the kinds that have a program to it. A program that is not there is worth a warning.
func checkByPrograms(ctx context.Context, s *render.Snapshot) (ds spec.Diagnostics) {
	ctx, cancel := context.WithTimeout(ctx, programsTime)
	defer cancel()
	for _, p := range programs() {
		texts := textsOf(s, p.kind)
		if len(texts) == 0 {
			continue
		}
		path, err := exec.LookPath(p.name)
		if err != nil {
			ds = append(ds, p.left(fmt.Sprintf("%s is not installed here, so that %s of kind %s were not given to it. It is part of %s.", p.name, plural(len(texts), "text"), p.kind, p.from)))
			continue
		}
		for i, x := range texts {
			if ctx.Err() != nil {
				return append(ds, p.left(fmt.Sprintf("After %s, %s of kind %s were not given to %s.", programsTime, plural(len(texts)-i, "text"), p.kind, p.name)))
			}
			ds = append(ds, p.judge(ctx, path, x)...)
		}
	}
	return ds
}

// judge gives one text to the program.
func (p *program) judge(ctx context.Context, path string, x madeText) (ds spec.Diagnostics) {
	if p.skip != nil {
		if why := p.skip(x.text); why != "" {
			return append(ds, p.left(fmt.Sprintf("template.%s was not given to %s: %s.", x.template.Name, p.name, why)))
		}
	}
	problems, err := p.check(ctx, path, x.text)
	if err != nil {
		return append(ds, p.left(fmt.Sprintf("template.%s: running %s: %v.", x.template.Name, p.name, err)))
	}
	for _, problem := range problems {
		ds = append(ds, x.template.Diagnose(x.node, x.text, problem))
	}
	return ds
}

func (p *program) left(detail string) spec.Diagnostic {
	return spec.Diagnostic{Severity: spec.Warning, Code: "not-checked-by-program", Summary: "Text is not checked further", Detail: detail}
}

// madeText is a text of a template, and the first node that gets it.
type madeText struct {
	template *spec.Template
	node     *spec.Node
	text     string
}

// textsOf are the distinct texts of a kind.
func textsOf(s *render.Snapshot, kind string) (texts []madeText) {
	f, seen := s.Fleet(), map[[sha256.Size]byte]bool{}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		for _, x := range n.Texts {
			k := slices.IndexFunc(f.Templates, func(t spec.Template) bool { return t.Name == x.Template && t.Kind == kind })
			if k < 0 {
				continue
			}
			file, err := s.Config(n.Name, x.Template)
			if err != nil {
				continue // whoever made the snapshot has executed it
			}
			text := spec.Sample(file.Text)
			if key := sha256.Sum256([]byte(x.Template + "\x00" + text)); !seen[key] {
				seen[key] = true
				texts = append(texts, madeText{&f.Templates[k], n, text})
			}
		}
	}
	return texts
}

// check runs the program on a text, in an empty folder, with nothing of our environment.
func (p *program) check(ctx context.Context, path, text string) ([]kind.Problem, error) {
	dir, err := os.MkdirTemp("", "hostler-check-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	// debconf opens its database even to check; the machine's own may be in use.
	own := "Config: c\nTemplates: t\n\nName: c\nDriver: File\nFilename: " + dir + "/config.dat\n\nName: t\nDriver: File\nFilename: " + dir + "/templates.dat\n"
	for name, content := range map[string]string{"text": text, "debconf.conf": own} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, programTime)
	defer cancel()
	says := &saying{}
	cmd := exec.CommandContext(ctx, path, append(slices.Clone(p.args), filepath.Join(dir, "text"))...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = dir, says, says, time.Second
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "HOME=" + dir, "TMPDIR=" + dir, "DEBCONF_SYSTEMRC=" + filepath.Join(dir, "debconf.conf")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // and what it started
	err = cmd.Run()
	said := says.String()
	if p.harmless != nil && p.harmless.MatchString(said) {
		if said = p.harmless.ReplaceAllString(said, ""); strings.TrimSpace(said) == "" {
			return nil, nil
		}
	}
	problems := p.problems(said)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("it did not end within %s", programTime)
	case errors.As(err, &exit) && len(problems) == 0:
		first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
		return []kind.Problem{{Text: p.name + " refuses it: " + clean(first[:min(len(first), 200)])}}, nil
	case err != nil && exit == nil:
		return nil, err
	}
	return problems, nil
}

func (p *program) problems(says string) (problems []kind.Problem) {
	for _, m := range p.problem.FindAllStringSubmatch(says, 10) {
		line, err := strconv.Atoi(m[1])
		if err != nil {
			continue
		}
		what := clean(strings.TrimSuffix(strings.TrimSpace(m[2]), "."))
		if what == "" {
			what = clean(m[0])
		}
		problems = append(problems, kind.Problem{Line: line, Text: p.name + ": " + what})
	}
	return problems
}

// saying keeps the beginning of what a program says.
type saying struct{ bytes.Buffer }

func (s *saying) Write(b []byte) (int, error) {
	s.Buffer.Write(b[:max(0, min(len(b), programSays-s.Len()))])
	return len(b), nil
}
