package httpd

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render/fact"
)

var update = flag.Bool("update", false, "rewrite the responses and events in testdata")

// TestExchanges sends the requests of each archive in testdata as they are written, from the address in the section's name, and
// compares responses and events. Digests of files are written as {{key}}.
func TestExchanges(t *testing.T) {
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := txtar.Format(a)
			var change func(*Config)
			if strings.Contains(name, "secrets") {
				change = withSecrets(t)
			}
			got := txtar.Format(play(t, a, change))
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("exchanges differ (-want +got):\n%s", diff)
			}
		})
	}
}

// play answers every request section: "request from ADDRESS: why".
func play(t *testing.T, a *txtar.Archive, change func(*Config)) *txtar.Archive {
	out := &txtar.Archive{Comment: a.Comment}
	srv := start(t, change)
	for _, f := range a.Files {
		head, _, _ := strings.Cut(f.Name, ":")
		from, ok := strings.CutPrefix(head, "request from ")
		if !ok {
			continue
		}
		head, body := srv.raw(t, from, string(f.Data))
		out.Files = append(out.Files, f,
			txtar.File{Name: "response", Data: []byte(normal(head, body))},
			txtar.File{Name: "event", Data: []byte(srv.reported(t, len(body)))})
	}
	return out
}

// raw sends a request and gives what comes back until the connection ends.
func (f fixture) raw(t *testing.T, from, request string) (head, body string) {
	t.Helper()
	conn := f.dial(t, from)
	for key, b := range contents {
		request = expand(request, "{{"+key+"}}", string(digest(b)))
	}
	head, body, _ = strings.Cut(strings.TrimSuffix(request, "\n"), "\n\n")
	head += "\nHost: boot\nConnection: close\n"
	if body != "" {
		head += fmt.Sprintf("Content-Length: %d\n", len(body))
	}
	if _, err := io.WriteString(conn, expand(head+"\n", "\n", "\r\n")+body); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ = strings.Cut(string(answer), "\r\n\r\n")
	return head, body
}

func (f fixture) dial(t testing.TB, from string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 5 * time.Second}
	conn, err := d.Dial("tcp4", f.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

var (
	dateLine  = regexp.MustCompile(`(?m)^Date: .*\n`)
	sleepLine = regexp.MustCompile(`(?m)^sleep \d+$`)
)

// normal makes a response comparable: LF for CRLF, without its date, with names for digests, and large bodies by their length.
// How long a script sleeps is drawn by render; its length is checked here instead of shown.
func normal(head, body string) string {
	head = dateLine.ReplaceAllString(expand(head, "\r\n", "\n")+"\n", "")
	if strings.HasPrefix(body, "#!ipxe\n") {
		head = expand(head, fmt.Sprintf("Content-Length: %d\n", len(body)), "Content-Length: (exact)\n")
		body = sleepLine.ReplaceAllString(body, "sleep (drawn)")
	}
	if len(body) > 2000 {
		body = fmt.Sprintf("(%d bytes, %s)", len(body), digest([]byte(body)))
	}
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n" // an archive's section ends in one
	}
	text := head + "\n" + body
	for key, b := range contents {
		text = expand(text, string(digest(b)), "{{"+key+"}}")
	}
	return text
}

func expand(s, from, to string) string { return strings.ReplaceAll(s, from, to) }

// reported is the event of the last request, whose answer had a body of the length.
func (f fixture) reported(t testing.TB, body int) string {
	t.Helper()
	select {
	case e := <-f.events:
		sent := "all of the body"
		if e.Bytes != int64(body) {
			sent = fmt.Sprintf("%d bytes of a body of %d", e.Bytes, body)
		}
		s := fmt.Sprintf("%s %s %q for %s (%s, %s) at %s of %s: %s, %s\n", e.Stage, e.What, e.File, e.Node, e.MAC, e.Client, e.Peer, e.Revision, e.Result, sent)
		if e.Boot != "" {
			s += "boot " + string(e.Boot) + "\n"
		}
		if e.Detail != "" {
			s += e.Detail + "\n"
		}
		if strings.Contains(fmt.Sprintf("%+v", e), string(token)) {
			t.Errorf("the token is in the event %+v", e)
		}
		return s
	case <-time.After(5 * time.Second):
		t.Fatal("no event came")
		return ""
	}
}

// event is the next event as it is.
func (f fixture) event(t testing.TB) fact.Event {
	t.Helper()
	select {
	case e := <-f.events:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event came")
		return fact.Event{}
	}
}
