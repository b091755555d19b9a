package httpd

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"hostler/render/fact"
	"hostler/servers/capture"
	"hostler/servers/metrics"
)

// BenchmarkScript asks for boot scripts through the loopback interface, on kept connections.
func BenchmarkScript(b *testing.B) {
	srv := start(b, func(c *Config) { c.Event = func(fact.Event) {} })
	benchmark(b, srv.url("/boot/v1/bootscript?mac=52:54:00:00:00:01"))
}

// BenchmarkScriptLimit is the same by a handler that only has the bytes: what net/http leaves to be reached.
func BenchmarkScriptLimit(b *testing.B) {
	srv := start(b, nil)
	_, script := srv.get(b, "/boot/v1/bootscript?mac=52:54:00:00:00:01")
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	bare := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", plainText)
		io.WriteString(w, script)
	})}
	done := make(chan error)
	go func() { done <- bare.Serve(l) }()
	defer func() {
		bare.Close()
		<-done
	}()
	benchmark(b, "http://"+l.Addr().String()+"/")
}

func benchmark(b *testing.B, url string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Get(url)
			if err != nil {
				b.Error(err)
				return
			}
			n, _ := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 || n < 100 {
				b.Errorf("status %d, %d bytes", resp.StatusCode, n)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "scripts/s")
}

// discard is a ResponseWriter without a connection.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// BenchmarkScriptHandler leaves net/http and the client out: the cost of an answer itself, and of an answer that is counted and whose
// packets are kept.
func BenchmarkScriptHandler(b *testing.B) {
	b.Run("alone", func(b *testing.B) { benchmarkHandler(b, func(fact.Event) {}, nil) })
	counts := metrics.New(func() metrics.Sample { return metrics.Sample{} })
	b.Run("watched", func(b *testing.B) { benchmarkHandler(b, counts.Event, capture.New().Add) })
}

func benchmarkHandler(b *testing.B, event func(fact.Event), packet func(fact.Packet)) {
	srv := start(b, func(c *Config) { c.Event, c.Packet = event, packet })
	ctx := context.WithValue(context.Background(), clientKey{}, srv.newClient(netip.AddrPortFrom(c0001, 1024), netip.MustParseAddrPort("127.0.0.1:8080"), false))
	r, err := http.NewRequestWithContext(ctx, "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:01", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for began := time.Now(); b.Loop(); {
		srv.ServeHTTP(discard{http.Header{}}, r)
		if time.Since(began) > time.Minute {
			b.Fatal("this takes too long")
		}
	}
}
