package main

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The garbage collector works each time when as much was allocated as is in use. With a small fleet that is a few megabytes, which
// boot scripts fill ten times a second: a fifth of the server's time went there. So it may always wait for garbageLeast; where more
// than that is in use, as with a hundred thousand nodes, nothing changes and no more memory is needed.
const (
	garbageLeast = 64 << 20 // bytes
	garbageUsual = 100      // percent of what is in use; Go's default
	garbageMost  = 400
	garbageStep  = 50 // so that it is set rarely: setting it stops the program for a moment
)

// garbagePercent is how much may be allocated before the garbage collector works, as a part of what is in use.
func garbagePercent(inUse uint64) int {
	percent := int(garbageLeast * 100 / max(inUse, 1<<20))
	return min(max(percent/garbageStep*garbageStep, garbageUsual), garbageMost)
}

// spareCollector is the task that follows what is in use. Whoever sets GOGC knows better.
func spareCollector(ctx context.Context) error {
	if os.Getenv("GOGC") != "" {
		<-ctx.Done()
		return nil
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for set := garbageUsual; ; {
		metrics.Read(live)
		if percent := garbagePercent(live[0].Value.Uint64()); percent != set {
			debug.SetGCPercent(percent)
			set = percent
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}
