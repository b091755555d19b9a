package httpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// exchange is one request and its answer. There is one for each connection, used again and again: HTTP/1 asks nothing before the last
// answer is there, and net/http writes the headers, whose values are here, after the handler has returned.
type exchange struct {
	*Server
	*client
	w     response
	texts [3]string // values of headers
	r     *http.Request
	known bool // the event says which machine the peer is
	event fact.Event
	quiet bool // no event, for requests of no machine
}

// ServeHTTP finds what is asked for, answers, and reports. Paths are taken apart here and not by http.ServeMux, which
// answers an unusual one with a redirect.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.exchange(w, r)
	defer x.finish()
	path := cleanPath(r.URL.Path)
	if rest, ok := strings.CutPrefix(path, s.prefix+"/"); ok && s.prefix != "" {
		path = "/" + rest
	}
	rt, rest := s.routes.find(path)
	switch {
	case rt == nil || x.seedOnly && !rt.seed:
		x.refuse(http.StatusNotFound, "there is nothing here", "no such path")
	case rt.allows(r.Method):
		rt.serve(x, rest)
	default:
		x.notAllowed(rt)
	}
}

// route is what is served at an address.
type route struct {
	path    string // whole; or, with a slash at its end, that of everything below
	methods string
	seed    bool // on the listener for cloud-init, too
	serve   func(x *exchange, rest string)
	instead string // what is told to who asks by another method; empty: nothing particular
}

const (
	reading = "GET, HEAD"
	posting = "POST"
)

func (r *route) allows(method string) bool {
	return method == http.MethodGet && r.methods != posting || method == http.MethodHead && r.methods != posting ||
		method == http.MethodPost && r.methods != reading
}

// routes are all addresses: whole ones in the map.
type routes struct {
	whole map[string]*route
	below []*route
}

func newRoutes() routes {
	rs := routes{whole: map[string]*route{}}
	for _, r := range addresses() {
		if strings.HasSuffix(r.path, "/") {
			rs.below = append(rs.below, &r)
		} else {
			rs.whole[r.path] = &r
		}
	}
	return rs
}

func (rs *routes) find(path string) (r *route, rest string) {
	if r := rs.whole[path]; r != nil {
		return r, ""
	}
	for _, r := range rs.below {
		if rest, ok := strings.CutPrefix(path, r.path); ok {
			return r, rest
		}
	}
	return nil, ""
}

// addresses is what the OpenAPI document describes.
func addresses() []route {
	list := []route{
		{path: "/boot/v1/bootscript", methods: reading, serve: func(x *exchange, _ string) { x.bootscript() }},
		{path: "/boot.ipxe", methods: reading, serve: func(x *exchange, _ string) { x.bootIPXE() }},
		{path: "/files/", methods: reading, serve: func(x *exchange, rest string) {
			digest, name, _ := strings.Cut(rest, "/")
			x.file(digest, name)
		}},
		{path: "/config/", methods: reading, serve: (*exchange).config},
		{path: "/phone-home", methods: posting, seed: true, serve: func(x *exchange, _ string) { x.phoneHome() }},
		{path: "/healthz", methods: reading, seed: true, serve: func(x *exchange, _ string) {
			x.quiet = true
			x.text("ok\n")
		}},
	}
	return append(append(list, bssRoutes()...), seedRoutes()...)
}

// cleanPath removes doubled slashes: they come from loaders that join a prefix with a name. Dots mean nothing here.
func cleanPath(p string) string {
	for strings.Contains(p, "//") {
		p = strings.ReplaceAll(p, "//", "/")
	}
	return p
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) *exchange {
	c := s.clientOf(r)
	x := &c.exchange
	*x = exchange{Server: s, r: r, client: c}
	x.w = response{ResponseWriter: w, stall: s.StallTimeout}
	if r.ContentLength != 0 { // net/http reads what the handler leaves, before it answers
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.StallTimeout))
	}
	x.event = fact.Event{
		Time: s.Now(), What: method(r.Method), File: shown(r.URL.Path), Peer: x.peer, Client: program(r.UserAgent()),
	}
	if now := x.event.Time; now.Sub(x.extended) > s.StallTimeout/4 {
		x.w.extend()
		x.extended = now
	}
	x.recognise()
	return x
}

// client is what holds for every request of a connection.
type client struct {
	from, to netip.AddrPort
	peer     netip.Addr  // of from
	values   late.Values // what late values become
	extended time.Time   // when it got its time to take an answer; not for each script: that is dearer than what is in it
	seedOnly bool        // it came to the listener for cloud-init
	exchange exchange    // the one under way, or the last
}

type clientKey struct{}

// remember is an http.Server's ConnContext.
func (s *Server) remember(ctx context.Context, conn net.Conn) context.Context {
	_, secure := conn.(*tls.Conn)
	return context.WithValue(ctx, clientKey{}, s.newClient(addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr()), secure))
}

func addrPort(a net.Addr) netip.AddrPort {
	tcp, _ := a.(*net.TCPAddr)
	ap := tcp.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (s *Server) clientOf(r *http.Request) *client {
	c, _ := r.Context().Value(clientKey{}).(*client)
	if c == nil { // not from our listeners
		c = s.newClient(netip.AddrPort{}, netip.AddrPort{}, false)
	}
	return c
}

// newClient says what late values become for a client, by where it connected to. A machine that came over TLS stays there: its loader
// could check who we are.
func (s *Server) newClient(from, to netip.AddrPort, secure bool) *client {
	base := s.Base
	c := &client{from: from, to: to, peer: from.Addr(), values: late.Values{Server: to.Addr(), Signer: s.Signer},
		seedOnly: s.seedPort != 0 && to.Port() == s.seedPort}
	if secure {
		base.SecurePort = to.Port()
		c.values.Base = base.Secure(to.Addr())
		return c
	}
	if base.Port == 0 {
		base.Port = to.Port()
	}
	c.values.Base, c.values.Secure = base.URL(to.Addr()), base.Secure(to.Addr())
	return c
}

// recognise finds the machine by its lease, or, when another DHCP server gave it its address, by the address that it
// was declared with.
func (x *exchange) recognise() {
	snap, _ := x.Current()
	if lease, held := x.Leases.Holder(x.peer); held {
		x.event.MAC, x.event.Node, x.known = lease.MAC, lease.Node, true
		if snap != nil { // a lease outlives the revision that it was made in: another machine may be the node by now
			x.event.Node = ""
			if n, ok := snap.Whose(render.Query{MAC: lease.MAC}); ok {
				x.event.Node = n.Name
			}
		}
		return
	}
	if snap != nil {
		x.event.MAC, x.event.Node, x.known = snap.At(x.peer)
	}
}

// method bounds what an event repeats of a request line.
func method(m string) string {
	if len(m) > 16 {
		return "?"
	}
	return m
}

// program reads a User-Agent: "iPXE/1.21.1+", and EDK2's "UefiHttpBoot/1.0".
func program(agent string) fact.Client {
	switch {
	case strings.HasPrefix(agent, "iPXE/"):
		return fact.ClientIPXE
	case strings.HasPrefix(agent, "UefiHttpBoot/"):
		return fact.ClientROM
	default:
		return fact.ClientUnknown
	}
}

// finish ends the exchange, a panic's too, and reports it. An answer that had begun by then is shorter than its
// Content-Length, so net/http closes the connection and the client knows.
func (x *exchange) finish() {
	if p := recover(); p != nil {
		x.Log.Error("panic while answering an HTTP request", "path", x.event.File, "peer", x.peer, "err", p, "stack", string(debug.Stack()))
		x.event.Result, x.event.Detail = fact.Failed, "internal error"
		if x.w.status == 0 {
			x.error(http.StatusInternalServerError, "internal error")
		}
	}
	x.report()
	x.r, x.w.ResponseWriter = nil, nil // a client that says nothing more holds neither
}

func (x *exchange) report() {
	e := &x.event
	e.Bytes, e.Duration, e.Status = x.w.sent, x.Now().Sub(e.Time), x.w.status
	if x.r.Method == http.MethodHead {
		e.Bytes = 0
	}
	if e.Result == "" {
		e.Result = fact.OK
		if x.r.Method == http.MethodHead {
			e.Result = fact.Probe
		}
	}
	if x.w.err != nil && e.Result == fact.OK {
		e.Result, e.Detail = fact.Failed, "the machine closed the connection after "+strconv.FormatInt(e.Bytes, 10)+" bytes"
	}
	// The path is logged without its query: that may hold a token.
	if x.Log.Enabled(x.r.Context(), slog.LevelDebug) {
		x.Log.Debug("request", "method", e.What, "path", e.File, "status", x.w.status, "bytes", e.Bytes, "peer", x.peer,
			"mac", e.MAC, "node", e.Node, "revision", e.Revision, "boot", e.Boot, "err", e.Detail)
	}
	if !x.quiet {
		x.Event(*e)
		x.packets(e.Time.Add(e.Duration))
	}
}

const plainText = "text/plain; charset=utf-8"

// text sends a short text that nobody may keep.
func (x *exchange) text(body string) { x.send(plainText, []byte(body)) }

func (x *exchange) send(contentType string, body []byte) {
	x.sendStatus(http.StatusOK, contentType, body)
}

func (x *exchange) sendStatus(status int, contentType string, body []byte) {
	x.header(contentType, len(body))
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = x.w.Write(body) // the response keeps its error
	}
}

// header describes an answer that is one text. The keys are in the form that net/http would give them.
func (x *exchange) header(contentType string, length int) {
	x.texts = [...]string{contentType, strconv.Itoa(length), "no-store"}
	h := x.w.Header()
	h["Content-Type"], h["Content-Length"], h["Cache-Control"] = x.texts[0:1:1], x.texts[1:2:2], x.texts[2:3:3]
}

func (x *exchange) error(status int, text string) {
	x.header(plainText, len(text)+1)
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		_, _ = io.WriteString(&x.w, text+"\n")
	}
}

// refuse answers with an error; the reason is for the operator, the text for the client.
func (x *exchange) refuse(status int, text, reason string) {
	x.event.Result, x.event.Detail = fact.Refused, reason
	x.error(status, text)
}

func (x *exchange) notAllowed(r *route) {
	x.w.Header().Set("Allow", r.methods)
	x.refuse(http.StatusMethodNotAllowed, cmp.Or(r.instead, "method not allowed"), "method not allowed")
}

// snapshot finds the snapshot of a revision that a boot is pinned to.
func (s *Server) snapshot(rev fact.Revision) (*render.Snapshot, bool) {
	if snap, now := s.Current(); now == rev {
		return snap, snap != nil
	}
	return s.At(rev)
}
