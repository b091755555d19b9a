package secret

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "secrets")
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secrets/slurm/munge-key", "key\n")
	write("secrets/both", "file")
	write("secrets/large", strings.Repeat("x", MaxSize+1))
	write("outside", "outside")
	write("secrets/..data/root.pw", "linked") // as Kubernetes mounts them
	for name, to := range map[string]string{"root.pw": "..data/root.pw", "out": "../outside", "abs": filepath.Join(dir, "outside")} {
		if err := os.Symlink(to, filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(folder, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"S_BOTH": "env", "S_A_B_C": "env", "S_": "none"}
	s := Store{Folder: folder, EnvPrefix: "S_", LookupEnv: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}
	for _, x := range []struct{ name, want, problem string }{
		{name: "slurm/munge-key", want: "key\n"},
		{name: "both", want: "file"},
		{name: "a/b.c", want: "env"},
		{name: "root.pw", want: "linked"},
		{name: "none", problem: `secret "none": there is no such secret: it would be a file of that name in FOLDER or the environment variable S_NONE`},
		{name: "large", problem: `secret "large": it has more than 65536 bytes`},
		{name: "pipe", problem: `secret "pipe": it is not a file`},
		{name: "slurm", problem: `secret "slurm": it is not a file`},
		{name: "out", problem: `secret "out": openat out: path escapes from parent`},
		{name: "abs", problem: `secret "abs": openat abs: path escapes from parent`},
		{name: "../outside", problem: `secret "../outside": its name is not possible`},
		{name: "..data/root.pw", problem: `secret "..data/root.pw": its name is not possible`},
		{name: "", problem: `secret "": its name is not possible`},
	} {
		b, err := s.Read(x.name)
		problem := ""
		if err != nil {
			problem = strings.ReplaceAll(err.Error(), folder, "FOLDER")
		}
		if diff := cmp.Diff([]string{x.want, x.problem}, []string{string(b), problem}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
	}
}

// TestReadAgain: a new value counts from the next request on.
func TestReadAgain(t *testing.T) {
	s := Store{Folder: t.TempDir()}
	p := filepath.Join(s.Folder, "a")
	for _, v := range []string{"one", "two"} {
		if err := os.WriteFile(p, []byte(v), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := s.Read("a"); err != nil || string(b) != v {
			t.Errorf("got %q, %v; want %q", b, err, v)
		}
	}
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read("a"); !errors.Is(err, ErrMissing) {
		t.Errorf("got %v of a secret that was removed", err)
	}
	if _, err := (&Store{}).Read("a"); err == nil || err.Error() != `secret "a": there is no such secret: the server's configuration has no secrets block` {
		t.Errorf("got %v without a block", err)
	}
}
