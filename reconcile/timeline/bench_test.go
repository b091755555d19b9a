package timeline

import (
	"testing"
	"time"

	"hostler/render/fact"
)

// A start reads everything that is kept; bytes a second say how long a full timeline takes.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	tl := open(b, dir, &marks{}, time.Now)
	for i := range 40_000 {
		tl.Record(discover(fact.MAC{6, 0, 0, 0, byte(i >> 3), byte(i)}, "node", uint32(i), epoch.Add(time.Duration(i)*time.Second)))
		if i%1000 == 0 {
			tl.flush()
		}
	}
	tl.Close()
	total := tl.nodes.size
	for _, s := range tl.nodes.sealed {
		total += s.size
	}
	b.SetBytes(total)
	for b.Loop() {
		open(b, dir, &marks{}, time.Now).Close()
	}
}

// What a server pays for each event.
func BenchmarkRecord(b *testing.B) {
	tl := open(b, b.TempDir(), &marks{}, time.Now)
	for n := 0; b.Loop(); n++ {
		tl.Record(discover(fact.MAC{6, 0, 0, 0, 0, byte(n)}, "node", 1, epoch))
	}
}
