package tftp

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

var update = flag.Bool("update", false, "rewrite the server's side of the replay files")

// TestReplay plays the client's packets of each file in testdata/replay and compares what comes back, packet by packet:
//
//	# comment
//	> a packet of the client; a request comes from a new port
//	< the packet of the server, or "nothing"
//	= an event, or the content received so far
func TestReplay(t *testing.T) {
	names, err := filepath.Glob("testdata/replay/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no replay files", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("replay differs (-want +got):\n%s", diff)
			}
		})
	}
}

func replay(t *testing.T, script string) string {
	srv := start(t, nil)
	var p *peer
	var file string
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case ">":
			if f := strings.Fields(rest); f[0] == "RRQ" || f[0] == "WRQ" {
				p, file = newPeer(t, srv.addr), f[1]
			}
			p.send(rest)
		case "<":
			wait := 2 * time.Second
			if rest == "nothing" {
				wait = 50 * time.Millisecond
			}
			line = "< " + p.receive(wait)
		case "=":
			line = "= " + describe(t, srv, p, file, rest)
		}
		out.WriteString(line + "\n")
	}
	srv.events.none(t)
	return hideSize(out.String())
}

// hideSize puts a word for the size of a generated file, which is render's business.
func hideSize(transcript string) string {
	if !strings.Contains(transcript, "RRQ pxelinux.cfg") {
		return transcript
	}
	_, rest, _ := strings.Cut(transcript, "OACK tsize=")
	size, _, _ := strings.Cut(rest, "\n")
	if size == "" || size == "0" {
		return transcript
	}
	return strings.ReplaceAll(strings.ReplaceAll(transcript, "tsize="+size, "tsize=(size)"), " "+size+" bytes", " (size) bytes")
}

func describe(t *testing.T, srv fixture, p *peer, file, what string) string {
	if strings.HasPrefix(what, "content") {
		if bytes.Equal(p.data, files[file]) {
			return fmt.Sprintf("content complete, %d bytes", len(p.data))
		}
		return fmt.Sprintf("content wrong, %d bytes", len(p.data))
	}
	return "event " + show(srv.events.next(t))
}

func show(e fact.Event) string {
	s := fmt.Sprintf("%s %s %q for %s (%s) at %s: %s, %d bytes", e.Stage, e.What, e.File, e.Node, e.MAC, e.Peer, e.Result, e.Bytes)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}
