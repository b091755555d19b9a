package httpd

import (
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"hostler/render/fact"
	"hostler/servers/bss"
)

const (
	jsonType    = "application/json; charset=UTF-8"
	problemType = "application/problem+json"
	yamlType    = "text/yaml; charset=utf-8"
)

// readOnly is told to who wants to change what nodes boot.
const readOnly = "boot parameters are read-only here: the repository says what nodes boot; commit to it, and hostler plan shows the effect first"

// bssRoutes are the addresses of a Boot Script Service besides the boot script's.
func bssRoutes() []route {
	service := func(path string, parts ...string) route {
		return route{path: "/boot/v1/service/" + path, methods: reading, serve: func(x *exchange, _ string) { x.service(parts...) }}
	}
	return []route{
		{path: "/boot/v1/bootparameters", methods: reading, instead: readOnly, serve: func(x *exchange, _ string) {
			answer(x, (*bss.View).BootParameters)
		}},
		{path: "/boot/v1/hosts", methods: reading + ", POST", instead: readOnly, serve: func(x *exchange, _ string) { x.hosts() }},
		{path: "/boot/v1/endpoint-history", methods: reading, serve: func(x *exchange, _ string) { x.history() }},
		service("status", "bss-status"),
		service("status/all", "bss-version", "bss-status", "bss-status-hsm", "bss-status-etcd", "bss-storage-backend"),
		service("version", "bss-version"),
		service("hsm", "bss-status-hsm"),
		service("etcd", "bss-status-etcd"),
		service("storage/status", "bss-storage-backend"),
		{path: "/boot/v1/openapi.yaml", methods: reading, serve: func(x *exchange, _ string) { x.send(yamlType, bss.OpenAPI) }},
	}
}

// view is the current snapshot as the client may see it.
func (x *exchange) view() *bss.View {
	snap, rev := x.Current()
	x.event.Revision = rev
	v := &bss.View{Snapshot: snap, Values: x.values, All: x.reader(), Seen: x.BSS.Seen}
	if x.known {
		v.Own = x.event.Node
	}
	if v.Seen == nil {
		v.Seen = func(fact.MAC) bss.Seen { return bss.Seen{} }
	}
	return v
}

// reader reports whether the client may see the parameters of all nodes: by its network, or by the token that it shows.
func (x *exchange) reader() bool {
	if slices.ContainsFunc(x.BSS.Readers, func(p netip.Prefix) bool { return p.Contains(x.peer) }) {
		return true
	}
	shown, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer ")
	if !ok || x.BSS.Token == nil {
		return false
	}
	token := x.BSS.Token()
	return token != "" && subtle.ConstantTimeCompare([]byte(shown), []byte(token)) == 1
}

// answer sends what a view gives for the request's filter.
func answer[T any](x *exchange, ask func(*bss.View, bss.Filter) (T, *bss.Problem)) {
	body, err := io.ReadAll(http.MaxBytesReader(&x.w, x.r.Body, maxReport))
	if err != nil {
		x.problem(bss.Refuse(http.StatusBadRequest, "Bad Request - the body cannot be read, or is larger than 64 KiB."))
		return
	}
	f, problem := bss.ParseFilter(x.r.URL.RawQuery, body)
	if problem != nil {
		x.problem(problem)
		return
	}
	list, problem := ask(x.view(), f)
	x.reply(list, problem)
}

// scriptRecord gives what a node's script is made of: OpenCHAMI's bootscript?json=1.
func (x *exchange) scriptRecord() {
	x.event.Stage = fact.StageNone // no machine boots from it
	f, problem := bss.ParseFilter(x.r.URL.RawQuery, nil)
	if problem == nil && len(f.Queries) == 0 {
		problem = bss.Refuse(http.StatusBadRequest, "Need a mac=, name=, or nid= parameter")
	}
	if problem != nil {
		x.problem(problem)
		return
	}
	f.Queries = f.Queries[:1]
	list, problem := x.view().BootParameters(f)
	if problem != nil {
		x.problem(problem)
		return
	}
	x.json(http.StatusOK, jsonType, list[0])
}

func (x *exchange) hosts() {
	if x.r.Method == http.MethodPost { // have the inventory read again: it is followed anyway
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	answer(x, (*bss.View).Hosts)
}

func (x *exchange) history() {
	q, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		x.problem(bss.Refuse(http.StatusBadRequest, "Bad Request - the query cannot be read."))
		return
	}
	list, problem := x.view().History(q.Get("name"), q.Get("endpoint"))
	x.reply(list, problem)
}

// service says how the service is. Its inventory and its storage are there when a revision is in force.
func (x *exchange) service(parts ...string) {
	x.quiet = true
	there, status := "connected", http.StatusOK
	if snap, _ := x.Current(); snap == nil {
		there = "error"
	}
	out := map[string]any{}
	for _, p := range parts {
		switch p {
		case "bss-status":
			out[p] = "running"
		case "bss-version":
			out[p] = x.BSS.Version
		case "bss-storage-backend":
			out[p] = map[string]string{"name": "hostler", "status": there}
		default:
			out[p] = there
		}
		if there == "error" && p != "bss-status" && p != "bss-version" {
			status = http.StatusInternalServerError
		}
	}
	x.json(status, jsonType, out)
}

func (x *exchange) reply(v any, problem *bss.Problem) {
	if problem != nil {
		x.problem(problem)
		return
	}
	x.json(http.StatusOK, jsonType, v)
}

func (x *exchange) problem(p *bss.Problem) {
	x.event.Result, x.event.Detail = fact.Refused, fact.Printable(p.Detail)
	x.json(p.Status, problemType, p)
}

func (x *exchange) json(status int, contentType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	x.sendStatus(status, contentType, append(body, '\n'))
}
