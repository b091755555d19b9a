package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// usage is what a server takes of its host.
type usage struct {
	goroutines, files int
	resident          int64 // bytes of memory
	boots             int64 // bytes of the boots that are remembered
	state             int64 // bytes of the rest of the state directory
	entries           int   // in all of it
}

func (u usage) String() string {
	return fmt.Sprintf("%d goroutines, %d open files, %s of memory, %s of boots, %s of state otherwise, in %d files",
		u.goroutines, u.files, size(u.resident), size(u.boots), size(u.state), u.entries)
}

var goroutinesIn = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

// usage asks the kernel, and the server itself.
func (r *running) usage() (u usage) {
	r.t.Helper()
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			r.t.Fatal(err)
		}
		return n
	}
	scrape := must(r.t, "curl", "-sS", "--max-time", "10", "--unix-socket", r.socket, "http://hostler/metrics")
	m := goroutinesIn.FindStringSubmatch(scrape)
	if m == nil {
		r.t.Fatalf("no goroutines among the metrics:\n%.500s", scrape)
	}
	u.goroutines = number(m[1])
	proc := fmt.Sprintf("/proc/%d/", r.cmd.Process.Pid)
	files, err := os.ReadDir(proc + "fd")
	if err != nil {
		r.t.Fatal(err)
	}
	u.files = len(files)
	statm, err := os.ReadFile(proc + "statm")
	if err != nil {
		r.t.Fatal(err)
	}
	u.resident = int64(number(strings.Fields(string(statm))[1])) * int64(os.Getpagesize())
	err = filepath.WalkDir(filepath.Dir(r.socket), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // removed meanwhile
		}
		u.entries++
		info, err := d.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case strings.Contains(name, "/timeline/"):
			u.boots += info.Size()
		default:
			u.state += info.Size()
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

// mostBoots is what the timeline keeps at most, of nodes and of strangers.
const mostBoots = 320 << 20

// flat holds that what a server takes does not rise: of its usage at equal distances, the last quarter is not above the second by more than
// what comes and goes: a journal of 8 MiB is begun before the one before it is removed. The first quarter is not looked at: caches fill, and
// the collector finds its pace. The boots grow to a bound of their own.
func flat(t *testing.T, all []usage) {
	t.Helper()
	for i, u := range all {
		t.Logf("%3d%%: %s", 100*i/(len(all)-1), u)
	}
	most := func(part []usage) (m usage) {
		for _, u := range part {
			m.goroutines, m.files, m.entries = max(m.goroutines, u.goroutines), max(m.files, u.files), max(m.entries, u.entries)
			m.resident, m.state = max(m.resident, u.resident), max(m.state, u.state)
		}
		return m
	}
	q := len(all) / 4
	early, late := most(all[q:2*q+1]), most(all[len(all)-q:])
	if late.goroutines > early.goroutines+10 || late.files > early.files+10 || late.entries > early.entries+20 ||
		late.resident > early.resident+early.resident/2+16<<20 || late.state > early.state+early.state/5+16<<20 || late.boots > mostBoots {
		t.Errorf("rises, from\n%s to\n%s", early, late)
	}
}

// commits makes many commits of the room, each with another number of the round, as fast as git takes them. It gives the last.
func (l *lab) commits(repo string, from, n int) int {
	l.t.Helper()
	name := filepath.Join(repo, "room.boot.hcl")
	text, err := os.ReadFile(name)
	if err != nil {
		l.t.Fatal(err)
	}
	last := from + n
	var stream strings.Builder
	body := func(round int) string {
		return roundSet.ReplaceAllString(string(text), fmt.Sprintf("round = %d }", round))
	}
	for round := from + 1; round <= last; round++ {
		spec := body(round)
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter A. Meier <a.meier@example.net> %d +0000\ndata <<END\nround %d\nEND\n", 1_790_000_000+round, round)
		if round == from+1 {
			fmt.Fprintf(&stream, "from refs/heads/main^0\n")
		}
		fmt.Fprintf(&stream, "M 100644 inline room.boot.hcl\ndata %d\n%s\ncheckpoint\n", len(spec), spec)
	}
	cmd := exec.Command("git", "-C", repo, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("git fast-import: %v\n%s", err, out)
	}
	if err := os.WriteFile(name, []byte(body(last)), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return last
}

var roundSet = regexp.MustCompile(`round = \d+ }`)
