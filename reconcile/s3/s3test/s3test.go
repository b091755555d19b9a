// Package s3test runs a real S3 server, versitygw, for tests. It stands for S3: what it refuses, S3 refuses.
package s3test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hostler/reconcile/s3"
	"hostler/render/fact"
)

// The keys of every server, and the names of the environment variables that Getenv gives them by.
const (
	Access    = "HOSTLERTESTACCESS"
	Secret    = "hostler-test-secret-0123456789abcdef"
	AccessEnv = "S3_ACCESS_KEY"
	SecretEnv = "S3_SECRET_KEY"
	Region    = "default" // as Ceph's gateway calls its own
)

// Getenv knows the keys.
func Getenv(name string) string {
	return map[string]string{AccessEnv: Access, SecretEnv: Secret}[name]
}

// Server is a server with its folder of buckets.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT, or https with Certificate
	Dir      string // of the buckets
	CertFile string // with KeyFile, of a server that speaks TLS; else empty
	KeyFile  string
	Requests string // a file that each request adds a line to

	t    testing.TB
	addr string
	cmd  *exec.Cmd
	log  bytes.Buffer
	done chan struct{}
}

// New starts a server on loopback with some empty buckets. It ends with the test.
func New(t testing.TB, buckets ...string) *Server {
	t.Helper()
	s := Prepare(t, buckets...)
	s.Start()
	return s
}

// Prepare makes a server that does not run yet.
func Prepare(t testing.TB, buckets ...string) *Server {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	s := &Server{Endpoint: "http://" + addr, Dir: dir, Requests: filepath.Join(dir, "requests"), t: t, addr: addr}
	for _, b := range buckets {
		if err := os.MkdirAll(filepath.Join(s.Dir, "buckets", b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.Stop)
	return s
}

// Command is the server's program, listening on an address, which may be one of another network namespace.
func (s *Server) Command(addr string) *exec.Cmd {
	s.t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		s.t.Fatal(err)
	}
	program := filepath.Join(cache, "hostler-lab", "versitygw")
	if _, err := os.Stat(program); err != nil {
		s.t.Fatalf("the S3 server is not there (run make install): %v", err)
	}
	buckets, facts := filepath.Join(s.Dir, "buckets"), filepath.Join(s.Dir, "facts")
	if err := errors.Join(os.MkdirAll(buckets, 0o755), os.MkdirAll(facts, 0o755)); err != nil {
		s.t.Fatal(err)
	}
	args := []string{"--quiet", "--port", addr, "--region", Region, "--access-log", s.Requests}
	if s.CertFile != "" {
		args = append(args, "--cert", s.CertFile, "--key", s.KeyFile)
	}
	cmd := exec.Command(program, append(args, "posix", "--sidecar", facts, buckets)...)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+Access, "ROOT_SECRET_KEY="+Secret)
	return cmd
}

// Start starts the server, again too, and waits until it answers.
func (s *Server) Start() {
	s.t.Helper()
	if s.CertFile != "" {
		s.Endpoint = strings.Replace(s.Endpoint, "http://", "https://", 1)
	}
	s.cmd, s.done = s.Command(s.addr), make(chan struct{})
	s.log.Reset()
	s.cmd.Stdout, s.cmd.Stderr = &s.log, &s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(s.cmd, s.done) // Stop waits for it
	for range 300 {
		if conn, err := net.Dial("tcp4", s.addr); err == nil {
			conn.Close()
			return
		}
		select {
		case <-s.done:
			s.t.Fatalf("the S3 server has ended: %s", &s.log)
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.t.Fatal("the S3 server does not listen")
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill() // it may be gone
	<-s.done
	s.cmd = nil
}

// Account opens every bucket of the server.
func (s *Server) Account() s3.Account {
	return s3.Account{Name: "test", Endpoint: s.Endpoint, AccessKeyEnv: AccessEnv, SecretKeyEnv: SecretEnv, CAFile: s.CertFile}
}

// Object is one of the server's.
func (s *Server) Object(bucket, key string) fact.Object {
	return fact.Object{Endpoint: s.Endpoint, Region: Region, Bucket: bucket, Key: key, PathStyle: true, TTL: 15 * time.Minute}
}

// Service opens the server's buckets.
func (s *Server) Service() *s3.Service {
	s.t.Helper()
	service, err := s3.New([]s3.Account{s.Account()}, Getenv, time.Now)
	if err != nil {
		s.t.Fatal(err)
	}
	return service
}

// Put stores an object.
func (s *Server) Put(bucket, key string, content []byte) {
	s.t.Helper()
	address, err := s.Service().PresignFor(http.MethodPut, s.Object(bucket, key))
	if err != nil {
		s.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPut, address, bytes.NewReader(content))
	if err != nil {
		s.t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // it is ours
	resp, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		s.t.Fatal(fmt.Errorf("storing %s: %s: %s", key, resp.Status, body))
	}
}

// Remove takes an object away.
func (s *Server) Remove(bucket, key string) {
	s.t.Helper()
	if err := os.Remove(filepath.Join(s.Dir, "buckets", bucket, filepath.FromSlash(key))); err != nil {
		s.t.Fatal(err)
	}
}
