package main

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// secretsFleet has a machine whose configuration holds two secrets, and another one on the same segment.
const secretsFleet = `
spec {
  language = 1
}
variable "files" {
  type = string
}
store "lab" {
  local {
    path = var.files
  }
}
image "busybox" {
  file "kernel" {
    store = store.lab
    key   = "vmlinuz"
  }
}
template "seed" {
  kind       = "cloud-init"
  content    = "#cloud-config\npassword: {{quote .password}}\nwrite_files:\n  - {path: /etc/munge/munge.key, encoding: b64, content: {{secret \"munge/key\" \"base64\"}}}\n"
  deliveries = 3
}
subnet "lab" {
  cidr        = "10.77.0.0/24"
  image       = image.busybox
  config      = template.seed
  vars        = { password = secret("root/password") }
  kernel_args = { seed = self_url("seed"), cloud = seed_url() }
  pool "reserved" {
    range  = "10.77.0.10-10.77.0.99"
    serves = "reserved"
  }
}
node "bios1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:01"
  address = "10.77.0.11"
}
node "other" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:02"
  address = "10.77.0.12"
}
`

// vault is a server with secrets, and its machine.
type vault struct {
	*lab
	s                *running
	config, repo, at string
}

func newVault(t *testing.T) *vault {
	l := newLab(t)
	v := &vault{lab: l, config: filepath.Join(l.dir, "server.hcl"), repo: filepath.Join(l.dir, "fleet"), at: t.TempDir()}
	config := "secrets {\n  directory  = \"" + v.at + "\"\n  env_prefix = \"HOSTLER_TEST_\"\n}\n"
	for path, text := range map[string]string{v.config: config, filepath.Join(v.repo, "lab.boot.hcl"): secretsFleet} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOSTLER_TEST_MUNGE_KEY", mungeKey)
	v.files()
	return v
}

const (
	password = "Fh7-correct-horse\"battery"
	rotated  = "Kq2-another-horse\"battery"
	mungeKey = "mU9-key-of-the-cluster"
)

func (v *vault) put(password string) {
	v.t.Helper()
	path := filepath.Join(v.at, "root", "password")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		v.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(password+"\n"), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) serve() {
	v.t.Helper()
	v.s = v.lab.serve("-config="+v.config, "-log-level=debug", "-poll=1s", "-var", "files="+filepath.Join(v.dir, "files"), v.repo)
}

// seed is where the machine finds its configuration in this boot.
func (v *vault) seed() string {
	v.t.Helper()
	script := v.script(machineMAC)
	m := regexp.MustCompile(`seed=(http://\S+/config/seed\?boot=[0-9A-Z]+\.[0-9A-Z]+)`).FindStringSubmatch(script)
	if m == nil {
		v.t.Fatalf("no address with a token in the script:\n%s", script)
	}
	return m[1]
}

// get is what the machine is answered, with the status in the first line.
func (v *vault) get(url string, curl ...string) string {
	out, err := v.inMachine("curl", append(curl, "-sS", "--max-time", "5", "-i", url)...)
	if err != nil {
		return out + err.Error()
	}
	return strings.TrimPrefix(out, "HTTP/1.1 ")
}

func (v *vault) wants(what, got, status string, parts ...string) {
	v.t.Helper()
	if !strings.HasPrefix(got, status) {
		v.t.Errorf("%s: want %s, got\n%s", what, status, got)
	}
	for _, part := range parts {
		if !strings.Contains(got, part) {
			v.t.Errorf("%s: %q is not in\n%s", what, part, got)
		}
	}
	if status != "200" {
		v.leaks(what, []byte(got))
	}
}

// leaks reports any form of a secret in what nobody but the machine may see.
func (v *vault) leaks(where string, b []byte) {
	v.t.Helper()
	for _, secret := range []string{password, rotated, mungeKey} {
		for _, form := range []string{secret, strings.ReplaceAll(secret, `"`, `\"`), base64.StdEncoding.EncodeToString([]byte(secret))} {
			if i := bytes.Index(b, []byte(form)); i >= 0 {
				v.t.Errorf("%s holds a secret: %q", where, b[max(0, i-40):min(len(b), i+60)])
			}
		}
	}
}

// TestSecrets takes secrets through everything that may happen to them on the wire, and looks for them afterwards in all that was written.
func TestSecrets(t *testing.T) {
	v := newVault(t)
	v.serve()
	v.s.eventually("status to say what is missing", func() bool {
		out, _ := v.s.hostler("status")
		return strings.Contains(out, "root/password") && strings.Contains(out, "Secret is missing")
	})
	v.put(password)
	v.s.eventually("the revision to be tried again", func() bool {
		_, code := v.s.hostler("status")
		return code == exitOK
	})

	if got := v.lease(); got != "10.77.0.11" {
		t.Fatalf("the machine got %q", got)
	}
	seed := v.seed()
	v.wants("first", v.get(seed), "200", `password: "Fh7-correct-horse\"battery"`, base64.StdEncoding.EncodeToString([]byte(mungeKey)))
	bare, _, _ := strings.Cut(seed, "?")
	v.wants("no token", v.get(bare), "403", "this boot is not known")
	v.wants("a MAC", v.get(bare+"?mac="+machineMAC), "403")
	v.wants("a wrong token", v.get(seed[:len(seed)-4]+"AAAA"), "403")
	must(t, "ip", "-n", v.machine, "addr", "add", "10.77.0.12/24", "dev", "eth0")
	v.wants("another address", v.get(seed, "--interface", "10.77.0.12"), "403")

	v.put(rotated)
	v.wants("rotated", v.get(seed), "200", `password: "Kq2-another-horse\"battery"`)
	v.s.kill(syscall.SIGKILL)
	v.serve()
	if err := os.Rename(filepath.Join(v.at, "root"), filepath.Join(v.at, "gone")); err != nil {
		t.Fatal(err)
	}
	v.wants("missing", v.get(seed), "503", "Retry-After: 10", "try again")
	if err := os.Rename(filepath.Join(v.at, "gone"), filepath.Join(v.at, "root")); err != nil {
		t.Fatal(err)
	}
	v.wants("the third, after a crash", v.get(seed), "200")
	v.wants("too often", v.get(seed), "403", "boot again")
	_, boot, _ := strings.Cut(seed, "?")
	v.wants("ready", v.get("http://10.77.0.1:8080/phone-home", "-d", boot), "200")
	v.wants("after it was ready", v.get(seed), "403", "this boot is not known")
	v.lease()
	v.wants("the next boot", v.get(v.seed()), "200")
	proof := regexp.MustCompile(`cloud=(\S+)`).FindStringSubmatch(v.script(machineMAC))
	v.wants("cloud-init", v.get(proof[1]+"/user-data"), "200", `password: "Kq2-another-horse\"battery"`)
	v.wants("cloud-init by address", v.get("http://10.77.0.1:8080/user-data"), "403", "takes the proof of a boot")
	v.wants("the boot before", v.get(seed), "403", "this boot is not known")
	v.written()
}

// written searches the state, the log, and what every command prints.
func (v *vault) written() {
	v.t.Helper()
	var out bytes.Buffer
	files := "-var=files=" + filepath.Join(v.dir, "files")
	next := filepath.Join(v.dir, "next")
	if err := os.CopyFS(next, os.DirFS(v.repo)); err != nil {
		v.t.Fatal(err)
	}
	edit(v.t, filepath.Join(next, "lab.boot.hcl"), "#cloud-config", "#cloud-config\\nhostname: changed")
	for _, args := range [][]string{
		{"status"}, {"status", "-json"}, {"nodes"}, {"leases"}, {"boots"}, {"boots", "-json"}, {"boots", "-n=9", "bios1"}, {"boots", "-stuck"},
		{"plan", v.repo}, {"plan", "-json", v.repo}, {"explain", files, v.repo, "bios1"}, {"boot", files, v.repo, "bios1"}, {"render", files, v.repo}, {"plan", files, next},
		{"boots", "-packets", "bios1"}, {"boots", "-pcap=" + filepath.Join(v.dir, "packets.pcap"), "bios1"},
		{"state", "backup", filepath.Join(v.dir, "backup.db")},
	} {
		text, code := v.s.hostler(args...)
		if code == exitError {
			v.t.Errorf("hostler %s: %s", strings.Join(args, " "), text)
		}
		out.WriteString(text)
	}
	for _, want := range []string{"<secret:root/password>", "it was given its secrets as often as its template allows"} {
		if !strings.Contains(out.String(), want) {
			v.t.Errorf("%q is nowhere in what the commands print:\n%s", want, out.String())
		}
	}
	v.leaks("what the commands print", out.Bytes())
	v.leaks("the log", []byte(v.s.log.String()))
	searched := 0
	err := filepath.WalkDir(v.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		searched++
		v.leaks(path, b)
		return err
	})
	if err != nil || searched < 10 {
		v.t.Errorf("%d files were searched: %v", searched, err)
	}
}
