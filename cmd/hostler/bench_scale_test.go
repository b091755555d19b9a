package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"hostler/reconcile/ledger"
	"hostler/render/fact"
)

// BenchmarkCommitToWire is the time from the end of `git commit` until the machine's script has the change: of one argument of all
// nodes, or of one row of the table. Beside the mean it reports percentiles, the stages of the last commit and the most memory that server
// and child had, in MB.
func BenchmarkCommitToWire(b *testing.B) {
	for _, what := range []string{"argument", "row"} {
		for _, n := range []int{2, 10_000, 100_000} {
			b.Run(what+"/"+strconv.Itoa(n), func(b *testing.B) { benchmarkCommit(b, n, what == "row") })
		}
	}
}

func benchmarkCommit(b *testing.B, n int, row bool) {
	l := newLab(b)
	repo, spec := l.largeFleet(b, n)
	table := filepath.Join(repo, "machines.csv")
	s := l.serveAll(repo)
	var took []time.Duration
	pages := 64
	for b.Loop() {
		b.StopTimer()
		want := ""
		if row {
			edit(b, table, machineMAC+",10.77.0."+strconv.Itoa(11+pages%2), machineMAC+",10.77.0."+strconv.Itoa(11+(pages+1)%2))
		} else {
			edit(b, spec, fmt.Sprintf("hugepages = %d", pages), fmt.Sprintf("hugepages = %d", pages+1))
			want = fmt.Sprintf("hugepages=%d ", pages+1)
		}
		pages++
		before := s.revision()
		l.commit(repo, "next")
		b.StartTimer()
		began := time.Now()
		err := inNamespace(l.machine, func() error { return waitForScript(want) })
		for row && err == nil && s.revision() == before {
			time.Sleep(2 * time.Millisecond)
		}
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[(len(took)*99-1)/100].Milliseconds()), "p99-ms")
	s.reportMemory(b)
	s.reportStages(b)
}

// BenchmarkCold is the time from the start of a server without state until it serves 100,000 nodes of a table.
func BenchmarkCold(b *testing.B) {
	l := newLab(b)
	repo, _ := l.largeFleet(b, 100_000)
	for b.Loop() {
		s := l.serveAll(repo)
		b.StopTimer()
		s.reportMemory(b)
		s.reportStages(b)
		s.kill(9)
		if err := os.RemoveAll(filepath.Join(l.dir, "state")); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkStartUp is the time from the start of a server with 100,000 nodes and 100,000 leases in its state, and its source gone, until
// a machine has its script.
func BenchmarkStartUp(b *testing.B) {
	l := newLab(b)
	repo, _ := l.largeFleet(b, 100_000)
	l.serveAll(repo).kill(9)
	l.manyLeases(100_000)
	if err := os.Rename(repo, repo+".gone"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := l.start("-var", "files="+l.files(), repo)
		if err := inNamespace(l.machine, func() error { return waitForScript("") }); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		s.reportMemory(b)
		s.kill(9)
		b.StartTimer()
	}
}

// manyLeases fills the server's state with leases of unknown machines.
func (l *lab) manyLeases(n int) {
	l.t.Helper()
	state := filepath.Join(l.dir, "state")
	store, err := ledger.Open(filepath.Join(state, "state.db"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer store.Close()
	leases, err := ledger.OpenLeases(state, store, ledger.SystemClock(), slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Fatal(err)
	}
	all := []fact.Range{{First: netip.MustParseAddr("10.80.0.0"), Last: netip.MustParseAddr("10.120.255.255")}}
	var wg sync.WaitGroup
	for i := range n {
		mac := fact.MAC{2, 1, 0, byte(i >> 16), byte(i >> 8), byte(i)}
		lease, err := leases.Offer(fact.Claim{MAC: mac, Subnet: "lab", Pool: "guests", Ranges: all, For: time.Hour})
		if err != nil {
			l.t.Fatal(err)
		}
		wg.Add(1)
		leases.Bind(lease, func(err error) {
			defer wg.Done()
			if err != nil {
				l.t.Error(err)
			}
		})
		if i%10_000 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
	_ = leases.Checkpoint(context.Background())
	if err := leases.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// revision is what the server serves, by its log.
func (r *running) revision() string {
	lines := strings.Split(r.log.String(), "revision applied")
	return lines[len(lines)-1]
}

// reportStages reports how long each stage of the last revision took, by the server's log.
func (r *running) reportStages(b *testing.B) {
	for _, word := range strings.Fields(r.revision()) {
		if stage, ok := strings.CutPrefix(word, "stages."); ok {
			name, text, _ := strings.Cut(stage, "=")
			if d, err := time.ParseDuration(text); err == nil {
				b.ReportMetric(float64(d.Milliseconds()), name+"-ms")
			}
		}
	}
}

// reportMemory reports the most memory that the server and its child had, in MB, and the processor time that they took.
func (r *running) reportMemory(b *testing.B) {
	pid := strconv.Itoa(r.cmd.Process.Pid)
	b.ReportMetric(peak(b, pid), "server-MB")
	b.ReportMetric(processor(b, pid), "server-cpu-s")
	sum, cpu := 0.0, 0.0
	tasks, _ := filepath.Glob("/proc/" + pid + "/task/*/children") // a child belongs to the thread that started it
	for _, t := range tasks {
		children, _ := os.ReadFile(t)
		for _, child := range strings.Fields(string(children)) {
			sum += peak(b, child)
			cpu += processor(b, child)
		}
	}
	b.ReportMetric(sum, "child-MB")
	b.ReportMetric(cpu, "child-cpu-s")
}

// processor is the time that a process took, user and system, in seconds: fields 14 and 15 of its stat, in hundredths.
func processor(b *testing.B, pid string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')'):])) // the third field is the second here
	user, _ := strconv.ParseFloat(fields[12], 64)
	system, _ := strconv.ParseFloat(fields[13], 64)
	return (user + system) / 100
}

func peak(b *testing.B, pid string) float64 {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kB / 1024
}
