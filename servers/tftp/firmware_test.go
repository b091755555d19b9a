package tftp

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// capture is a request that firmware, or a program that it loaded, sent.
type capture struct {
	name string // of the boot and the packet in it
	text string // the request in the notation of the replay files
	data []byte
}

// firmwareRequests are the TFTP requests of the boots in testdata/captures.
func firmwareRequests(t testing.TB) (cs []capture) {
	t.Helper()
	files, err := filepath.Glob("../../testdata/captures/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no captures of firmware", err)
	}
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			name, ok := strings.CutSuffix(f.Name, ".tftp")
			if !ok {
				continue
			}
			comment, digits, _ := strings.Cut(string(f.Data), "\n")
			data, err := hex.DecodeString(strings.ReplaceAll(digits, "\n", ""))
			if err != nil {
				t.Fatalf("%s: %s: %v", file, f.Name, err)
			}
			cs = append(cs, capture{strings.TrimSuffix(filepath.Base(file), ".txtar") + " " + name, strings.TrimPrefix(comment, "# "), data})
		}
	}
	return cs
}

// Each kind of firmware asks in its own way; testdata/firmware.txt has what it is told. It asks for another file here, since
// the files that it asked for are not there.
func TestFirmwareRequests(t *testing.T) {
	srv := start(t, nil)
	var got strings.Builder
	for _, c := range firmwareRequests(t) {
		if b, err := encode(c.text); err != nil || !bytes.Equal(b, c.data) {
			t.Errorf("%s: %q is not what the packet says: %v\n% x\n% x", c.name, c.text, err, b, c.data)
		}
		parts := bytes.SplitN(c.data[2:], []byte{0}, 2)
		p := newPeer(t, srv.addr)
		if _, err := p.conn.WriteToUDPAddrPort(append([]byte("\x00\x01large.efi\x00"), parts[1]...), srv.addr); err != nil {
			t.Fatal(err)
		}
		got.WriteString(c.name + ": " + c.text + "\n    " + p.receive(5*time.Second) + "\n")
		p.send("ERROR 8 User aborted the transfer")
	}
	golden := filepath.Join("testdata", "firmware.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Error(d)
	}
}
