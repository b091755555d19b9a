// Package secret reads secrets from where the operator put them: files below a folder, and environment variables. It reads at each request,
// so that a new value counts from then on, and keeps nothing. Who may have a secret, and how often, it does not know.
package secret

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"hostler/render/fact"
)

// MaxSize is how much of a secret is read. More is refused.
const MaxSize = 64 << 10

// ErrMissing means that there is no such secret.
var ErrMissing = errors.New("there is no such secret")

// Store is where secrets are. The zero value has none.
type Store struct {
	Folder    string                      // slurm/munge-key is the file of that name below it; empty: there is none
	EnvPrefix string                      // before the name of a variable: slurm/munge-key is PREFIX + SLURM_MUNGE_KEY; empty: no variables
	LookupEnv func(string) (string, bool) // os.LookupEnv
}

// Read gives a secret as it is. The error is ErrMissing, or says what is wrong with it; it never holds any of it.
func (s *Store) Read(name string) ([]byte, error) {
	if !fact.IsSecretName(name) {
		return nil, fmt.Errorf("secret %q: its name is not possible", name)
	}
	if s.Folder != "" {
		b, err := s.file(name)
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return nil, fmt.Errorf("secret %q: %w", name, err)
			}
			return b, nil
		}
	}
	if s.EnvPrefix != "" {
		if v, ok := s.LookupEnv(s.variable(name)); ok {
			return []byte(v), nil
		}
	}
	return nil, fmt.Errorf("secret %q: %w: %s", name, ErrMissing, s.where(name))
}

// file reads a file below the folder. The kernel keeps it there: names have no "..", and a link that leads out is refused.
func (s *Store) file(name string) ([]byte, error) {
	root, err := os.OpenRoot(s.Folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not hold the server up
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch info, err := f.Stat(); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > MaxSize:
		return nil, fmt.Errorf("it has more than %d bytes", MaxSize)
	}
	return b, nil
}

func (s *Store) variable(name string) string {
	return s.EnvPrefix + strings.ToUpper(strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(name))
}

// where says where a secret would be.
func (s *Store) where(name string) string {
	var places []string
	if s.Folder != "" {
		places = append(places, "a file of that name in "+s.Folder)
	}
	if s.EnvPrefix != "" {
		places = append(places, "the environment variable "+s.variable(name))
	}
	if places == nil {
		return "the server's configuration has no secrets block"
	}
	return "it would be " + strings.Join(places, " or ")
}
