package admin

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ill is a room in which one part is broken.
type ill struct{ room }

func (ill) Checks() []Check {
	return append(room{}.Checks(), Check{"dhcp", Broken, "eth1: not served: there is no such interface"})
}

func TestReady(t *testing.T) {
	for _, c := range []struct {
		name    string
		b       Backend
		private bool
		path    string
		code    int
		want    string
	}{
		{"what is worth reading", room{}, false, "/readyz", 200, "degraded  source: asking /srv/fleet: no such file\nready, but degraded\n"},
		{"everything", room{}, false, "/readyz?verbose", 200, "ok        config: serving main@sha1:0\ndegraded  source: asking /srv/fleet: no such file\nok        leases\nready, but degraded\n"},
		{"a broken part", ill{}, false, "/readyz", 503, "degraded  source: asking /srv/fleet: no such file\nfailed    dhcp: eth1: not served: there is no such interface\nnot ready\n"},
		{"one part", ill{}, false, "/readyz/config", 200, "ready\n"},
		{"the broken part", ill{}, false, "/readyz/dhcp", 503, "failed    dhcp: eth1: not served: there is no such interface\nnot ready\n"},
		{"no such part", ill{}, false, "/readyz/ntp", 404, "404 page not found\n"},
		{"over TCP without the reasons", ill{}, true, "/readyz", 503, "degraded  source\nfailed    dhcp\nnot ready\n"},
		{"JSON", room{}, true, "/readyz?format=json", 200,
			`{"checks":[{"name":"config","health":"ok"},{"name":"source","health":"degraded"},{"name":"leases","health":"ok"}],"health":"degraded","ready":true}` + "\n"},
		{"the process alone", ill{}, false, "/healthz", 200, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			probes(mux, c.b, c.private)
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", c.path, nil))
			if w.Code != c.code || w.Body.String() != c.want {
				t.Errorf("got %d, want %d: %s", w.Code, c.code, cmp.Diff(c.want, w.Body.String()))
			}
		})
	}
}

// TestMonitoringIsNothingElse holds that the TCP address gives monitoring what it needs, and nobody a lever.
func TestMonitoringIsNothingElse(t *testing.T) {
	s, err := ListenMonitoring(netip.MustParseAddrPort("127.0.0.1:0"), ill{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for path, code := range map[string]int{
		"/metrics": 200, "/healthz": 200, "/readyz": 503, "/readyz/leases": 200,
		"/": 404, "/v1/status": 404, "/v1/leases": 404, "/v1/events": 404, "/v1/state/backup": 404, "/v1/packets": 404, "/debug/pprof/": 404,
	} {
		resp, err := http.Get("http://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != code {
			t.Errorf("GET %s: %d, want %d", path, resp.StatusCode, code)
		}
	}
	for _, path := range []string{"/v1/reconcile", "/v1/apply", "/metrics"} {
		resp, err := http.Post("http://"+s.Addr().String()+path, "application/json", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 && resp.StatusCode != 405 {
			t.Errorf("POST %s: %d", path, resp.StatusCode)
		}
	}
}

// TestMonitoringIsBounded holds that nobody uses up the server's files through the monitoring address.
func TestMonitoringIsBounded(t *testing.T) {
	s, err := ListenMonitoring(netip.MustParseAddrPort("127.0.0.1:0"), ill{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Serve(ctx) }()
	defer func() { stop(); <-done }()
	var held []net.Conn
	for range monitoringConns {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	if resp, err := client.Get("http://" + s.Addr().String() + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("one more connection is served")
	}
	held[0].Close()
	client.Timeout = 30 * time.Second
	resp, err := client.Get("http://" + s.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
