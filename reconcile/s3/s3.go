// Package s3 opens objects of S3 services: it signs URLs for machines, and looks at objects and reads them itself. It knows which keys
// open which bucket and what an endpoint's clock says, and nothing of what the objects are for.
package s3

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hostler/render/fact"
)

// Account is what opens buckets of an endpoint. Each key is in a file or in an environment variable.
type Account struct {
	Name     string
	Endpoint string   // http://HOST[:PORT] or https://, as stores name it
	Buckets  []string // the only ones that a spec may name; none: every bucket that the keys open
	CAFile   string   // authorities to trust besides those of the system; empty: none

	AccessKeyFile, SecretKeyFile, SessionTokenFile string
	AccessKeyEnv, SecretKeyEnv, SessionTokenEnv    string
}

// Service opens objects with accounts. Its methods may be called from any goroutine.
type Service struct {
	accounts []*account
	nobody   *http.Client // for buckets that are open to everybody
	now      func() time.Time
	getenv   func(string) string

	signed sync.Map // of *signed by the argument of a fact.LatePresign
	count  atomic.Int64
}

// account is an Account in use.
type account struct {
	Account
	client *http.Client
	keys   atomic.Pointer[keys]
	skew   atomic.Int64 // nanoseconds by which the endpoint's clock is ahead of ours
}

// New reads the keys and authorities of every account, or says which cannot be read.
func New(accounts []Account, getenv func(string) string, now func() time.Time) (*Service, error) {
	nobody, err := newClient(&Account{})
	if err != nil {
		return nil, err
	}
	s := &Service{nobody: nobody, now: now, getenv: getenv}
	for _, a := range accounts {
		client, err := newClient(&a)
		if err != nil {
			return nil, fmt.Errorf("s3 %q: %w", a.Name, err)
		}
		s.accounts = append(s.accounts, &account{Account: a, client: client})
	}
	return s, s.Reload()
}

// Reload reads the keys of every account again. What cannot be read keeps its old value.
func (s *Service) Reload() error {
	var errs []error
	changed := false
	for _, a := range s.accounts {
		k, err := a.read(s.getenv)
		if err != nil {
			errs = append(errs, fmt.Errorf("s3 %q: %w", a.Name, err))
			continue
		}
		if old := a.keys.Swap(&k); old != nil && *old != k {
			changed = true
		}
	}
	if changed {
		s.forget()
	}
	return errors.Join(errs...)
}

// maxKey bounds a file with a key.
const maxKey = 16 << 10

func (a *Account) read(getenv func(string) string) (k keys, err error) {
	for _, x := range []struct {
		to        *string
		file, env string
		optional  bool
	}{
		{&k.access, a.AccessKeyFile, a.AccessKeyEnv, false}, {&k.secret, a.SecretKeyFile, a.SecretKeyEnv, false},
		{&k.session, a.SessionTokenFile, a.SessionTokenEnv, true},
	} {
		switch {
		case x.file != "":
			text, err := os.ReadFile(x.file)
			if err != nil {
				return keys{}, fmt.Errorf("reading a key: %w", err)
			}
			if *x.to = strings.TrimSpace(string(text)); *x.to == "" || len(text) > maxKey {
				return keys{}, fmt.Errorf("reading a key: %s: is empty or too large", x.file)
			}
		case x.env != "":
			if *x.to = getenv(x.env); *x.to == "" {
				return keys{}, fmt.Errorf("reading a key: environment variable %s: is not set", x.env)
			}
		case !x.optional:
			return keys{}, errors.New("reading a key: neither a file nor an environment variable is named")
		}
	}
	return k, nil
}

// find gives the account for a bucket: one that names it, else one that names none.
func (s *Service) find(o fact.Object) *account {
	var any *account
	for _, a := range s.accounts {
		switch {
		case a.Endpoint != o.Endpoint || a.keys.Load() == nil:
		case slices.Contains(a.Buckets, o.Bucket):
			return a
		case len(a.Buckets) == 0 && any == nil:
			any = a
		}
	}
	return any
}

// ErrNoAccount is the want of keys for a bucket.
var ErrNoAccount = errors.New("the server's configuration has no s3 block for this endpoint and bucket")

// clock is what the endpoint's clock says.
func (a *account) clock(now time.Time) time.Time { return now.Add(time.Duration(a.skew.Load())) }

// Opens reports whether there are keys for the object's bucket.
func (s *Service) Opens(o fact.Object) bool { return s.find(o) != nil }

// Clock is what an account knows of its endpoint's clock.
type Clock struct {
	Name     string        `json:"name"`
	Endpoint string        `json:"endpoint"`
	Ahead    time.Duration `json:"ahead"` // of ours
}

// Clocks lists the clocks that differ from ours.
func (s *Service) Clocks() (list []Clock) {
	for _, a := range s.accounts {
		if skew := time.Duration(a.skew.Load()); skew != 0 {
			list = append(list, Clock{a.Name, a.Endpoint, skew})
		}
	}
	return list
}
