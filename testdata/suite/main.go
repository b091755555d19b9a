// Command suite runs every test of the repository, reads go test -json, prints what failed, and ends with one line that
// counts. A skipped test is a failure: what is not tested shall not look tested. It runs no two things at once that would
// disturb each other's timing: first the packages, with the race detector; then the virtual machines; then each
// fuzz target for a moment.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fuzz := flag.Duration("fuzz", 4*time.Second, "how long to run each fuzz target; 0 for none")
	only := flag.Bool("only-fuzz", false, "run the fuzz targets only")
	flag.Parse()
	os.Exit(run(ctx, *fuzz, *only))
}

// pkg is what go list says of a package.
type pkg struct {
	ImportPath                string
	Dir                       string
	TestGoFiles, XTestGoFiles []string
}

func run(ctx context.Context, fuzz time.Duration, onlyFuzz bool) int {
	s := newSuite(ctx, os.Stdout)
	pkgs, err := list(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "listing packages:", err)
		return 1
	}
	if !onlyFuzz {
		var plain, machines []string
		for _, p := range pkgs {
			// examples/... boots machines: software emulation at half speed would only wait longer.
			if strings.HasPrefix(p.ImportPath, "hostler/examples") {
				machines = append(machines, p.ImportPath)
			} else {
				plain = append(plain, p.ImportPath)
			}
		}
		s.test(append([]string{"-race", "-timeout=30m"}, plain...)...)
		// Uncached: the cache does not know that these tests build and run the program.
		s.test(append([]string{"-count=1", "-p=1", "-timeout=20m"}, machines...)...)
	}
	if fuzz > 0 {
		for _, p := range pkgs {
			for _, target := range p.fuzzTargets() {
				s.fuzz(p.ImportPath, target, fuzz)
			}
		}
	}
	return s.result()
}

// result prints the one line of counts. Nothing but passed tests, and at least one, is a success.
func (s *suite) result() int {
	fmt.Fprintf(s.out, "%d passed, %d failed, %d skipped\n", s.pass, s.fail, s.skip)
	if s.fail > 0 || s.skip > 0 || s.pass == 0 {
		return 1
	}
	return 0
}

func list(ctx context.Context) ([]pkg, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles", "./...", "./testdata/suite", "./testdata/bench")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
}

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w*)\(`)

func (p pkg) fuzzTargets() (names []string) {
	for _, file := range append(p.TestGoFiles, p.XTestGoFiles...) {
		text, err := os.ReadFile(filepath.Join(p.Dir, file))
		if err != nil {
			continue // go test says so, too
		}
		for _, m := range fuzzTarget.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// suite counts.
type suite struct {
	ctx              context.Context
	out              io.Writer
	pass, fail, skip int
	failed           map[string]bool     // packages in which a test was counted as failed
	output           map[string][]string // what a running test, a package or a build printed
}

func newSuite(ctx context.Context, out io.Writer) *suite {
	return &suite{ctx: ctx, out: out, failed: map[string]bool{}, output: map[string][]string{}}
}

// event is a line of go test -json; see go doc test2json.
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Elapsed    float64
	Output     string
}

// test runs go test -json and counts what it says.
func (s *suite) test(args ...string) {
	cmd := exec.CommandContext(s.ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that tests clean up
	cmd.WaitDelay = time.Minute
	cmd.Stderr = os.Stderr
	before := s.fail
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.broken(args, err)
		return
	}
	s.read(stdout)
	if err := cmd.Wait(); err != nil && s.fail == before {
		s.broken(args, err)
	}
}

// fuzz runs a fuzz target for a moment, from its seeds alone: what earlier runs found lies outside the repository, and would make
// every run another one. When the time is over while an input is still being tried, go test may say "context deadline exceeded" and
// fail without an input that does (golang/go #75804): that says nothing, and is tried again.
func (s *suite) fuzz(pkg, target string, length time.Duration) {
	cache, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		s.broken([]string{target}, err)
		return
	}
	defer os.RemoveAll(cache)
	args := []string{"-run=^$", "-fuzz=^" + target + "$", "-fuzztime=" + length.String(), pkg, "-args", "-test.fuzzcachedir=" + cache}
	for range 2 {
		var out strings.Builder
		try := newSuite(s.ctx, &out)
		try.test(args...)
		if try.fail > 0 && strings.Contains(out.String(), "context deadline exceeded") && !strings.Contains(out.String(), "Failing input written") {
			continue
		}
		fmt.Fprint(s.out, out.String())
		s.pass, s.fail, s.skip = s.pass+try.pass, s.fail+try.fail, s.skip+try.skip
		return
	}
	s.test(args...)
}

// read counts what go test -json says, to its end.
func (s *suite) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, readErr := lines.ReadBytes('\n')
		var e event
		if json.Unmarshal(line, &e) == nil {
			s.note(e)
		} else {
			s.out.Write(line)
		}
		if readErr != nil {
			return
		}
	}
}

// broken counts a go test that ended badly without saying which test did.
func (s *suite) broken(args []string, err error) {
	s.fail++
	fmt.Fprintf(s.out, "FAIL go test %s: %v\n", strings.Join(args, " "), err)
}

func (s *suite) note(e event) {
	key := e.Package + e.ImportPath + " " + e.Test
	switch e.Action {
	case "output", "build-output":
		s.output[key] = append(s.output[key], e.Output)
		return
	case "build-fail":
		s.print(key)
	case "pass":
		if e.Test != "" {
			s.pass++
		} else {
			fmt.Fprintf(s.out, "ok   %s %.1fs\n", e.Package, e.Elapsed)
		}
	case "fail":
		s.failure(e, key)
	case "skip":
		if e.Test != "" {
			s.skip++
			fmt.Fprintf(s.out, "SKIP %s %s\n", e.Package, e.Test)
			s.print(key)
		}
	default: // run, pause, cont, start, bench
		return
	}
	delete(s.output, key)
}

// failure counts a failed test; a package fails of its own only when none of its tests did: it does not build, or panics.
func (s *suite) failure(e event, key string) {
	if e.Test == "" && s.failed[e.Package] {
		fmt.Fprintf(s.out, "FAIL %s %.1fs\n", e.Package, e.Elapsed)
		return
	}
	s.fail++
	s.failed[e.Package] = true
	fmt.Fprintf(s.out, "FAIL %s %s (%.1fs)\n", e.Package, e.Test, e.Elapsed)
	s.print(key)
}

func (s *suite) print(key string) {
	for _, text := range s.output[key] {
		fmt.Fprint(s.out, "    ", text)
	}
}
