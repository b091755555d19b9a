package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"hostler/render"
	"hostler/render/fact"
)

func routes(b Backend) http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(url.Values) (any, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r.URL.Query())
			answer(w, v, err)
		})
	}
	probes(mux, b, false)
	get("/v1/status", func(url.Values) (any, error) { return b.Status(), nil })
	get("/v1/nodes", func(q url.Values) (any, error) { return b.Nodes(filterOf(q)), nil })
	get("/v1/leases", func(url.Values) (any, error) { return b.Leases(), nil })
	get("/v1/inbox", func(q url.Values) (any, error) { return b.Inbox(filterOf(q)) })
	get("/v1/assignments", func(url.Values) (any, error) { return b.Assignments(), nil })
	get("/v1/served", func(url.Values) (any, error) { return b.Served() })
	get("/v1/bootscript", func(q url.Values) (any, error) { return script(b, q) })
	get("/v1/boots", func(q url.Values) (any, error) { return b.Boots(filterOf(q)) })
	get("/v1/packets", func(q url.Values) (any, error) { return b.Packets(filterOf(q)) })
	mux.HandleFunc("GET /v1/stuck", func(w http.ResponseWriter, r *http.Request) {
		v, err := b.Stuck(r.Context(), filterOf(r.URL.Query()))
		answer(w, v, err)
	})
	mux.HandleFunc("POST /v1/play", func(w http.ResponseWriter, r *http.Request) {
		var req struct {
			Machine string `json:"machine"`
		}
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&req); err != nil {
			http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, struct{}{}, b.Play(req.Machine))
	})
	mux.HandleFunc("POST /v1/reconcile", func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, b.Reconcile(r.Context()))
	})
	mux.HandleFunc("POST /v1/apply", func(w http.ResponseWriter, r *http.Request) {
		var req ApplyRequest
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&req); err != nil {
			http.Error(w, "reading the request: "+err.Error(), http.StatusBadRequest)
			return
		}
		v, err := b.Apply(r.Context(), req)
		answer(w, v, err)
	})
	mux.HandleFunc("POST /v1/orders", order(b))
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) { follow(w, r, b) })
	mux.HandleFunc("GET /v1/state/backup", func(w http.ResponseWriter, r *http.Request) {
		if err := b.Backup(r.Context(), w); err != nil {
			// The status line may be gone already: a cut answer is what tells the client.
			panic(http.ErrAbortHandler)
		}
	})
	return mux
}

func script(b Backend, v url.Values) (any, error) {
	q := render.Query{Name: v.Get("name"), NID: v.Get("nid")}
	if mac := v.Get("mac"); mac != "" {
		var err error
		if q.MAC, err = fact.ParseMAC(mac); err != nil {
			return nil, fmt.Errorf("%w: %v", ErrRefused, err)
		}
	}
	retry, _ := strconv.Atoi(v.Get("retry"))
	return b.Script(q, retry), nil
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		code := http.StatusInternalServerError
		if errors.Is(err, ErrRefused) {
			code = http.StatusConflict
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // on an error the client is gone: nobody is left to tell
}

// follow writes one event a line. The first line is empty: it tells the client that nothing from now on is missed.
func follow(w http.ResponseWriter, r *http.Request, b Backend) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	fmt.Fprintln(w)
	out := http.NewResponseController(w)
	_ = out.Flush()
	enc := json.NewEncoder(w)
	b.Follow(ctx, func(e fact.Event) {
		if enc.Encode(e) != nil || out.Flush() != nil {
			cancel()
		}
	})
}
