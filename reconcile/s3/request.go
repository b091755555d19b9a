package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"hostler/render/fact"
)

// Bounds of one request. A body is bounded by who reads it.
const (
	dialTime   = 5 * time.Second
	headerTime = 15 * time.Second
	maxError   = 64 << 10 // of an error document
)

// Refused is an answer that says something about the object or the account, which asking again would not change.
type Refused struct {
	Status int
	Code   string // of S3: NoSuchKey, NoSuchBucket, AccessDenied, ...
	Text   string
}

func (e *Refused) Error() string {
	advice := map[string]string{
		"NoSuchKey":             "there is no such object",
		"NoSuchBucket":          "there is no such bucket",
		"AccessDenied":          "the keys do not open this object",
		"InvalidAccessKeyId":    "the endpoint does not know the access key",
		"SignatureDoesNotMatch": "the secret key, or the region, is not the right one",
		"RequestTimeTooSkewed":  "the clocks differ too much",
		"PreconditionFailed":    "the object was replaced",
	}[e.Code]
	switch {
	case advice != "":
		return fmt.Sprintf("%s (S3: %d %s)", advice, e.Status, e.Code)
	case e.Code != "":
		return fmt.Sprintf("S3: %d %s", e.Status, e.Code)
	}
	return fmt.Sprintf("S3: %d %s", e.Status, http.StatusText(e.Status))
}

// Facts are what S3 says of an object.
type Facts struct {
	ETag string // without quotes
	Size int64
}

// Stat asks for an object's facts. A *Refused says that it cannot be had; any other error that the endpoint could not be asked.
func (s *Service) Stat(ctx context.Context, o fact.Object) (Facts, error) {
	resp, err := s.Get(ctx, o, http.Header{"Range": {"bytes=0-0"}})
	if r := (*Refused)(nil); errors.As(err, &r) && r.Status == http.StatusRequestedRangeNotSatisfiable { // it is empty
		return Facts{}, nil
	}
	if err != nil {
		return Facts{}, err
	}
	defer resp.Body.Close()
	f := Facts{ETag: strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`), Size: resp.ContentLength}
	if resp.StatusCode == http.StatusPartialContent {
		if _, whole, ok := strings.Cut(resp.Header.Get("Content-Range"), "/"); ok {
			if _, err := fmt.Sscan(whole, &f.Size); err != nil {
				return Facts{}, fmt.Errorf("reading Content-Range %q: %w", resp.Header.Get("Content-Range"), err)
			}
		}
	}
	if f.ETag == "" || len(f.ETag) > 128 || strings.ContainsAny(f.ETag, " \t\r\n\"") || f.Size < 0 {
		return Facts{}, errors.New("the answer has no ETag, or no length")
	}
	return f, nil
}

// Get asks for an object, or a part of it, or for it if it is still the same: the headers say. The answer is 200, 206 or 304; its body is
// to be closed. Every answer tells the endpoint's clock, and one that was refused for the clock is asked for again.
func (s *Service) Get(ctx context.Context, o fact.Object, headers http.Header) (*http.Response, error) {
	a := s.find(o)
	resp, skewed, err := s.once(ctx, a, o, headers)
	if err != nil && skewed {
		resp, _, err = s.once(ctx, a, o, headers)
	}
	return resp, err
}

func (s *Service) once(ctx context.Context, a *account, o fact.Object, headers http.Header) (resp *http.Response, skewed bool, err error) {
	address, client := o.URL(), s.nobody
	if a != nil {
		o.TTL = time.Hour // for this request, and the body behind it
		address, client = presign(*a.keys.Load(), http.MethodGet, o, a.clock(s.now())), a.client
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, false, errors.New("the object has no valid URL")
	}
	for name, values := range headers {
		req.Header[name] = values
	}
	asked := s.now()
	resp, err = client.Do(req)
	if err != nil {
		var u *url.Error // it holds the signed URL
		if errors.As(err, &u) {
			err = u.Err
		}
		if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
			return nil, false, fmt.Errorf("asking %s: %w: name its authority with ca_file in the s3 block of the server's configuration", o.Endpoint, err)
		}
		return nil, false, fmt.Errorf("asking %s: %w", o.Endpoint, err)
	}
	if a != nil {
		skewed = a.learn(resp.Header.Get("Date"), asked, s.now())
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusPartialContent, http.StatusNotModified:
		return resp, false, nil
	}
	defer resp.Body.Close()
	return nil, skewed, refusal(resp)
}

// refusal reads why S3 does not give an object. What only says that it cannot now, is no Refused.
func refusal(resp *http.Response) error {
	r := &Refused{Status: resp.StatusCode}
	var document struct {
		Code    string
		Message string
	}
	if xml.NewDecoder(io.LimitReader(resp.Body, maxError)).Decode(&document) == nil {
		r.Code, r.Text = fact.Printable(document.Code), fact.Printable(document.Message)
	}
	if r.Status >= 500 || r.Status == http.StatusTooManyRequests || r.Status == http.StatusRequestTimeout {
		return fmt.Errorf("the endpoint answers: %s", r.Error())
	}
	return r
}

// maxSkew is what an endpoint's clock may differ by before it counts: answers take time, and Date has whole seconds.
const maxSkew = 2 * time.Second

// learn notes what the endpoint's clock says. It reports whether that is news by which a signature may have been wrong.
func (a *account) learn(date string, asked, answered time.Time) bool {
	t, err := http.ParseTime(date)
	if err != nil {
		return false
	}
	// The answer was written between the two, and by a clock that stands between t and a second later.
	skew := t.Add(500 * time.Millisecond).Sub(asked.Add(answered.Sub(asked) / 2))
	if skew.Abs() < maxSkew {
		skew = 0
	}
	old := time.Duration(a.skew.Load())
	if (skew - old).Abs() < maxSkew {
		return false
	}
	a.skew.Store(int64(skew))
	return true
}

// newClient gives an http.Client for an account. It follows nobody elsewhere: what a spec names is what is asked.
func newClient(a *Account) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout, t.TLSHandshakeTimeout = headerTime, dialTime
	t.DisableCompression = true // the bytes as they are stored
	if a.CAFile != "" {
		text, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities: %w", err)
		}
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading the authorities: %s: holds no certificate in PEM", a.CAFile)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}
