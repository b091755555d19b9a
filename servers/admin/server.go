// Package admin serves the operator's API over a unix socket: what is served, to whom, since when, and the few things an
// operator may ask for. It knows the transport; what the answers mean is its backend's and its client's business.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"hostler/render"
	"hostler/render/fact"
)

// Backend is what the API is about. Values of type any are written as JSON; the commands that ask know their types.
type Backend interface {
	Watched
	Status() any                                      // what is served, and every condition
	Nodes(f Filter) any                               // declared machines with what is known of them
	Leases() []fact.Lease                             // addresses in use
	Inbox(f Filter) (any, error)                      // machines that asked and that nobody declared
	Boots(f Filter) (any, error)                      // newest boots of a machine, or the newest of each
	Packets(f Filter) (any, error)                    // of the newest boots of a machine, as far as they are kept
	Stuck(ctx context.Context, f Filter) (any, error) // machines that do not boot, or one machine, and why
	Script(q render.Query, retry int) any             // the boot script of a machine, without what only that may have
	Served() (any, error)                             // the fleet, artifacts and leases that a plan compares with
	Play(machine string) error                        // a play of the machine begins, which is no boot of it
	Reconcile(ctx context.Context) error              // look for a new revision now
	Apply(ctx context.Context, r ApplyRequest) (any, error)
	Assignments() any // what was ordered for nodes, and what they proved to have installed
	// Order carries out a person's order for machines, or gives ErrRefused and why; nothing is done then. When it returns it is
	// durable, and every answer to a machine follows it.
	Order(ctx context.Context, r OrderRequest) (any, error)
	Follow(ctx context.Context, f func(fact.Event)) // every event from now on, until ctx ends
	Backup(ctx context.Context, w io.Writer) error  // a copy of the state
}

// Filter says which machines and boots are wanted.
type Filter struct {
	Machine string // name or MAC; empty: all
	Newest  int    // how many boots of a machine; 0: all that are kept
	Subnet  string // only machines that boot there
	State   string // only those whose newest boot is in this state

	After time.Duration // of silence, after which a machine is stuck; 0: what its stage takes
}

func filterOf(q url.Values) Filter {
	f := Filter{Machine: q.Get("machine"), Newest: 1, Subnet: q.Get("subnet"), State: q.Get("state")}
	if n, err := strconv.Atoi(q.Get("n")); err == nil {
		f.Newest = n
	}
	if d, err := time.ParseDuration(q.Get("after")); err == nil {
		f.After = max(d, 0)
	}
	return f
}

// ApplyRequest promotes a revision, or with Plan set only says what that would do. Expect, when set, is the digest of
// the plan that was reviewed.
type ApplyRequest struct {
	Revision fact.Revision `json:"revision,omitempty"` // empty: the newest observed
	Expect   fact.Digest   `json:"expect,omitempty"`
	Plan     bool          `json:"plan,omitempty"`
}

// ErrRefused marks an answer that is no, as opposed to an error.
var ErrRefused = errors.New("refused")

// Server is the API on a bound socket.
type Server struct {
	listener net.Listener
	http     *http.Server
}

// Listen binds the socket. A socket that another process answers on is an error; one that nobody answers on, left by
// a crash, is replaced. The socket is for root and the group hostler, when the host has one.
func Listen(path string, b Backend, log *slog.Logger) (*Server, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("making the admin socket's directory: %v", err)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("binding the admin socket: %s: another hostler answers on it", path)
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing a stale admin socket: %v", err)
		}
	}
	l, err := listenPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("binding the admin socket: %s: %v", path, err)
	}
	return newServer(l, logRequests(log, routes(b)), log), nil
}

func newServer(l net.Listener, h http.Handler, log *slog.Logger) *Server {
	return &Server{listener: l, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, peerKey{}, peerOf(c))
		},
	}}
}

// listenPrivate binds with mode 0660 from the first moment: the file never exists with a wider mode.
func listenPrivate(path string) (net.Listener, error) {
	old := unix.Umask(0o117)
	l, err := net.Listen("unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, err
	}
	if g, err := user.LookupGroup("hostler"); err == nil {
		if gid, err := strconv.Atoi(g.Gid); err == nil {
			// Without the right to give the file to the group, it stays our own: stricter, not weaker.
			_ = os.Lchown(path, -1, gid)
		}
	}
	return l, nil
}

// Close unbinds a server that was never served.
func (s *Server) Close() error { return s.listener.Close() }

// Serve answers until ctx ends, then waits a moment for running answers and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		done <- s.http.Shutdown(bounded)
	})
	err := s.http.Serve(s.listener)
	if stop() { // ctx did not end: the listener broke
		return fmt.Errorf("serving on %s: %v", s.listener.Addr(), err)
	}
	if err := <-done; err != nil {
		return s.http.Close()
	}
	return nil
}

type peerKey struct{}

// peerOf says who is on the other end of a unix socket (SO_PEERCRED).
func peerOf(c net.Conn) (who peer) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return who
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return who
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			who = peer{cred.Uid, uint32(cred.Pid), true}
		}
	})
	return who
}

// logRequests writes who asked for what: a line for what changes something, a debug line for what only looks.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		level := slog.LevelDebug
		if r.Method != http.MethodGet {
			level = slog.LevelInfo
		}
		log.Log(r.Context(), level, "admin request", "method", r.Method, "path", r.URL.Path, "peer", r.Context().Value(peerKey{}))
		next.ServeHTTP(w, r)
	})
}
