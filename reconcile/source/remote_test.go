package source

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sshd is a real OpenSSH server on a loopback port. It gives the port and the folder with its keys.
func sshd(t *testing.T) (port int, dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, typ := range map[string]string{"host_ed25519": "ed25519", "host_rsa": "rsa", "user": "ed25519"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", typ, "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v %s", err, out)
		}
	}
	pub, err := os.ReadFile(dir + "/user.pub")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir+"/authorized_keys", string(pub))
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	writeFile(t, dir+"/sshd_config", fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s/host_ed25519\nHostKey %s/host_rsa\n"+
		"AuthorizedKeysFile %s/authorized_keys\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n", port, dir, dir, dir))
	var log bytes.Buffer
	cmd := exec.Command("/usr/sbin/sshd", "-D", "-e", "-f", dir+"/sshd_config")
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("sshd: %s", log.String())
		}
	})
	for range 100 {
		if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			c.Close()
			return port, dir
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("sshd did not come up")
	return 0, ""
}

func TestSSH(t *testing.T) {
	port, keys := sshd(t)
	r := newRepo(t)
	hash := r.commit("a.boot.hcl", "1")
	host := fmt.Sprintf("[127.0.0.1]:%d", port)
	line := func(key string) string {
		b, err := os.ReadFile(filepath.Join(keys, key+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		return host + " " + string(b)
	}
	url := fmt.Sprintf("ssh://root@127.0.0.1:%d%s", port, r.dir)
	for name, c := range map[string]struct{ knownHosts, want string }{
		"known": {line("host_ed25519"), ""},
		// The server has a newer key as well, which a client that offers all algorithms would be shown.
		"only the rsa key is known": {line("host_rsa"), ""},
		// Algorithms must be those of this host: another host's ed25519 key says nothing about it.
		"other host has another type": {"other.example.org " + strings.SplitN(line("host_ed25519"), " ", 2)[1] + line("host_rsa"), ""},
		"unknown host":                {"other.example.org " + strings.SplitN(line("host_ed25519"), " ", 2)[1], "is not in known_hosts"},
		"another key":                 {host + " " + strings.SplitN(readFile(t, keys+"/user.pub"), "\n", 2)[0] + "\n", "key mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir+"/known_hosts", c.knownHosts)
			s := open(t, Options{Location: url, Mirror: dir + "/mirror", SSHKey: keys + "/user", KnownHosts: dir + "/known_hosts"})
			rev, err := s.Head(context.Background())
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || string(rev) != "main@sha1:"+hash || s.Kind() != GitRemote {
				t.Fatalf("%s %v", rev, err)
			}
			wantContents(t, s, map[string]string{"a.boot.hcl": "1"})
		})
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// gitBackend serves every repository below a folder by git's own CGI program.
func gitBackend(t *testing.T, root string) http.Handler {
	t.Helper()
	git, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	return &cgi.Handler{Path: strings.TrimSpace(string(git)) + "/git-http-backend",
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}}
}

// httpsServer serves every repository below a folder to those who have the token. It gives the base URL and
// options that reach it.
func httpsServer(t *testing.T, root string) (string, Options) {
	t.Helper()
	backend := gitBackend(t, root)
	token := rand.Text()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if _, got, _ := q.BasicAuth(); got != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, q)
	}))
	t.Cleanup(srv.Close)
	srv.Config.ErrorLog = nil
	dir := t.TempDir()
	writeFile(t, dir+"/token", token+"\n")
	writeFile(t, dir+"/ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})))
	if _, err := x509.ParseCertificate(srv.Certificate().Raw); err != nil {
		t.Fatal(err)
	}
	return srv.URL, Options{TokenFile: dir + "/token", CAFile: dir + "/ca", Mirror: dir + "/mirror"}
}

// remoteRepo is a repository behind https, and a source that reads it.
func remoteRepo(t *testing.T) (repo, Options, Source) {
	t.Helper()
	r := newRepo(t)
	url, o := httpsServer(t, filepath.Dir(r.dir))
	o.Location = url + "/repo"
	return r, o, open(t, o)
}

func TestHTTPS(t *testing.T) {
	r, o, s := remoteRepo(t)
	r.commit("a.boot.hcl", "1")
	r.commit("sub/b", "2")
	wantContents(t, s, map[string]string{"a.boot.hcl": "1", "sub/b": "2"})
	r.commit("a.boot.hcl", "3")
	wantContents(t, s, map[string]string{"a.boot.hcl": "3", "sub/b": "2"})
	o.Path = "sub"
	wantContents(t, open(t, o), map[string]string{"b": "2"})
	t.Run("no token", func(t *testing.T) {
		o := o
		o.TokenFile = ""
		if _, err := open(t, o).Head(context.Background()); err == nil || !strings.Contains(err.Error(), "authentication required") {
			t.Error(err)
		}
	})
	t.Run("no authority", func(t *testing.T) {
		o := o
		o.CAFile = ""
		if _, err := open(t, o).Head(context.Background()); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Error(err)
		}
	})
	t.Run("token over http", func(t *testing.T) {
		o := o
		o.Location = "http://127.0.0.1:1/repo"
		if _, err := open(t, o).Head(context.Background()); err == nil || !strings.Contains(err.Error(), "a token is only sent over https") {
			t.Error(err)
		}
	})
}

// A force push moves the mirror too, and is told as a rewind; a deleted branch is an error that names it.
func TestRemoteForcePush(t *testing.T) {
	r, _, s := remoteRepo(t)
	r.commit("a", "1")
	r.commit("a", "2")
	old := head(t, s).Revision
	r.run("", "reset", "-q", "--hard", "HEAD~1")
	r.commit("a", "3")
	wantContents(t, s, map[string]string{"a": "3"})
	rev, err := s.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got, rewind := sinceSubjects(t, s, old, rev); !rewind || len(got) != 1 || got[0] != "set a to 3" {
		t.Errorf("%q, rewind %v", got, rewind)
	}
	r.run("", "checkout", "-q", "-b", "other")
	r.run("", "branch", "-D", "main")
	if _, err := s.Head(context.Background()); err == nil || !strings.HasSuffix(err.Error(), "branch main: no such branch on the remote") {
		t.Error(err)
	}
}

// Whatever happens to the mirror, it is made again from the remote.
func TestRemoteMirrorDamaged(t *testing.T) {
	each := func(pattern string, f func(string) error) func(string) error {
		return func(mirror string) error {
			files, err := filepath.Glob(filepath.Join(mirror, pattern))
			for _, name := range files {
				if err == nil {
					err = os.Chmod(name, 0o644)
				}
				if err == nil {
					err = f(name)
				}
			}
			if len(files) == 0 {
				return fmt.Errorf("nothing matches %s", pattern)
			}
			return err
		}
	}
	zero := func(name string) error {
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		return os.WriteFile(name, make([]byte, st.Size()), 0o644)
	}
	for name, damage := range map[string]func(mirror string) error{
		"removed":           os.RemoveAll,
		"packs removed":     each("objects/pack/*.pack", os.Remove),
		"indexes removed":   each("objects/pack/*.idx", os.Remove), // as an interrupted fetch leaves it
		"packs zeroed":      each("objects/pack/*.pack", zero),
		"packs truncated":   each("objects/pack/*.pack", func(n string) error { return os.Truncate(n, 20) }),
		"HEAD emptied":      func(m string) error { return os.WriteFile(m+"/HEAD", nil, 0o644) },
		"config is garbage": func(m string) error { return os.WriteFile(m+"/config", []byte("[[["), 0o644) },
		"a file":            func(m string) error { return os.WriteFile(m, nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			r, o, s := remoteRepo(t)
			r.commit("a", strings.Repeat("1", 5000))
			wantContents(t, s, map[string]string{"a": strings.Repeat("1", 5000)})
			if name == "a file" {
				os.RemoveAll(o.Mirror)
			}
			if err := damage(o.Mirror); err != nil {
				t.Fatal(err)
			}
			// The first reading may find the damage half-way; the next makes the mirror again.
			if got := contents(t, head(t, s))["a"]; got != strings.Repeat("1", 5000) && !strings.Contains(got, ErrStale.Error()) {
				t.Errorf("got %q", got)
			}
			wantContents(t, s, map[string]string{"a": strings.Repeat("1", 5000)})
		})
	}
}

// Damage to a file's content is only found when it is read.
func TestRemoteBlobDamaged(t *testing.T) {
	r, o, s := remoteRepo(t)
	r.commit("a", "1")
	tree := head(t, s)
	if err := os.RemoveAll(o.Mirror + "/objects/pack"); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, tree)["a"]; !strings.Contains(got, ErrStale.Error()) {
		t.Errorf("got %q", got)
	}
	wantContents(t, s, map[string]string{"a": "1"})
}

func TestRemoteUnreachable(t *testing.T) {
	r, o, s := remoteRepo(t)
	r.commit("a", "1")
	rev := head(t, s).Revision
	o.Location = "https://127.0.0.1:1/repo"
	gone := open(t, o)
	if _, err := gone.Head(context.Background()); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Error(err)
	}
	if _, err := gone.Open(context.Background(), rev); err != nil {
		t.Errorf("the mirror holds it: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for location, want := range map[string]string{
		"https://user:secret@example.org/r":   "https://example.org/r",
		"https://token@example.org/r":         "https://example.org/r",
		"ssh://git:secret@example.org:22/r":   "ssh://git@example.org:22/r",
		"git@example.org:team/r":              "git@example.org:team/r",
		"https://example.org/r?private=false": "https://example.org/r?private=false",
	} {
		if got := redact(location); got != want {
			t.Errorf("%s: %s", location, got)
		}
	}
	for location, want := range map[string]bool{
		"git@example.org:r": true, "https://h/r": true, "ssh://h/r": true, "/srv/r": false, "r": false, "./a:b": false, "file:///srv/r": false,
	} {
		if isURL(location) != want {
			t.Errorf("%s", location)
		}
	}
}
