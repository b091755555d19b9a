package serverconf

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/spec"
	"hostler/spec/lang"
)

var update = flag.Bool("update", false, "rewrite the expected diagnostics in testdata")

func TestEmptyFileIsTheDefault(t *testing.T) {
	got, ds := Parse("server.hcl", nil)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	want := Default()
	if d := cmp.Diff(&want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Error(d)
	}
}

func TestEverySetting(t *testing.T) {
	src := `
source {
  url          = "ssh://git@git.example.net/boot.git"
  branch       = "prod"
  path         = "./fleets/ams/"
  poll         = "5m"
  sync         = "manual"
  allow_rewind = true
  auth {
    token_file       = "/etc/hostler/token"
    ssh_key_file     = "/etc/hostler/../hostler/key"
    known_hosts_file = "/etc/hostler/known_hosts"
    username         = "bot"
    ca_file          = "/etc/hostler/ca.pem"
  }
}
inputs {
  vars = { env = "prod", racks = 4, debug = true, dns = ["10.0.0.1", "$${x}"], nothing = null, "odd name" = "y" }
}
interface "eth1" {}
interface "eth0" {}
plugin "mtu" {
  place = "before"
  args  = ["9000"]
}
plugin "searchdomains" {
  args = ["lab.example", "example"]
}
listen {
  tftp        = "10.0.0.1:6969"
  http        = ":80"
  https       = ":443"
  metrics     = "127.0.0.1:9100"
  cloud_init  = ":8888"
  path_prefix = "apis/bss/"
  tftp_single_port = true
}
tls {
  cert_file = "/etc/hostler/chain.pem"
  key_file  = "/etc/hostler/key.pem"
  machines  = true
}
bss {
  readers    = ["10.1.0.9/24", "10.2.0.1"]
  token_file = "/etc/hostler/bss-token"
}
secrets {
  directory  = "/etc/hostler/secrets"
  env_prefix = "HOSTLER_SECRET_"
}
s3 "images" {
  endpoint           = "https://S3.example.net:443/"
  buckets            = ["boot-images", "roots"]
  access_key_file    = "/etc/hostler/s3/access"
  secret_key_file    = "/etc/hostler/s3/secret"
  session_token_file = "/etc/hostler/s3/token"
  ca_file            = "/etc/hostler/s3/ca.pem"
}
s3 "lab" {
  endpoint          = "http://10.0.0.9:7480"
  access_key_env    = "S3_ACCESS"
  secret_key_env    = "S3_SECRET"
  session_token_env = "S3_TOKEN"
}
limits {
  eval_time        = "10s"
  eval_memory      = "512MiB"
  tftp_transfers   = 10
  tftp_per_client  = 2
  http_connections = 100
  http_per_client  = 3
  http_drain       = "1m"
}
state_dir = "/srv/hostler/"
socket    = "/srv/hostler/sock"
advertise = "https://boot.example.net/pxe/"
store_roots = ["/srv/images/", "/srv/lab"]
`
	want := &Config{
		Source: Source{
			URL: "ssh://git@git.example.net/boot.git", Branch: "prod", Path: "fleets/ams", Poll: 5 * time.Minute, Sync: "manual", AllowRewind: true,
			TokenFile: "/etc/hostler/token", SSHKeyFile: "/etc/hostler/key", KnownHostsFile: "/etc/hostler/known_hosts", Username: "bot", CAFile: "/etc/hostler/ca.pem",
		},
		Vars: map[string]string{
			"env": "prod", "racks": "4", "debug": "true", "dns": `["10.0.0.1","$${x}"]`, "nothing": "null", "odd name": "y",
		},
		Interfaces: []string{"eth1", "eth0"},
		Plugins:    []Plugin{{"mtu", "before", []string{"9000"}}, {"searchdomains", "after", []string{"lab.example", "example"}}},
		Listen:     Listen{TFTP: netip.MustParseAddrPort("10.0.0.1:6969"), TFTPSinglePort: true, HTTP: netip.MustParseAddrPort("0.0.0.0:80"), HTTPS: netip.MustParseAddrPort("0.0.0.0:443"), CloudInit: netip.MustParseAddrPort("0.0.0.0:8888"), Metrics: netip.MustParseAddrPort("127.0.0.1:9100"), PathPrefix: "/apis/bss"},
		TLS:        TLS{CertFile: "/etc/hostler/chain.pem", KeyFile: "/etc/hostler/key.pem", Machines: true},
		BSS:        BSS{Readers: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("10.2.0.1/32")}, TokenFile: "/etc/hostler/bss-token"},
		Advertise:  "https://boot.example.net/pxe",
		StateDir:   "/srv/hostler",
		StoreRoots: []string{"/srv/images", "/srv/lab"},
		Socket:     "/srv/hostler/sock",
		Secrets:    Secrets{Folder: "/etc/hostler/secrets", EnvPrefix: "HOSTLER_SECRET_"},
		S3: []S3{
			{Name: "images", Endpoint: "https://s3.example.net", Buckets: []string{"boot-images", "roots"}, CAFile: "/etc/hostler/s3/ca.pem",
				AccessKeyFile: "/etc/hostler/s3/access", SecretKeyFile: "/etc/hostler/s3/secret", SessionTokenFile: "/etc/hostler/s3/token"},
			{Name: "lab", Endpoint: "http://10.0.0.9:7480", AccessKeyEnv: "S3_ACCESS", SecretKeyEnv: "S3_SECRET", SessionTokenEnv: "S3_TOKEN"},
		},
		Limits: Limits{EvalTime: 10 * time.Second, EvalMemory: 512 << 20, TFTPTransfers: 10, TFTPPerClient: 2, HTTPConnections: 100, HTTPPerClient: 3, HTTPDrain: time.Minute},
	}
	got, ds := Parse("server.hcl", []byte(src))
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Error(d)
	}
	for _, name := range names(fileBlock()) {
		if !regexp.MustCompile(`(?m)^ *` + name + ` *([={"])`).MatchString(src) {
			t.Errorf("%s is not tried here", name)
		}
	}
}

// names lists every setting of the table.
func names(b *block) []string {
	var out []string
	for _, a := range b.attrs {
		out = append(out, a.name)
	}
	for _, n := range b.blocks {
		out = append(out, n.name)
		out = append(out, names(n)...)
	}
	return out
}

// TestMistakes holds the diagnostics of each testdata/*.txtar against what stands there.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, ds := Parse("server.hcl", a.Files[0].Data)
			if (c == nil) != ds.HasErrors() {
				t.Errorf("the configuration is %v with these diagnostics: %v", c, ds)
			}
			got := describe(ds)
			if *update {
				a.Files = append(a.Files[:1], txtar.File{Name: "diagnostics", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(a.Files[1].Data), got); d != "" {
				t.Error(d)
			}
		})
	}
}

// describe writes diagnostics with what is underlined in each.
func describe(ds spec.Diagnostics) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, "%s [%s]\n", d, d.Code)
		if s := d.Snippet; s != nil {
			fmt.Fprintf(&b, "    in %q: %q\n", s.Context, s.Code[s.Start:s.End])
		}
		for _, r := range d.Related {
			fmt.Fprintf(&b, "    %s %s: %s\n", r.Place, r.Text, r.Code)
		}
	}
	return b.String()
}

func TestRefusedText(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"brackets": {"a = " + strings.Repeat("[", 100_000), "server.hcl:1: Text is refused: The parser does not read this: brackets, braces, parentheses and templates are nested more than 200 deep."},
		"not text": {"a = \"\xff\"", "server.hcl:1: Text is refused: The file is not UTF-8 text."},
		"NUL":      {"\na = \"\x00\"", "server.hcl:2: Text is refused: The parser does not read this: there is a NUL byte."},
	} {
		if _, ds := Parse("server.hcl", []byte(c.src)); ds.Error() != c.want {
			t.Errorf("%s: %s", name, ds.Error())
		}
	}
}

// TestExample holds the file that people copy against the table: it parses, it names every setting, and what it writes out as
// a default is one.
func TestExample(t *testing.T) {
	src, err := os.ReadFile("../../examples/server.hcl")
	if err != nil {
		t.Fatal(err)
	}
	got, ds := Parse("server.hcl", src)
	if len(ds) > 0 {
		t.Fatal(ds)
	}
	if d := cmp.Diff(string(lang.Format(src)), string(src)); d != "" {
		t.Errorf("it is not formatted: %s", d)
	}
	for _, name := range names(fileBlock()) {
		if !regexp.MustCompile(`(?m)^ *(# *)?` + name + ` *([={"])`).Match(src) {
			t.Errorf("it does not show %s", name)
		}
	}
	want := Default()
	want.Source.URL, want.Source.TokenFile, want.Source.Username = "https://git.example.net/infra/boot.git", "/etc/hostler/git-token", "git"
	want.Vars["env"] = "prod"
	want.Interfaces = []string{"eth1", "eth2.40"}
	want.StoreRoots = []string{"/srv/images"}
	if d := cmp.Diff(&want, got, cmpopts.EquateComparable(netip.AddrPort{}, netip.Prefix{})); d != "" {
		t.Error(d)
	}
	uncommented := regexp.MustCompile(`(?m)^( *)# ( *[a-z_]+ *= ("[^"]*"|true|\[.*\])|tls {|bss {|secrets {|plugin "mtu" {|s3 "[a-z]+" {|})`).ReplaceAll(src, []byte("$1$2"))
	if _, ds := Parse("server.hcl", uncommented); len(ds) > 0 {
		t.Errorf("with its comments in force: %s", ds)
	}
}

func FuzzParse(f *testing.F) {
	if src, err := os.ReadFile("../../examples/server.hcl"); err == nil {
		f.Add(src)
	}
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range files {
		if a, err := txtar.ParseFile(name); err == nil {
			f.Add(a.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		c, ds := Parse("server.hcl", src)
		if (c == nil) != ds.HasErrors() {
			t.Errorf("the configuration is %v with these diagnostics: %v", c, ds)
		}
		for _, d := range ds {
			if s := d.Snippet; s != nil && (s.Start < 0 || s.End < s.Start || s.End > len(s.Code)) {
				t.Errorf("%s: the snippet %+v is out of its line", d, s)
			}
		}
	})
}
