package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// unit gives the service unit with a program that exists on every machine.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("systemd/hostler.service")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "hostler.service")
	text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/hostler", "/bin/true"))
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestServiceUnit(t *testing.T) {
	// It exits with 0 when it ignores a line, so that its words are what counts.
	out, err := exec.Command("systemd-analyze", "verify", "--man=no", unit(t)).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// Exposure of at most 2.5 of 10; what is left are the network, which is its work, and reading the host's files.
	out, err = exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=25", unit(t)).CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The virtual machines below boot from a server with the unit's user and capabilities: see unprivileged.
func TestServiceCapabilities(t *testing.T) {
	text, err := os.ReadFile("systemd/hostler.service")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(strings.Split(string(text), "\n"), "AmbientCapabilities=CAP_NET_BIND_SERVICE CAP_NET_RAW") {
		t.Error("the unit has other capabilities than those that the virtual machines are booted with")
	}
}
