package tftp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// traced collects what is handed over, in words.
type traced struct {
	sync.Mutex
	lines []string
}

func (tr *traced) add(p fact.Packet) {
	tr.Lock()
	defer tr.Unlock()
	names := map[uint16]string{opRRQ: "RRQ", opDATA: "DATA", opACK: "ACK", opERROR: "ERROR", opOACK: "OACK"}
	op := binary.BigEndian.Uint16(p.Payload)
	line := names[op]
	if op == opDATA || op == opACK || op == opERROR {
		line += fmt.Sprint(" ", binary.BigEndian.Uint16(p.Payload[2:]))
	}
	line += fmt.Sprintf(", %d of %d bytes", len(p.Payload), p.Size)
	if p.Sent {
		line = "> " + line
	}
	if p.Skipped > 0 {
		line += fmt.Sprintf(", behind %d", p.Skipped)
	}
	if p.MAC != machine.mac || p.Node != machine.name || p.Proto != fact.ProtoTFTP {
		line += fmt.Sprintf(" of %s", p.MAC)
	}
	if p.From.Addr() != machine.addr || p.To.Addr() != machine.addr || p.From.Port() == p.To.Port() {
		line += fmt.Sprintf(" from %s to %s", p.From, p.To)
	}
	tr.lines = append(tr.lines, line)
}

// TestTrace holds what is handed over of a transfer: its beginning, its end, and no contents.
func TestTrace(t *testing.T) {
	for _, c := range []struct {
		name    string
		request string
		then    func(*peer)
		want    []string
	}{
		{"all of a short one", "RRQ multi.efi octet", fetchAll, []string{
			"RRQ, 18 of 18 bytes", "> DATA 1, 4 of 516 bytes", "ACK 1, 4 of 4 bytes", "> DATA 2, 4 of 516 bytes", "ACK 2, 4 of 4 bytes",
			"> DATA 3, 4 of 380 bytes", "ACK 3, 4 of 4 bytes",
		}},
		{"the ends of a long one", "RRQ large.efi octet blksize=1024", fetchAll, []string{
			"RRQ, 31 of 31 bytes", "> OACK, 15 of 15 bytes", "ACK 0, 4 of 4 bytes",
			"> DATA 1, 4 of 1028 bytes", "ACK 1, 4 of 4 bytes", "> DATA 2, 4 of 1028 bytes", "ACK 2, 4 of 4 bytes",
			"> DATA 1024, 4 of 1028 bytes, behind 2042", "ACK 1024, 4 of 4 bytes", "> DATA 1025, 4 of 4 bytes", "ACK 1025, 4 of 4 bytes",
		}},
		{"a size probe", "RRQ multi.efi octet tsize=0", func(p *peer) {
			p.receive(time.Second)
			p.send("ERROR 8 User aborted the transfer")
		}, []string{"RRQ, 26 of 26 bytes", "> OACK, 13 of 13 bytes", "ERROR 8, 30 of 30 bytes"}},
		{"a refusal", "RRQ nothing octet", func(p *peer) { p.receive(time.Second) },
			[]string{"RRQ, 16 of 16 bytes", "> ERROR 1, 19 of 19 bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := &traced{}
			f := start(t, func(c *Config) { c.Packet = got.add })
			p := newPeer(t, f.addr)
			p.send(c.request)
			c.then(p)
			f.events.next(t)
			f.stop()
			if diff := cmp.Diff(c.want, got.lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// fetchAll acknowledges blocks until the last.
func fetchAll(p *peer) {
	for {
		line := p.receive(5 * time.Second)
		n := 0
		if _, err := fmt.Sscanf(line, "DATA %d", &n); err != nil && !strings.HasPrefix(line, "OACK") {
			p.t.Fatalf("got %s", line)
		}
		p.send(fmt.Sprint("ACK ", n%65536))
		if slices.Contains(strings.Fields(line), "(last)") {
			return
		}
	}
}
