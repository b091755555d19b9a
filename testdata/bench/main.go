// Command bench is `make bench`: it measures hostler beside its peers, one after the other on the same machine in one run, and prints
// tables. Servers and load are processes of their own in two network namespaces with a cable between; state is on the disk that
// -dir is on. Figures of other runs and other machines are no comparison.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// bench is one run.
type bench struct {
	ctx     context.Context
	out     io.Writer
	log     io.Writer
	dir     string
	hostler string
	tools   string // where peers are unpacked
	rounds  int
	seconds int
	server  string // only those whose names begin so
}

// part is one of the things that are measured.
type part struct {
	name string
	run  func(*bench) error
}

// parts are in the order in which they run. Those that Go's testing package measures print what it prints.
func parts() []part {
	return []part{
		{"dhcp", (*bench).dhcp},
		{"storm", golang("./servers/dhcp", "Packet|Storm|Flood", "20000x")},
		{"tftp", golang("./servers/tftp", "Peers|Delay", "3x")},
		{"http", golang("./cmd/hostler", "BootScripts|Files", "3x")},
		{"commit", golang("./cmd/hostler", "CommitToWire|StartUp", "3x")},
		{"spec", golang("./spec", "100k", "1x")},
		{"render", golang("./render", ".", "1x")},
		{"ledger", golang("./reconcile/ledger", ".", "1s")},
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) int {
	if len(args) > 0 && args[0] == loopRole {
		return status(log, serveLoop(ctx, args[1]))
	}
	b := &bench{ctx: ctx, out: out, log: log}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(log)
	flags.StringVar(&b.hostler, "hostler", "bin/hostler", "the program to measure")
	flags.IntVar(&b.rounds, "rounds", 3, "how often each peer is measured; medians are printed")
	flags.IntVar(&b.seconds, "seconds", 2, "how long each rate is offered")
	only := flags.String("only", "", "the parts to run, with commas between; all of them if empty")
	flags.StringVar(&b.server, "server", "", "only the DHCP servers whose names begin so")
	base := flags.String("dir", "bin", "a folder on a disk, for state")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	return status(log, b.all(*base, strings.Split(*only, ",")))
}

func status(log io.Writer, err error) int {
	if err != nil {
		fmt.Fprintln(log, err)
		return 1
	}
	return 0
}

// all runs the parts, in a folder that is gone afterwards.
func (b *bench) all(base string, only []string) (err error) {
	if b.dir, err = os.MkdirTemp(base, "bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for _, path := range []*string{&b.dir, &b.hostler} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	b.tools = filepath.Join(cache, "hostler-lab", "peers")
	fmt.Fprintln(b.out, machine())
	for _, p := range parts() {
		if only[0] != "" && !strings.Contains(","+strings.Join(only, ",")+",", ","+p.name+",") {
			continue
		}
		fmt.Fprintf(b.out, "\n## %s\n\n", p.name)
		if err := p.run(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return b.ctx.Err()
}

// golang measures by Go's testing package.
func golang(pkg, pattern, times string) func(*bench) error {
	return func(b *bench) error {
		cmd := exec.CommandContext(b.ctx, "go", "test", pkg, "-run=^$", "-bench="+pattern, "-benchtime="+times, "-timeout=15m")
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(b.hostler)+":"+os.Getenv("PATH"))
		cmd.Stdout, cmd.Stderr = b.out, b.log
		return cmd.Run()
	}
}

// machine describes what the figures were measured on.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
				model = strings.TrimSpace(value)
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _ := os.ReadFile("/proc/loadavg")
	return fmt.Sprintf("%s, %d processors, Linux %s, %s, load before %s, %s", model, runtime.NumCPU(),
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.Join(strings.Fields(string(load))[:3], " "), time.Now().UTC().Format("2006-01-02 15:04"))
}
