package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// largeFleet is examples/lab with n machines in its table, on a /12.
func (l *lab) largeFleet(b testing.TB, n int) (repo, spec string) {
	repo = l.repository()
	var table strings.Builder
	table.WriteString("name,mac,address,firmware\nbios1," + machineMAC + ",10.77.0.11,bios\n")
	for i := range n - 1 {
		fmt.Fprintf(&table, "c%06d,52:54:01:%02x:%02x:%02x,10.%d.%d.%d,uefi\n", i, i>>16, i>>8&255, i&255, 64+i>>16, i>>8&255, i&255)
	}
	text := strings.Replace(table.String(), "10.64.0.0,", ",", 1) // the network's own address
	if err := os.WriteFile(filepath.Join(repo, "machines.csv"), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	spec = filepath.Join(repo, "lab.boot.hcl")
	edit(b, spec, `cidr    = "10.77.0.0/24"`, `cidr    = "10.64.0.0/12"`)
	edit(b, spec, `range  = "10.77.0.10-10.77.0.99"`, `range  = ["10.64.0.1-10.77.0.0", "10.77.0.10-10.77.0.99"]`)
	l.commit(repo, "many machines")
	return repo, spec
}

// serveAll serves the repository, and gives the machine an address once a revision is in force.
func (l *lab) serveAll(repo string, flags ...string) *running {
	s := l.serve(append(flags, "-var", "files="+l.files(), repo)...)
	s.eventually("the first revision", func() bool {
		out, _ := s.hostler("status")
		return strings.Contains(out, "served since")
	})
	l.lease()
	return s
}

// inNamespace runs f in a thread of its own inside the namespace: sockets that f opens belong there.
func inNamespace(name string, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine and takes its namespace with it
		fd, err := unix.Open("/run/netns/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// waitForScript asks for the script again and again, until it is there and holds the text.
func waitForScript(want string) error {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		text, err := rawGet("10.77.0.1:8080", "/boot/v1/bootscript?mac="+machineMAC)
		if err == nil && strings.Contains(text, "#!ipxe") && strings.Contains(text, want) {
			return nil
		}
	}
	return fmt.Errorf("waited a minute for %q", want)
}

// rawGet dials in the calling thread, which net/http does not.
func rawGet(addr, path string) (string, error) {
	c, err := net.DialTimeout("tcp4", addr, 5*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintf(c, "GET %s HTTP/1.0\r\n\r\n", path)
	var text strings.Builder
	buf := make([]byte, 8192)
	for {
		n, err := c.Read(buf)
		text.Write(buf[:n])
		if err != nil {
			return text.String(), nil
		}
	}
}

// BenchmarkBootScripts is `wrk -t1 -c16` against the boot HTTP server: one machine's script with its token, then those of all machines in
// turn, and in the same run the limit: a bare net/http handler that writes as many bytes. The processor time that the serving process takes for
// a script says more on a machine with other work than the rate does: wrk shares the processors.
func BenchmarkBootScripts(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			l := newLab(b)
			repo, _ := l.largeFleet(b, n)
			s := l.serveAll(repo)
			l.bare([]byte(l.script(machineMAC)))
			own, all, bare := load{pid: s.cmd.Process.Pid}, load{pid: s.cmd.Process.Pid}, load{pid: os.Getpid()}
			for b.Loop() {
				own.run(l, "http://10.77.0.1:8080/boot/v1/bootscript?mac="+machineMAC)
				all.run(l, "-s", l.everyMachine(n), "http://10.77.0.1:8080")
				bare.run(l, "http://10.77.0.1:8081/")
			}
			own.report(b, "own")
			all.report(b, "all")
			bare.report(b, "bare")
		})
	}
}

// load is what rounds of wrk against a process came to.
type load struct {
	pid         int
	rates, each []float64 // requests a second; microseconds of processor time for one
}

func (v *load) run(l *lab, args ...string) {
	before := processorTime(l.t, v.pid)
	n, rate := l.wrk(args...)
	v.rates = append(v.rates, rate)
	v.each = append(v.each, float64((processorTime(l.t, v.pid)-before).Microseconds())/float64(n))
}

func (v *load) report(b *testing.B, name string) {
	b.ReportMetric(median(v.rates), name+"/s")
	b.ReportMetric(median(v.each), name+"-us")
}

// processorTime is what a process has used so far, in steps of ten milliseconds (proc_pid_stat(5), fields 14 and 15).
func processorTime(t testing.TB, pid int) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// bare serves bytes by net/http alone.
func (l *lab) bare(body []byte) {
	l.t.Helper()
	var on net.Listener
	if err := inNamespace(l.server, func() (err error) { on, err = net.Listen("tcp4", "10.77.0.1:8081"); return err }); err != nil {
		l.t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })}
	done := make(chan error)
	go func() { done <- server.Serve(on) }()
	l.t.Cleanup(func() { server.Close(); <-done })
}

// everyMachine is a script of wrk's that asks for the machines of largeFleet in turn, in strides, so that no cache knows the next.
func (l *lab) everyMachine(n int) string {
	l.t.Helper()
	name := filepath.Join(l.dir, "all.lua")
	text := fmt.Sprintf("local i = 0\nfunction request()\n  i = (i + 7919) %% %d\n"+
		"  local mac = string.format('52:54:01:%%02x:%%02x:%%02x', math.floor(i / 65536), math.floor(i / 256) %% 256, i %% 256)\n"+
		"  return wrk.format('GET', '/boot/v1/bootscript?mac=' .. mac)\nend\n", n-1)
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return name
}

var wrkRate = regexp.MustCompile(`(\d+) requests in (?s:.*)Requests/sec:\s+([0-9.]+)`)

// wrk gives how many requests were answered, and how many a second.
func (l *lab) wrk(args ...string) (requests int, rate float64) {
	l.t.Helper()
	out, err := exec.Command("ip", append([]string{"netns", "exec", l.machine, "wrk", "-t1", "-c16", "-d5s"}, args...)...).CombinedOutput()
	if err != nil {
		l.t.Fatalf("wrk: %v\n%s", err, out)
	}
	m := wrkRate.FindSubmatch(out)
	if m == nil || strings.Contains(string(out), "Non-2xx") {
		l.t.Fatalf("wrk says:\n%s", out)
	}
	requests, _ = strconv.Atoi(string(m[1]))
	rate, _ = strconv.ParseFloat(string(m[2]), 64)
	return requests, rate
}

// nginx serves a directory beside hostler, tuned as its documentation says for files: sendfile, no access log, a worker for each processor.
func (l *lab) nginx(root string) {
	l.t.Helper()
	config := filepath.Join(l.dir, "nginx.conf")
	text := "user root; worker_processes auto; daemon off; pid " + l.dir + "/nginx.pid; error_log stderr;\n" +
		"events { worker_connections 1024; }\n" +
		"http { access_log off; sendfile on; tcp_nopush on; open_file_cache max=100; keepalive_requests 1000000;\n" +
		"  server { listen 10.77.0.1:8081 reuseport; root " + root + "; } }\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", l.server, "nginx", "-c", config)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt) // its master ends the workers
		cmd.Wait()
	})
}

// BenchmarkFiles fetches a kernel of 32 MiB over and over, from hostler and from nginx in turn, with 1 and with 64 connections.
func BenchmarkFiles(b *testing.B) {
	for _, conns := range []string{"1", "64"} {
		b.Run(conns, func(b *testing.B) {
			l := newLab(b)
			_, path := l.serveLarge("-config=" + l.config("http_per_client = 64"))
			l.nginx(filepath.Join(l.dir, "files"))
			var ours, theirs []float64
			for b.Loop() {
				ours = append(ours, l.wrkBytes(conns, "http://10.77.0.1:8080"+path))
				theirs = append(theirs, l.wrkBytes(conns, "http://10.77.0.1:8081/vmlinuz"))
			}
			b.ReportMetric(median(ours), "MB/s")
			b.ReportMetric(median(theirs), "nginx-MB/s")
		})
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

var wrkTransfer = regexp.MustCompile(`Transfer/sec: +([0-9.]+)([KMG])B`)

// wrkBytes is how many megabytes came in a second.
func (l *lab) wrkBytes(conns, url string) float64 {
	out, err := exec.Command("ip", "netns", "exec", l.machine, "wrk", "-t1", "-c"+conns, "-d5s", url).CombinedOutput()
	m := wrkTransfer.FindSubmatch(out)
	if err != nil || m == nil || strings.Contains(string(out), "Non-2xx") {
		l.t.Fatalf("wrk: %v\n%s", err, out)
	}
	n, _ := strconv.ParseFloat(string(m[1]), 64)
	return n * map[string]float64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[string(m[2])] / 1e6
}
