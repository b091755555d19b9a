package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hostler/reconcile/s3/s3test"
)

const s3Spec = `
store "s3" {
  s3 {
    endpoint = "http://10.77.0.1:9970"
    region   = "default"
    bucket   = "boot"
  }
  deliver = "presign"
}
image "s3" {
  arch = "x86_64"
  file "kernel" {
    store = store.s3
    key   = "vmlinuz"
  }
  file "initrd" {
    store = store.s3
    key   = "initrd.gz"
  }
}
group "s3" { image = image.s3 }
node "s31" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:31"
  address = "10.77.0.31"
  groups  = [group.s3]
}
`

// TestDoctorS3 fetches through URLs that are signed when the machine asks, from a store that is well, lacks a file, and is down.
func TestDoctorS3(t *testing.T) {
	l := newLab(t)
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:fe")
	t.Setenv(s3test.AccessEnv, s3test.Access)
	t.Setenv(s3test.SecretEnv, s3test.Secret)
	gateway := s3test.New(t, "boot")
	gateway.Put("boot", "vmlinuz", bytes.Repeat([]byte("v"), 100_000))
	gateway.Put("boot", "initrd.gz", bytes.Repeat([]byte("i"), 300_000))
	gateway.Stop() // it goes on in the server's namespace
	cmd := gateway.Command("10.77.0.1:9970")
	stop := background(t, l.server, append([]string{"env", "ROOT_ACCESS_KEY=" + s3test.Access, "ROOT_SECRET_KEY=" + s3test.Secret}, cmd.Args...)...)
	config := filepath.Join(l.dir, "server.hcl")
	text := "s3 \"boot\" {\n  endpoint = \"http://10.77.0.1:9970\"\n  access_key_env = \"" + s3test.AccessEnv + "\"\n  secret_key_env = \"" + s3test.SecretEnv + "\"\n}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	repo := l.repository()
	if err := os.WriteFile(filepath.Join(repo, "s3.boot.hcl"), []byte(s3Spec), 0o644); err != nil {
		t.Fatal(err)
	}
	l.commit(repo, "images in S3")
	waited := &running{t: t, done: make(chan struct{})}
	waited.eventually("the store", func() bool {
		return exec.Command("ip", "netns", "exec", l.server, "curl", "-s", "http://10.77.0.1:9970/").Run() == nil
	})
	s := l.serve("-config="+config, "-var", "files="+l.files(), repo)

	found, code := l.doctor(l.machine, s.socket, "-interface=eth0", "-node=s31", "lab")
	if text := of(found, "kernel") + "\n" + of(found, "initrd"); code != exitOK || !like(text, "* vmlinuz from 10.77.0.1:9970, 100000 bytes in *\n* initrd.gz from 10.77.0.1:9970, 300000 bytes in *") {
		t.Errorf("exit %d: %s\n%s", code, text, strings.Join(wrong(found), "\n"))
	}
	gateway.Remove("boot", "initrd.gz")
	found, code = l.doctor(l.machine, s.socket, "-interface=eth0", "-node=s31", "lab")
	if text := strings.Join(wrong(found), "\n"); code != exitNo || !strings.Contains(text, "fail initrd: initrd.gz from 10.77.0.1:9970: not found") ||
		!strings.Contains(text, "[file-missing]") || strings.Contains(text, "ignature") {
		t.Errorf("exit %d: %s", code, text)
	}
	stop()
	found, code = l.doctor(l.machine, s.socket, "-interface=eth0", "-node=s31", "lab")
	if text := strings.Join(wrong(found), "\n"); code != exitNo || !strings.Contains(text, "fail kernel: vmlinuz from 10.77.0.1:9970: ") ||
		!strings.Contains(text, "connection refused") || !strings.Contains(text, "[store-down]") || strings.Contains(text, "ignature") {
		t.Errorf("exit %d: %s", code, text)
	}
	if t.Failed() {
		out, _ := s.hostler("boots", "s31", "-after=1ns", "-json")
		t.Log(out)
	}
}
