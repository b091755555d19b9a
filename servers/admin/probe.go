package admin

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// Health is how one part is doing.
type Health string

// The states of a part. A degraded part still does its work for the machines that it knows: whoever
// watches must be told, and nobody should take the server out of service for it.
const (
	Healthy  Health = "ok"
	Degraded Health = "degraded"
	Broken   Health = "failed"
)

// Check is one named statement about health. The message may hold what only operators should read.
type Check struct {
	Name    string `json:"name"`
	Health  Health `json:"health"`
	Message string `json:"message,omitempty"`
}

// Overall is the worst health of all checks.
func Overall(checks []Check) Health {
	worst := Healthy
	for _, c := range checks {
		if c.Health == Broken {
			return Broken
		}
		if c.Health == Degraded {
			worst = Degraded
		}
	}
	return worst
}

// Watched is what monitoring asks for.
type Watched interface {
	Checks() []Check
	Metrics() http.Handler
}

// probes adds what monitoring asks for. With private set, checks are told by name and state only.
func probes(mux *http.ServeMux, b Watched, private bool) {
	mux.Handle("GET /metrics", b.Metrics())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { ready(w, r, b.Checks(), private) })
	mux.HandleFunc("GET /readyz/{check}", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range b.Checks() {
			if c.Name == r.PathValue("check") {
				ready(w, r, []Check{c}, private)
				return
			}
		}
		http.NotFound(w, r)
	})
}

// ready answers with 503 when a part is broken, and says which. It is ready, with a warning, when a part is degraded.
func ready(w http.ResponseWriter, r *http.Request, checks []Check, private bool) {
	overall := Overall(checks)
	code := http.StatusOK
	if overall == Broken {
		code = http.StatusServiceUnavailable
	}
	shown := make([]Check, len(checks))
	copy(shown, checks)
	for i := range shown {
		if private {
			shown[i].Message = ""
		}
	}
	q := r.URL.Query()
	w.Header().Set("Cache-Control", "no-store")
	if q.Get("format") == "json" || strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"ready": overall != Broken, "health": overall, "checks": shown})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	for _, c := range shown {
		if q.Has("verbose") || c.Health != Healthy {
			fmt.Fprintln(w, strings.TrimSuffix(fmt.Sprintf("%-8s  %s: %s", c.Health, c.Name, c.Message), ": "))
		}
	}
	fmt.Fprintln(w, map[Health]string{Healthy: "ready", Degraded: "ready, but degraded", Broken: "not ready"}[overall])
}

// monitoringConns is how many connections are open at once: some scrapers and load balancers. Further ones wait in the kernel.
const monitoringConns = 64

// ListenMonitoring binds a TCP address that serves /metrics, /healthz and /readyz, and nothing else. Whoever can reach it can
// read them: the reasons behind a check, which may name files of this host, are only told on the socket.
func ListenMonitoring(addr netip.AddrPort, b Watched, log *slog.Logger) (*Server, error) {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("binding the monitoring address: %w", err)
	}
	mux := http.NewServeMux()
	probes(mux, b, true)
	s := newServer(netutil.LimitListener(l, monitoringConns), mux, log)
	s.http.WriteTimeout = 30 * time.Second
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }
