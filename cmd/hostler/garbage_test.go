package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestGarbagePercent(t *testing.T) {
	for _, c := range []struct {
		inUse uint64
		want  int
	}{
		{0, 400}, {8 << 20, 400}, {16 << 20, 400}, {20 << 20, 300}, {32 << 20, 200}, {40 << 20, 150}, {50 << 20, 100}, {64 << 20, 100}, {300 << 20, 100},
	} {
		if got := garbagePercent(c.inUse); got != c.want {
			t.Errorf("with %d MiB in use: %d, want %d", c.inUse>>20, got, c.want)
		}
	}
}

// TestSpareCollector has the task read what the runtime says; it says nothing of a name that it does not know.
func TestSpareCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	t.Setenv("GOGC", "")
	runtime.GC() // it is known at the end of a collection what is in use
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := spareCollector(ctx); err != nil {
		t.Fatal(err)
	}
	now := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(now)
	if live, got := now[0].Value.Uint64(), now[1].Value.Uint64(); live == 0 || got != uint64(garbagePercent(live)) {
		t.Errorf("%d bytes in use, %d percent", live, got)
	}
}
