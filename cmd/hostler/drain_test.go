package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// download is a machine in the middle of its kernel: it has asked for it, and reads when told to.
type download struct {
	conn net.Conn
	r    *bufio.Reader
}

func (l *lab) download(path string) *download {
	l.t.Helper()
	d := &download{}
	err := inNamespace(l.machine, func() (err error) { d.conn, err = net.DialTimeout("tcp4", "10.77.0.1:8080", 5*time.Second); return err })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { d.conn.Close() })
	d.conn.SetDeadline(time.Now().Add(30 * time.Second))
	d.conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	d.r = bufio.NewReader(d.conn)
	io.WriteString(d.conn, "GET "+path+" HTTP/1.1\r\nHost: boot\r\n\r\n")
	return d
}

// serveLarge serves a kernel that is more than the buffers of a connection hold, and gives its path.
func (l *lab) serveLarge(flags ...string) (s *running, path string) {
	l.t.Helper()
	repo, files := l.repository(), l.files()
	if err := os.WriteFile(filepath.Join(files, "vmlinuz"), make([]byte, 32<<20), 0o644); err != nil {
		l.t.Fatal(err)
	}
	s = l.serve(append(flags, "-var", "files="+files, repo)...)
	l.lease()
	_, rest, _ := strings.Cut(l.script(machineMAC), "http://10.77.0.1:8080")
	path, _, _ = strings.Cut(rest, " ")
	return s, path
}

// A server that is told to end lets a machine have the rest of its kernel, and takes nobody new.
func TestTermInTheMiddleOfADownload(t *testing.T) {
	l := newLab(t)
	s, path := l.serveLarge()
	d := l.download(path)
	resp, err := http.ReadResponse(d.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.eventually("the port to be closed", func() bool {
		out, err := l.inMachine("curl", "-sS", "--max-time", "2", "http://10.77.0.1:8080/healthz")
		return err != nil && strings.Contains(out, "Failed to connect")
	})
	if n, err := io.Copy(io.Discard, resp.Body); n != 32<<20 || err != nil {
		t.Errorf("the machine got %d bytes, %v", n, err)
	}
	<-s.done
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK || !strings.Contains(s.log.String(), "msg=stopped") {
		t.Errorf("the server ended with %d", code)
	}
}

// config writes a server configuration with a limit.
func (l *lab) config(limit string) string {
	l.t.Helper()
	name := filepath.Join(l.dir, "server.hcl")
	if err := os.WriteFile(name, []byte("limits {\n  "+limit+"\n}\n"), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return name
}

// It waits for http_drain and not longer, and not at all when it is told twice.
func TestDrainEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		drain  string
		twice  bool
		status string
	}{
		{"after its time", "1s", false, "exit status 0"},
		{"at once when told again", "1h", true, "signal: terminated"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t)
			s, path := l.serveLarge("-config=" + l.config(`http_drain = "`+tt.drain+`"`))
			d := l.download(path)
			if _, err := d.r.ReadByte(); err != nil { // and nothing more
				t.Fatal(err)
			}
			s.cmd.Process.Signal(syscall.SIGTERM)
			if tt.twice {
				s.eventually("the port to be closed", func() bool {
					_, err := l.inMachine("curl", "-sS", "--max-time", "2", "http://10.77.0.1:8080/healthz")
					return err != nil
				})
				s.cmd.Process.Signal(syscall.SIGTERM)
			}
			select {
			case <-s.done:
			case <-time.After(20 * time.Second):
				t.Fatal("the server still runs")
			}
			if got := s.cmd.ProcessState.String(); got != tt.status {
				t.Errorf("the server ended with %s, want %s", got, tt.status)
			}
		})
	}
}
