package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler/reconcile/s3/s3test"
)

// BenchmarkPresignedScripts is BenchmarkBootScripts with images in S3, whose URLs are signed when a machine asks: of 1,000 machines in turn.
func BenchmarkPresignedScripts(b *testing.B) {
	l := newLab(b)
	repo, spec := l.largeFleet(b, 1000)
	bucket := s3test.New(b, "boot")
	for _, key := range []string{"vmlinuz", "initrd.gz"} {
		bucket.Put("boot", key, []byte("content of "+key))
	}
	bucket.Stop()
	l.inServer(bucket, "10.77.0.1:9000")
	edit(b, spec, "  local {\n    path = var.files\n  }\n", "  s3 {\n    endpoint = \"http://10.77.0.1:9000\"\n    bucket   = \"boot\"\n    region   = \""+s3test.Region+"\"\n  }\n  deliver = \"presign\"\n")
	l.commit(repo, "images in S3")
	s := l.serveAll(repo, "-config="+l.s3Config())
	script := l.script(machineMAC)
	if strings.Count(script, "X-Amz-Signature=") != 2 {
		b.Fatalf("the script has no signed URLs:\n%s\n%s", script, s.log)
	}
	l.bare([]byte(script))
	all, bare := load{pid: s.cmd.Process.Pid}, load{pid: os.Getpid()}
	for b.Loop() {
		all.run(l, "-s", l.everyMachine(1000), "http://10.77.0.1:8080")
		bare.run(l, "http://10.77.0.1:8081/")
	}
	all.report(b, "all")
	bare.report(b, "bare")
}

// inServer runs an S3 server in the server's namespace.
func (l *lab) inServer(s *s3test.Server, addr string) {
	l.t.Helper()
	program := s.Command(addr)
	cmd := exec.Command("ip", append([]string{"netns", "exec", l.server, program.Path}, program.Args[1:]...)...)
	cmd.Env = program.Env
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// s3Config opens the buckets of s3test.
func (l *lab) s3Config() string {
	l.t.Helper()
	l.t.Setenv(s3test.AccessEnv, s3test.Access)
	l.t.Setenv(s3test.SecretEnv, s3test.Secret)
	name := filepath.Join(l.dir, "server.hcl")
	text := "s3 \"lab\" {\n  endpoint       = \"http://10.77.0.1:9000\"\n  access_key_env = \"" + s3test.AccessEnv + "\"\n  secret_key_env = \"" + s3test.SecretEnv + "\"\n}\n"
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	return name
}
