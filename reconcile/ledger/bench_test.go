package ledger_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"hostler/render/fact"
)

// One machine after the other: each waits for its own fdatasync.
func BenchmarkBindSerial(b *testing.B) {
	l, _ := leasesIn(b, b.TempDir(), time.Now)
	rs := ranges("10.0.0.0", "10.255.255.255")
	for n := 0; b.Loop(); n++ {
		mustBind(b, l, claim(n, rs))
	}
}

// Requests that come while a batch is being written share the next one, as a DHCP server's do.
func BenchmarkBindGroup(b *testing.B) {
	l, _ := leasesIn(b, b.TempDir(), time.Now)
	rs := ranges("10.0.0.0", "10.255.255.255")
	inFlight := make(chan bool, 1024)
	var wg sync.WaitGroup
	for n := 0; b.Loop(); n++ {
		inFlight <- true
		wg.Add(1)
		l.Bind(offer(b, l, claim(n, rs)), func(err error) {
			if err != nil {
				b.Error(err)
			}
			<-inFlight
			wg.Done()
		})
	}
	wg.Wait()
}

func BenchmarkBindParallel(b *testing.B) {
	l, _ := leasesIn(b, b.TempDir(), time.Now)
	rs := ranges("10.0.0.0", "10.255.255.255")
	var n atomic.Int64
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mustBind(b, l, claim(int(n.Add(1)), rs))
		}
	})
}

// The cost of an offer must depend neither on the number of leases nor on how the pool is cut.
func BenchmarkOffer(b *testing.B) {
	for _, leases := range []int{100, 10_000, 100_000} {
		b.Run(fmt.Sprintf("leases=%d", leases), func(b *testing.B) {
			l, _ := leasesIn(b, b.TempDir(), time.Now)
			var rs []fact.Range // every second address, as reserved ones cut it
			for a := addr("10.0.0.0"); len(rs) < 2*leases; a = a.Next().Next() {
				rs = append(rs, fact.Range{First: a, Last: a})
			}
			var wg sync.WaitGroup
			wg.Add(leases)
			for n := range leases {
				l.Bind(offer(b, l, claim(n, rs)), func(error) { wg.Done() })
				if n%10_000 == 9_999 {
					l.Checkpoint(b.Context())
				}
			}
			wg.Wait()
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				offer(b, l, claim(1<<20+n%(leases/2), rs))
			}
		})
	}
}

func BenchmarkHolder(b *testing.B) {
	l, _ := leasesIn(b, b.TempDir(), time.Now)
	lease := mustBind(b, l, claim(1, ranges("10.0.0.0", "10.0.0.255")))
	for b.Loop() {
		if _, ok := l.Holder(lease.Addr); !ok {
			b.Fatal("not held")
		}
	}
}
