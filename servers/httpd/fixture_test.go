package httpd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

// fleet has two machines, whose addresses are the loopback interface's so that clients can be them.
const fleet = `
spec {
  language = 1
}
store "images" {
  local {
    path = "/srv/images"
  }
}
image "rocky9" {
  version = "VERSION"
  file "kernel" {
    store = store.images
    key   = "vmlinuz-VERSION"
  }
  file "initrd" {
    store = store.images
    key   = "initrd-VERSION"
  }
}
template "setup" {
  content      = "# revision VERSION for {{ .self.name }}\n"
  content_type = "text/x-shellscript"
}
template "vault" {
  content    = "key {{ secret \"munge/key\" \"base64\" }}\npassword {{ quote (secret \"password\") }} {{ secret \"password\" }}\n"
  deliveries = 2
}
template "lost" {
  content = "{{ secret \"lost\" }}"
}
group "compute" {
  image  = image.rocky9
  config = template.setup
}
subnet "lab" {
  cidr = "127.0.0.0/24"
  pool "reserved" {
    range  = "127.0.0.1-127.0.0.99"
    serves = "reserved"
  }
}
group "discovery" {
  image = image.rocky9
}
subnet "guests" {
  cidr    = "127.0.1.0/24"
  unknown = group.discovery
  pool "guests" {
    range  = "127.0.1.1-127.0.1.99"
    serves = "unknown"
  }
}
node "c0001" {
  mac     = "52:54:00:00:00:01"
  address = "127.0.0.1"
  subnet  = subnet.lab
  groups  = [group.compute]
  ids     = { nid = 1, xname = "x3000c0s17b4n0" }
}
node "c0002" {
  mac     = "52:54:00:00:00:02"
  address = "127.0.0.2"
  subnet  = subnet.lab
  groups  = [group.compute]
}
`

// contents are the files of both revisions, by their keys in the store.
var contents = map[string][]byte{
	"vmlinuz-1": []byte("kernel one"),
	"vmlinuz-2": []byte("kernel two, which is longer"),
	"initrd-1":  large(1),
	"initrd-2":  large(2),
}

// large is more than what is copied between two deadlines, and no whole number of that.
func large(seed byte) []byte {
	b := make([]byte, 2<<20+3)
	for i := range b {
		b[i] = seed + byte(i%251)
	}
	return b
}

func digest(b []byte) fact.Digest {
	h := sha256.Sum256(b)
	return fact.Digest(hex.EncodeToString(h[:]))
}

func snapshot(t testing.TB, version string) *render.Snapshot {
	t.Helper()
	return snapshotOf(t, expand(fleet, "VERSION", version))
}

// withSecrets gives the nodes a configuration that holds secrets.
func withSecrets(t testing.TB) func(*Config) {
	s := snapshotOf(t, expand(expand(fleet, "VERSION", "1"), "config = template.setup", "config = { user-data = template.setup, vendor-data = template.vault, network-config = template.lost }"))
	return func(c *Config) {
		c.Current = func() (*render.Snapshot, fact.Revision) { return s, "r1" }
	}
}

func snapshotOf(t testing.TB, text string) *render.Snapshot {
	t.Helper()
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"lab.boot.hcl": {Data: []byte(text)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	as := render.Artifacts{}
	for _, m := range f.Images {
		for _, x := range m.Files {
			b := contents[x.File.Key]
			as[x.File.ID()] = render.Artifact{Digest: digest(b), Size: int64(len(b))}
			if st := f.Stores[0]; st.S3 != nil {
				as[x.File.ID()] = render.Artifact{URL: string(fact.NewLate(fact.LatePresign, st.S3.Object(x.File.Key).String()))}
			}
		}
	}
	for _, l := range f.Loaders {
		as[l.File.ID()] = render.Artifact{Digest: digest([]byte(l.Name)), Size: int64(len(l.Name))}
	}
	s, ds := render.Render(f, as, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return s
}

// folder has the files as reconcile keeps them.
type folder string

func newFolder(t testing.TB) folder {
	dir := t.TempDir()
	for _, b := range contents {
		if err := os.WriteFile(filepath.Join(dir, string(digest(b))), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // after the server has ended
		fds, _ := filepath.Glob("/proc/self/fd/*")
		for _, fd := range fds {
			if name, err := os.Readlink(fd); err == nil && strings.HasPrefix(name, dir) {
				t.Errorf("%s is still open", name)
			}
		}
	})
	return folder(dir)
}

func (f folder) Open(d fact.Digest) (io.ReadSeekCloser, error) {
	file, err := os.Open(filepath.Join(string(f), string(d)))
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return file, nil
}

type leases map[netip.Addr]fact.Lease

func (l leases) Holder(a netip.Addr) (fact.Lease, bool) { v, ok := l[a]; return v, ok }

// boots has one running boot, that of c0001, pinned to revision r1.
type boots struct {
	mu    sync.Mutex
	fail  error // of Script and Ready
	ready int
}

const (
	bootID = fact.BootID("01JD8ZQ4W7X0000000000000AA")
	token  = fact.Token("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
)

var c0001 = netip.MustParseAddr("127.0.0.1")

func (b *boots) Script(fact.MAC, fact.NodeName, netip.Addr, fact.Terms) (fact.BootID, fact.Token, error) {
	return bootID, token, b.fail
}

func (b *boots) Check(id fact.BootID, tok fact.Token, a netip.Addr) (fact.NodeName, fact.Revision, bool) {
	if id == bootID && tok == token && a == c0001 {
		return "c0001", "r1", true
	}
	return "", "", false
}

func (b *boots) Ready(id fact.BootID, tok fact.Token, a netip.Addr) (fact.NodeName, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	node, _, ok := b.Check(id, tok, a)
	if !ok {
		return "", errors.New("no such boot")
	}
	if b.fail != nil {
		return "", b.fail
	}
	b.ready++
	return node, nil
}

// secrets are those of the fleet but one.
type secrets map[string]string

func (s secrets) Read(name string) ([]byte, error) {
	v, ok := s[name]
	if !ok {
		return nil, fmt.Errorf("secret %q: there is no such secret", name)
	}
	return []byte(v), nil
}

// counts are deliveries. Those of a text are counted in all boots together.
type counts struct {
	mu   sync.Mutex
	n    map[string]int
	fail error
}

func (c *counts) Deliver(_ context.Context, node fact.NodeName, _ fact.BootID, template string, most int) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := string(node) + "/" + template
	if c.fail != nil || c.n[key] >= most {
		return false, c.fail
	}
	c.n[key]++
	return true, nil
}

type fixture struct {
	*Server
	addr   netip.AddrPort
	boots  *boots
	events chan fact.Event
	stop   func() // returns when Serve has
}

// start serves revision r2 on every loopback address until the test ends; r1 is still held.
func start(t testing.TB, change func(*Config)) fixture {
	t.Helper()
	one, two := snapshot(t, "1"), snapshot(t, "2")
	f := fixture{boots: &boots{}, events: make(chan fact.Event, 10000)}
	lease := func(mac string, node fact.NodeName) fact.Lease {
		m, err := fact.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		return fact.Lease{MAC: m, Node: node, State: fact.Bound}
	}
	c := Config{
		Addr:    netip.MustParseAddrPort("0.0.0.0:0"),
		Current: func() (*render.Snapshot, fact.Revision) { return two, "r2" },
		At: func(rev fact.Revision) (*render.Snapshot, bool) {
			return one, rev == "r1"
		},
		Older: func() []*render.Snapshot { return []*render.Snapshot{one} },
		Blobs: newFolder(t),
		Leases: leases{
			c0001:                             lease("52:54:00:00:00:01", "c0001"),
			netip.MustParseAddr("127.0.1.77"): lease("52:54:00:00:00:77", ""), // nobody declared it
		},
		Boots:      f.boots,
		Secrets:    secrets{"munge/key": "\x00\xff\n", "password": "a\"b\\\n"},
		Deliveries: &counts{n: map[string]int{}},
		Base:       late.Base{Port: 8080, Prefix: "/apis/bss"},
		Event:      func(e fact.Event) { f.events <- e },
		Log:        slog.New(slog.DiscardHandler),
		Now:        time.Now,
		Drain:      50 * time.Millisecond,
	}
	if change != nil {
		change(&c)
	}
	var err error
	if f.Server, err = Listen(c); err != nil {
		t.Fatal(err)
	}
	f.addr = netip.AddrPortFrom(c0001, f.Addrs()[0].(*net.TCPAddr).AddrPort().Port())
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- f.Serve(ctx) }()
	f.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(f.stop)
	return f
}
