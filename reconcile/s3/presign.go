package s3

import (
	"fmt"
	"net/http"
	"time"

	"hostler/render/fact"
)

// signed is a URL that machines may share for a while: a tenth of the time that it holds.
type signed struct {
	account *account
	url     string
	from    time.Time // by the endpoint's clock
	until   time.Time
}

// maxSigned bounds the URLs that are remembered: one for each object that some revision names, while there are no more.
const maxSigned = 8192

// Presign gives the URL by which a machine that asks now gets an object; argument is that of a fact.LatePresign. It makes no
// request. The URL holds for nine tenths of the object's TTL at least: it is signed at the beginning of the tenth that it is now, by
// the endpoint's clock.
func (s *Service) Presign(argument string) (string, error) {
	now := s.now()
	if v, ok := s.signed.Load(argument); ok {
		x := v.(*signed)
		if at := x.account.clock(now); !at.Before(x.from) && at.Before(x.until) {
			return x.url, nil
		}
	}
	o, err := fact.ParseObject(argument)
	if err != nil {
		return "", err
	}
	a := s.find(o)
	if a == nil {
		return "", fmt.Errorf("signing a URL of bucket %s at %s: %w", o.Bucket, o.Endpoint, ErrNoAccount)
	}
	tenth := max(o.TTL/10, time.Second)
	from := a.clock(now).Truncate(tenth)
	x := &signed{account: a, url: presign(*a.keys.Load(), http.MethodGet, o, from), from: from, until: from.Add(tenth)}
	if s.count.Add(1) > maxSigned { // objects of old revisions among them
		s.forget()
	}
	s.signed.Store(argument, x)
	return x.url, nil
}

// PresignFor signs a URL for another method, as PUT, for now.
func (s *Service) PresignFor(method string, o fact.Object) (string, error) {
	a := s.find(o)
	if a == nil {
		return "", fmt.Errorf("signing a URL of bucket %s at %s: %w", o.Bucket, o.Endpoint, ErrNoAccount)
	}
	return presign(*a.keys.Load(), method, o, a.clock(s.now())), nil
}

func (s *Service) forget() {
	s.signed.Clear()
	s.count.Store(0)
}
