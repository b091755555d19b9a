package httpd

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestRackPullsAtOnce has forty machines fetch a file through a link of 200 Mbit/s, and one more with fifty connections: all of the forty are
// done at about the same time, and by then that one got less than all of them together: half to four fifths of it, and without a bound for one
// client two and a half times as much. Boot scripts come while they fetch. Time is compared with time of the same run only: the processors may be busy.
func TestRackPullsAtOnce(t *testing.T) {
	if os.Getenv("HOSTLER_TEST_NAMESPACE") == "" {
		again(t, "TestRackPullsAtOnce")
		return
	}
	far := namespaceOf(t)
	const machines, greedy = 40, 50
	run(t, "ip link set lo up")
	run(t, "ip link add srva type veth peer name clia netns "+far)
	run(t, "ip link set srva up")
	run(t, "ip addr add 10.1.0.1/16 dev srva")
	run(t, "nsenter -t "+far+" -n ip link set clia up")
	for i := range machines + 2 {
		run(t, fmt.Sprintf("nsenter -t %s -n ip addr add 10.1.1.%d/16 dev clia", far, i+1))
	}
	run(t, "tc qdisc add dev srva root handle 1: tbf rate 200mbit burst 64k limit 400k")
	start(t, func(c *Config) { c.Addr = netip.MustParseAddrPort("10.1.0.1:8080") })
	path := "/files/" + string(digest(contents["initrd-2"])) + "/initrd"

	stop := make(chan bool)
	var hogs, pulls sync.WaitGroup
	var taken atomic.Int64
	for range greedy {
		c := counted{dialFrom(t, far, "10.1.1.42"), &taken}
		hogs.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if fetchRaw(c, path, len(contents["initrd-2"])) != nil {
					return
				}
			}
		})
	}
	took := make([]time.Duration, machines)
	began := time.Now()
	for i := range machines {
		c := dialFrom(t, far, fmt.Sprintf("10.1.1.%d", i+1))
		pulls.Go(func() {
			if err := fetchRaw(c, path, len(contents["initrd-2"])); err != nil {
				t.Error(err)
			}
			took[i] = time.Since(began)
		})
	}
	var slowest time.Duration
	scripts := 0
	c := dialFrom(t, far, "10.1.1.41")
	done := make(chan bool)
	go func() { pulls.Wait(); close(done) }()
	for running := true; running; scripts++ {
		at := time.Now()
		if err := fetchRaw(c, "/boot/v1/bootscript?mac=52:54:00:00:00:01", 0); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(at))
		select {
		case <-done:
			running = false
		default:
		}
	}
	close(stop)
	slices.Sort(took)
	theirs, greed := int64(machines*len(contents["initrd-2"])), taken.Load()
	if last := took[machines-1]; greed > theirs || last > took[machines/2]*3/2 || slowest > last/5 || scripts < 10 {
		t.Error("that is not a fair share")
	}
	t.Logf("%d machines got %d bytes: first in %v, median %v, last %v; one got %d; %d scripts meanwhile, the slowest in %v",
		machines, theirs, took[0], took[machines/2], took[machines-1], greed, scripts, slowest)
}

// counted adds up what is read.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

func again(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+name+"$", "-test.v")
	cmd.Env = append(os.Environ(), "HOSTLER_TEST_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in the namespace: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// namespaceOf starts a process in a network namespace of its own, and gives its number.
func namespaceOf(t *testing.T) string {
	t.Helper()
	far := exec.Command("sleep", "60")
	far.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET} // not bound to the thread that starts it: dialFrom ends threads
	if err := far.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		far.Process.Kill()
		far.Wait()
	})
	return fmt.Sprint(far.Process.Pid)
}

func run(t *testing.T, line string) {
	t.Helper()
	args := strings.Fields(line)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
}

// dialFrom connects from another namespace, whose process is known, with an address there.
func dialFrom(t *testing.T, pid, from string) (conn net.Conn) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine and takes its namespace with it
		fd, err := unix.Open("/proc/"+pid+"/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
			conn, err = d.Dial("tcp4", "10.1.0.1:8080")
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// fetchRaw fetches on a connection that is kept; 0: of any length.
func fetchRaw(c net.Conn, path string, size int) error {
	if err := c.SetDeadline(time.Now().Add(40 * time.Second)); err != nil {
		return err
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: boot\r\n\r\n"); err != nil {
		return err
	}
	buf := make([]byte, 64<<10)
	n, head := 0, -1
	for want := 1 << 62; n < want; {
		m, err := c.Read(buf[min(n, 4096):])
		if err != nil {
			return err
		}
		if n += m; head < 0 {
			text, _, ok := strings.Cut(string(buf[:n]), "\r\n\r\n")
			if !ok {
				continue
			}
			_, length, _ := strings.Cut(text, "Content-Length: ")
			body := 0
			fmt.Sscan(length, &body)
			if size > 0 && body != size {
				return fmt.Errorf("%s", text)
			}
			head = len(text) + 4
			want = head + body
		}
	}
	return nil
}
