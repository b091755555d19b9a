package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const readme = "../../README.md"

// readmeBlock is the fenced block behind a marker, with where it stands.
func readmeBlock(t *testing.T, text, name string) (block string, start, end int) {
	t.Helper()
	mark := strings.Index(text, "<!-- readme:"+name+" -->")
	if mark < 0 {
		t.Fatalf("README.md has no block %q", name)
	}
	fence := mark + strings.Index(text[mark:], "```")
	start = fence + strings.IndexByte(text[fence:], '\n') + 1
	end = start + strings.Index(text[start:], "```")
	return text[start:end], start, end
}

// TestReadmePlan holds what the README says that a plan prints against what it prints, for the spec that the README shows.
func TestReadmePlan(t *testing.T) {
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	spec, _, _ := readmeBlock(t, text, "spec")
	dir := t.TempDir()
	table := "name,mac,address\n"
	for i := 1; i <= 40; i++ {
		table += fmt.Sprintf("c%03d,52:54:00:10:16:%02x,10.10.16.%d\n", i, i, i+10)
	}
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("rack1.csv", table)
	write("fleet.boot.hcl", spec)
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=A. Meier", "-c", "user.email=a.meier@example.net"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE=2026-11-01T12:00:00Z", "GIT_COMMITTER_DATE=2026-11-01T12:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-qm", "rack1")
	write("fleet.boot.hcl", strings.Replace(spec, "hugepages = 512", "hugepages = 1024", 1))
	out, err := exec.Command("hostler", "plan", "-base=main", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("hostler plan: %v\n%s", err, out)
	}
	got := strings.TrimRight(string(out), "\n") + "\n"
	want, start, end := readmeBlock(t, text, "plan")
	if *update {
		if err := os.WriteFile(readme, []byte(text[:start]+got+text[end:]), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the plan in README.md is not what hostler prints (-README +hostler):\n%s", diff)
	}
}
