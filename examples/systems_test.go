package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSystems checks the example as its reader would: every machine is told where its configuration is, and a mistake in any of the
// configurations is found, in the file that it was made in.
func TestSystems(t *testing.T) {
	hostler := built(t, "hostler")
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(hostler, args...).Output()
		if err != nil {
			t.Fatalf("hostler %s: %s\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if d := cmp.Diff("The spec is valid: 5 nodes, 1 subnet, 5 images.\n", run("validate", "systems")); d != "" {
		t.Error(d)
	}
	run("fmt", "-check", "systems")

	const config = "http://10.20.0.2:8080/config/"
	for machine, want := range map[string]string{
		"cloud1":  "ds=nocloud;s=http://10.20.0.2:8080/cloud-init/boot=<boot>/",
		"core1":   "ignition.config.url=" + config + "coreos?boot=<boot> ignition.firstboot ignition.platform.id=metal",
		"rocky1":  "inst.ks=" + config + "rocky?boot=<boot>",
		"debian1": "auto=true priority=critical url=" + config + "debian?boot=<boot>",
		"talos1":  "talos.config=" + config + "talos?boot=<boot> talos.platform=metal",
	} {
		if out := run("boot", "systems", machine); !strings.Contains(out, " "+want+" hostler.boot=<boot>\n") {
			t.Errorf("%s: no %q in\n%s", machine, want, out)
		}
	}

	for _, x := range []struct{ file, old, new, want string }{
		{"user-data.yaml.gotmpl", "#cloud-config", "# cloud-config", "it begins with"},
		{"user-data.yaml.gotmpl", "chpasswd:", "chpassword:", `no key "chpassword"`},
		{"network-config.yaml.gotmpl", "dhcp4: true", "dhcp4: maybe", `dhcp4 is "maybe"`},
		{"ignition.json.gotmpl", "/etc/hostname", "etc/hostname", "path not absolute"},
		{"kickstart.cfg.gotmpl", "@core\n%end", "@core", "%packages"},
		{"preseed.cfg.gotmpl", "boolean true", "boolean yes", "a boolean is true or false"},
		{"talos.yaml.tmpl", "disk:", "dsk:", `no key "dsk"`},
	} {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS("systems")); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "templates", x.file)
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), x.old) {
			t.Fatalf("%s has no %q: %v", x.file, x.old, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), x.old, x.new, 1)), 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(hostler, "validate", "-no-color", dir).CombinedOutput()
		said := strings.Join(strings.Fields(strings.ReplaceAll(string(out), "│", "")), " ")
		if err == nil || !strings.Contains(said, x.want) || !strings.Contains(said, "templates/"+x.file+" line ") {
			t.Errorf("%s with %q: %v, want %q\n%s", x.file, x.new, err, x.want, out)
		}
	}
}
