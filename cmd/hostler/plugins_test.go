package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPlugins has two of coredhcp's own plugins in the chain, one before and one after hostler: machines are told what they
// say, and status and plan name them.
func TestPlugins(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	conf := filepath.Join(l.dir, "server.hcl")
	text := "plugin \"mtu\" {\n  place = \"before\"\n  args  = [\"1400\"]\n}\nplugin \"searchdomains\" {\n  args = [\"lab.example\"]\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := l.serve("-config="+conf, "-var", "files="+files, repo)
	script := filepath.Join(l.dir, "told.sh")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && echo told $ip $mtu $search\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-O", "mtu", "-O", "search", "-s", script)
	if err != nil || !strings.Contains(out, "told 10.77.0.11 1400 lab.example\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	if out, _ := s.hostler("status"); !strings.Contains(out, "DHCP chain  mtu -> hostler -> searchdomains\n") {
		t.Errorf("status does not name them:\n%s", out)
	}
	want := "DHCP replies pass through mtu -> hostler -> searchdomains: the others may change what is planned here\n"
	if out, _ := s.hostler("plan", "-var", "files="+files, repo); !strings.Contains(out, want) {
		t.Errorf("plan does not name them:\n%s", out)
	}
	if out, _ := s.hostler("plan", "-json", "-var", "files="+files, repo); !strings.Contains(out, `"dhcp_plugins":["mtu","hostler","searchdomains"]`) {
		t.Errorf("plan -json does not name them:\n%s", out)
	}

	bad := newLab(t)
	for plugin, want := range map[string]string{
		"nbp": "plugin nbp: not beside hostler: the spec says what machines load",
		"mtu": "dhcp: loading plugins: need one mtu value",
	} {
		if err := os.WriteFile(conf, []byte("plugin \""+plugin+"\" {}\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		r := bad.start("-config="+conf, repo)
		<-r.done
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("want %q in\n%s", want, r.log)
		}
	}
}
