package httpd

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// rackNodes is how many machines start at the same time.
const rackNodes = 500

// rack is a snapshot of many machines, with addresses of the loopback interface.
func rack(t testing.TB) *render.Snapshot {
	t.Helper()
	var table strings.Builder
	table.WriteString("name,mac,address\n")
	for i := range rackNodes {
		fmt.Fprintf(&table, "n%03d,52:54:02:00:%02x:%02x,%s\n", i, i>>8, i&255, rackAddr(i))
	}
	text := `
spec {
  language = 1
}
template "user" {
  kind    = "cloud-init"
  content = "#cloud-config\nfqdn: {{ .self.name }}\n"
}
subnet "rack" {
  cidr = "127.2.0.0/16"
}
node "rack" {
  for_each = { for r in tabledecode("rack.csv") : r.name => r }
  name     = each.key
  subnet   = subnet.rack
  mac      = each.value.mac
  address  = each.value.address
  config   = template.user
}
`
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"rack.boot.hcl": {Data: []byte(text)}, "rack.csv": {Data: []byte(table.String())}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	as := render.Artifacts{}
	for _, l := range f.Loaders {
		as[l.File.ID()] = render.Artifact{Digest: digest([]byte(l.Name)), Size: int64(len(l.Name))}
	}
	s, ds := render.Render(f, as, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return s
}

func rackAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 2, byte(1 + i/250), byte(1 + i%250)})
}

// TestMetadataOfRack: every machine gets its own metadata and user data each time, however many ask at once.
func TestMetadataOfRack(t *testing.T) { askAsRack(t, 10) }

// BenchmarkMetadataOfRack is the same with more rounds: 100,000 requests, a thousand of them at any time.
func BenchmarkMetadataOfRack(b *testing.B) {
	const rounds = 100
	for b.Loop() {
		askAsRack(b, rounds)
	}
	b.ReportMetric(float64(b.N*rackNodes*2*rounds)/b.Elapsed().Seconds(), "requests/s")
}

// askAsRack has each machine ask for two files in every round, on a connection of its own for each.
func askAsRack(t testing.TB, rounds int) {
	snap := rack(t)
	f := start(t, func(c *Config) {
		c.Event = func(fact.Event) {}
		c.Current = func() (*render.Snapshot, fact.Revision) { return snap, "r" }
	})
	var asking sync.WaitGroup
	failed := make(chan error, 2*rackNodes)
	for i := range rackNodes {
		for path, want := range map[string]string{"/meta-data": `"local-hostname":"n%03d"`, "/user-data": "fqdn: n%03d\n"} {
			asking.Go(func() { failed <- askAgain(f.addr.Port(), rackAddr(i), path, fmt.Sprintf(want, i), rounds) })
		}
	}
	asking.Wait()
	close(failed)
	bad := 0
	for err := range failed {
		if err != nil {
			if bad++; bad <= 3 {
				t.Error(err)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d conversations failed", bad, 2*rackNodes)
	}
	f.stop()
}

// askAgain asks for one file in every round.
func askAgain(port uint16, from netip.Addr, path, want string, rounds int) error {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), Timeout: time.Minute}
	conn, err := d.Dial("tcp4", netip.AddrPortFrom(c0001, port).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Minute))
	r := bufio.NewReader(conn)
	for round := range rounds {
		if err := ask(conn, r, path, want); err != nil {
			return fmt.Errorf("round %d of %s for %s: %w", round, path, from, err)
		}
	}
	return nil
}

func ask(conn io.Writer, r *bufio.Reader, path, want string) error {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		return fmt.Errorf("%s, want %q in\n%s", resp.Status, want, body)
	}
	return nil
}
