package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// packageLife is what the package does to a clean Debian: it waits for its configuration, runs as a user of its own with two
// capabilities, and keeps its state over an upgrade and a removal, until it is purged.
const packageLife = `installed: enabled, inactive, configuration 750:root:hostler
started: active as hostler:hostler, state 700:hostler, socket 660:hostler:hostler
capabilities: CapEff: 0000000000002400 CapBnd: 0000000000002400 CapAmb: 0000000000002400
exposure: OK
machine: bound 10.77.0.100
lease: 10.77.0.100 52:54:00:77:00:01
upgraded: active, hostler 2.0.0, a new process
lease: kept
machine: bound 10.77.0.100
stopped, then another version installed: inactive
removed: process none, state 1, configuration server.hcl
installed again: active, lease kept
purged: nothing is left
`

// packageFleet is one machine without an address of its own: it has a lease to lose.
const packageFleet = `spec {
  language = 1
}
subnet "lab" {
  cidr = "10.77.0.0/24"
  pool "boot" {
    range  = "10.77.0.100-10.77.0.199"
    serves = "boot"
  }
}
node "machine" {
  subnet = subnet.lab
  mac    = "52:54:00:77:00:01"
  boot   = "off"
}
`

// TestDebianPackage installs, upgrades and removes the package in a clean Debian that systemd runs.
func TestDebianPackage(t *testing.T) {
	root := cleanDebian(t)
	life := filepath.Join(root, "life")
	for name, text := range map[string]string{
		"fleet/fleet.boot.hcl": packageFleet,
		"server.hcl":           "source {\n  url = \"/life/fleet\"\n}\ninterface \"eth0\" {}\n",
		"bound":                "#!/bin/sh\n[ \"$1\" != bound ] || echo bound $ip\n",
		"life.sh":              readFile(t, "debian/testdata/life.sh"),
	} {
		file := filepath.Join(life, name)
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(text), 0o755))
	}
	unit := "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/life/life.sh\nStandardOutput=append:/life/out\nStandardError=append:/life/out\n"
	must(t, os.WriteFile(filepath.Join(root, "etc/systemd/system/life.service"), []byte(unit), 0o644))
	wants := filepath.Join(root, "etc/systemd/system/graphical.target.wants")
	must(t, os.MkdirAll(wants, 0o755))
	must(t, os.Symlink("../life.service", filepath.Join(wants, "life.service")))
	debianPackage(t, "1.0.0", filepath.Join(life, "old.deb"))
	debianPackage(t, "2.0.0", filepath.Join(life, "new.deb"))

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot",
		"--console=pipe", "--directory="+root, "--machine=hostler-"+filepath.Base(filepath.Dir(root)))
	console, err := cmd.CombinedOutput()
	out := readFile(t, filepath.Join(life, "out"))
	var got strings.Builder
	for line := range strings.Lines(out) {
		if said, ok := strings.CutPrefix(line, "LIFE "); ok {
			got.WriteString(strings.TrimRight(said, " \n") + "\n")
		}
	}
	if diff := cmp.Diff(packageLife, got.String()); diff != "" || err != nil {
		t.Errorf("the package's life, -want +got:\n%s\n%v\nits output:\n%s\nthe console:\n%s", diff, err, out, console)
	}
}

// cleanDebian copies the Debian root that testdata/lab/install.sh prepared with debootstrap.
func cleanDebian(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.EvalSymlinks(filepath.Join(cache, "hostler-lab", "debian"))
	if err != nil {
		t.Fatalf("the clean Debian is not there: run make install: %v", err)
	}
	root := filepath.Join(t.TempDir(), "root")
	if out, err := exec.Command("cp", "-a", "--reflink=auto", kept, root).CombinedOutput(); err != nil {
		t.Fatalf("copying the clean Debian: %v\n%s", err, out)
	}
	return root
}

// debianPackage builds a package of this source as a version.
func debianPackage(t *testing.T, version, file string) {
	t.Helper()
	dir := t.TempDir()
	run(t, exec.Command("make", "--no-print-directory", "-C", "..", "deb", "VERSION="+version, "OUT="+dir))
	must(t, os.Rename(filepath.Join(dir, "hostler.deb"), file))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
