package reconcile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"hostler/reconcile/source"
	"hostler/render"
	"hostler/spec"
)

// fetchTime bounds the fetching of one file from an http store.
const fetchTime = 30 * time.Minute

// httpDoer is the part of an http client that is used.
type httpDoer interface {
	Do(*http.Request) (*http.Response, error)
}

func newHTTPClient() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = 30 * time.Second
	t.DisableCompression = true // the bytes as they are stored
	return &http.Client{Transport: t, Timeout: fetchTime}
}

// fetched is what a URL gave the last time.
type fetched struct {
	known
	etag, modified string
}

// inHTTPStore gives the URL of a file that machines fetch themselves, and fetches any other into the blobs. A file with a
// declared digest is fetched once; another is asked for again each time, conditionally.
func (o *observer) inHTTPStore(ctx context.Context, s spec.Store, ref spec.FileRef) (render.Artifact, place, error) {
	url := s.URL + ref.Key
	if s.Deliver == spec.DeliverDirect || s.Deliver == "" {
		return render.Artifact{Digest: ref.SHA256, Size: ref.Size, URL: url}, place{}, nil
	}
	old, before := o.fetched[url]
	have := before && o.blobs != nil && (old.problem != "" || o.blobs.has(old.digest, old.size))
	if have && ref.SHA256 != "" && ref.SHA256 == old.digest {
		return old.artifact(place{Blob: true})
	}
	if o.blobs == nil {
		if ref.SHA256 == "" {
			return render.Artifact{}, place{}, errUnknown
		}
		return render.Artifact{Digest: ref.SHA256, Size: ref.Size}, place{Blob: true}, nil
	}
	if k, ok := o.mirrored(ref); ok {
		return k.artifact(place{Blob: true})
	}
	if !have {
		old = fetched{}
	}
	got, err := o.fetch(ctx, url, old)
	if err != nil {
		return render.Artifact{}, place{}, fmt.Errorf("fetching %s: %w", url, err)
	}
	o.fetched[url] = got
	return got.artifact(place{Blob: true})
}

// mirrored finds a blob that an earlier run fetched.
func (o *observer) mirrored(ref spec.FileRef) (known, bool) {
	if ref.SHA256 == "" {
		return known{}, false
	}
	f, err := o.blobs.open(ref.SHA256)
	if err != nil {
		return known{}, false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return known{}, false
	}
	return known{digest: ref.SHA256, size: st.Size()}, true
}

// fetch gets a URL into the blobs. The error is transient: what the server answers about the file itself is its problem.
func (o *observer) fetch(ctx context.Context, url string, old fetched) (fetched, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fetched{known: known{problem: "has no valid URL: " + err.Error()}}, nil
	}
	if old.etag != "" {
		req.Header.Set("If-None-Match", old.etag)
	} else if old.modified != "" {
		req.Header.Set("If-Modified-Since", old.modified)
	}
	resp, err := o.http.Do(req)
	if err != nil {
		return fetched{}, errors.Unwrap(err) // the URL is named by the caller
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && old.digest != "":
		return old, nil
	case resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone || resp.StatusCode == http.StatusForbidden:
		return fetched{known: known{problem: "the store answers " + resp.Status}}, nil
	case resp.StatusCode != http.StatusOK:
		return fetched{}, fmt.Errorf("the store answers %s", resp.Status)
	case resp.ContentLength > source.MaxFileSize:
		return fetched{known: known{problem: errTooLarge.Error()}}, nil
	}
	k, err := o.keep(resp.Body, url, resp.ContentLength)
	if err != nil {
		return fetched{}, err
	}
	return fetched{k, resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}, nil
}
