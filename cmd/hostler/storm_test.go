package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/bootsim/wire"
	"hostler/render/fact"
)

// stormSpec is a room of machines, half with addresses of their own and half from a pool, a third with UEFI.
func stormSpec(machines int) (spec, table string) {
	spec = `spec {
  language = 1
}
variable "files" { type = string }
store "lab" {
  local { path = var.files }
}
image "live" {
  file "kernel" {
    store = store.lab
    key   = "kernel"
  }
  file "initrd" {
    store = store.lab
    key   = "initrd"
  }
}
subnet "room" {
  cidr = "10.77.0.0/16"
  pool "declared" {
    range  = "10.77.64.0-10.77.127.255"
    serves = "reserved"
  }
  pool "boot" {
    range  = "10.77.128.0-10.77.191.255"
    serves = "boot"
  }
}
node "room" {
  for_each = { for r in tabledecode("room.csv") : r.name => r }
  name     = each.key
  subnet   = subnet.room
  mac      = each.value.mac
  address  = each.value.address == "" ? null : each.value.address
  firmware = each.value.firmware
  image    = image.live
}
`
	var b strings.Builder
	b.WriteString("name,mac,address,firmware\n")
	for i := range machines {
		address, firmware := "", "bios"
		if i%2 == 0 {
			address = fmt.Sprintf("10.77.%d.%d", 64+i/250, 1+i%250)
		}
		if i%3 == 0 {
			firmware = "uefi"
		}
		fmt.Fprintf(&b, "m%05d,52:54:01:%02x:%02x:%02x,%s,%s\n", i, i>>16, i>>8&255, i&255, address, firmware)
	}
	return spec, b.String()
}

// stormLab serves a room of machines, whose kernel and initrd have the sizes.
func stormLab(t testing.TB, machines, kernel, initrd int) (l *lab, s *running, repo, files string) {
	t.Helper()
	l = newLab(t)
	must(t, "ip", "-n", l.server, "addr", "replace", "10.77.0.1/16", "dev", "eth0")
	must(t, "ip", "-n", l.server, "addr", "del", "10.77.0.1/24", "dev", "eth0")
	repo, files = filepath.Join(l.dir, "room"), filepath.Join(l.dir, "images")
	spec, table := stormSpec(machines)
	write := func(name string, text []byte) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	noise := func(n int) []byte { b := make([]byte, n); rand.Read(b); return b }
	write(filepath.Join(repo, "room.boot.hcl"), []byte(spec))
	write(filepath.Join(repo, "room.csv"), []byte(table))
	write(filepath.Join(files, "kernel"), noise(kernel))
	write(filepath.Join(files, "initrd"), noise(initrd))
	return l, l.serve("-var", "files="+files, repo), repo, files
}

// storm boots the room, and gives the report.
func (l *lab) storm(repo, files string, more ...string) (r wire.Report, out string, err error) {
	out, err = l.inMachine("hostler", append([]string{"storm", "-interface=eth0", "-var", "files=" + files, "-json", repo}, more...)...)
	if jerr := json.Unmarshal([]byte(out), &r); jerr != nil {
		l.t.Fatalf("storm: %v: %v\n%s", err, jerr, out)
	}
	return r, out, err
}

var stormMachines = flag.Int("storm-machines", 10_000, "how many machines BenchmarkStorm boots")

// BenchmarkStorm is a machine room after a power cut: 10,000 machines that are switched on over two minutes, with the pauses and time-outs of
// real firmware, a kernel of 1 MB and an initrd of 4 MB. It fails when one is not ready or gets a wrong byte.
func BenchmarkStorm(b *testing.B) {
	neighbours := "net.ipv4.neigh.default.gc_thresh3" // all on one segment, so the server needs to know as many
	old := strings.TrimSpace(must(b, "sysctl", "-n", neighbours))
	must(b, "sysctl", "-q", "-w", neighbours+"=65536")
	b.Cleanup(func() { must(b, "sysctl", "-q", "-w", neighbours+"="+old) })
	l, s, repo, files := stormLab(b, *stormMachines, 1_000_000, 4_000_000)
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), "ip", "netns", "exec", l.machine, "hostler", "storm", "-interface=eth0", "-var", "files="+files, "-over=2m", "-force", repo)
		out, err := cmd.CombinedOutput()
		b.Logf("%s", out)
		if err != nil {
			b.Fatal(err)
		}
	}
	status, _ := s.hostler("status")
	b.Log(status)
	peak, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err == nil {
		b.Log(regexp.MustCompile(`VmHWM.*`).FindString(string(peak)))
	}
}

// TestStorm switches a room on: nothing may be lost, and the server must have seen what the machines say they did.
func TestStorm(t *testing.T) {
	released(t)
	const machines, kernel, initrd = 120, 200_000, 500_000
	l, s, repo, files := stormLab(t, machines, kernel, initrd)
	r, out, err := l.storm(repo, files, "-over=1s", "-hurry")
	if err != nil || r.Ready != machines || len(r.Failures) > 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	counts := map[string]int{}
	for _, st := range r.Stages {
		counts[st.Stage] = st.Count
	}
	want := map[string]int{"offer": 2 * machines, "ack": 2 * machines, "loader": machines, "script": machines, "kernel": machines,
		"initrd": machines, "ready": machines, "boot": machines}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("stages, -want +got:\n%s", diff)
	}
	if r.Files != 3*machines || r.Bytes < machines*(kernel+initrd) {
		t.Errorf("%d files with %d bytes", r.Files, r.Bytes)
	}
	nodes, _ := s.hostler("nodes", "-json")
	if got := strings.Count(nodes, `"ready"`); got < machines {
		t.Errorf("the server knows of %d ready machines:\n%.1000s", got, nodes)
	}

	t.Run("live machines are refused", func(t *testing.T) {
		out, code := s.hostler("storm", "-interface=eth0", "-var", "files="+files, repo)
		if want := "hostler: storm: 52:54:01:00:00:00 holds the lease of 10.77.64.1 until "; code != exitError || !strings.HasPrefix(out, want) {
			t.Errorf("exit %d: %s", code, out)
		}
	})
	t.Run("again at once", func(t *testing.T) {
		if r, out, err := l.storm(repo, files, "-over=0s", "-hurry", "-machines=20", "-force", "-patience=30s"); err != nil || r.Ready != 20 {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a server that is dead", func(t *testing.T) {
		s.kill(9)
		r, out, err := l.storm(repo, files, "-over=0s", "-hurry", "-machines=5", "-patience=2s")
		want := []wire.Failure{{Reason: "given up: context deadline exceeded", Machines: 5}}
		for i := range r.Failures {
			r.Failures[i].Example = [6]byte{}
		}
		if diff := cmp.Diff(want, r.Failures); diff != "" || err == nil || r.Resent > 0 {
			t.Errorf("-want +got:\n%s\n%v %s", diff, err, out)
		}
	})
}

func TestPrintStorm(t *testing.T) {
	var out bytes.Buffer
	env := &environment{stdout: &out}
	ms := time.Millisecond
	env.printStorm(wire.Report{
		Machines: 1000, Ready: 998, Elapsed: 41_234_567_890, Files: 2994, Bytes: 1_100_000_000, Resent: 1,
		Stages: []wire.StageTimes{
			{Stage: "offer", Count: 2000, P50: 151 * time.Microsecond, P90: 1234 * time.Microsecond, P99: 68_840 * time.Microsecond, Max: 153_700 * time.Microsecond},
			{Stage: "boot", Count: 998, P50: 2600 * ms, P90: 8220 * ms, P99: 84_700 * ms, Max: 123_456 * ms},
		},
		Failures: []wire.Failure{{Reason: "kernel: 404 Not Found", Machines: 2, Example: fact.MAC{0x52, 0x54, 0, 0x77, 0, 1}}},
	})
	want := `998 of 1,000 machines became ready in 41.235s.
2,994 files with 1.1 GB, every byte as its digest says. 1 DHCP message sent again.

STAGE  COUNT  P50    P90     P99     MAX
offer  2,000  151µs  1.23ms  68.8ms  154ms
boot   998    2.6s   8.22s   84.7s   123s

2 machines, among them 52:54:00:77:00:01: kernel: 404 Not Found
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
