package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"hostler/reconcile/s3"
	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// statTime bounds the question for one object.
const statTime = 20 * time.Second

// inS3 asks for an object's size and etag, and fetches what is mirrored. Offline, what the spec says is all that is known.
func (o *observer) inS3(ctx context.Context, s spec.Store, ref spec.FileRef, fresh bool) (render.Artifact, place, error) {
	object := s.S3.Object(ref.Key)
	a := render.Artifact{Digest: ref.SHA256, Size: ref.Size}
	switch s.Deliver {
	case spec.DeliverPresign:
		a.URL = string(fact.NewLate(fact.LatePresign, object.String()))
	case spec.DeliverDirect:
		a.URL = object.URL()
	}
	if o.s3 == nil {
		if a.URL == "" && a.Digest == "" {
			return a, place{}, errUnknown
		}
		return a, place{}, nil
	}
	if s.Deliver == spec.DeliverPresign && !o.s3.Opens(object) {
		return render.Artifact{Problem: fmt.Sprintf("is in bucket %s of %s, but %v", object.Bucket, object.Endpoint, s3.ErrNoAccount)}, place{}, nil
	}
	f, err := o.stat(ctx, object, fresh)
	if refused := (*s3.Refused)(nil); errors.As(err, &refused) {
		return render.Artifact{Problem: "cannot be had: " + refused.Error()}, place{}, nil
	}
	if err != nil {
		return render.Artifact{}, place{}, err
	}
	if f.Size == 0 {
		return render.Artifact{Problem: "is empty"}, place{}, nil
	}
	if s.Deliver == spec.DeliverMirror {
		return o.mirrorObject(ctx, object, ref, f)
	}
	a.Size, a.ETag = f.Size, f.ETag
	if a.Digest == "" {
		a.Digest, a.ByETag = version(object, f), true
	}
	return a, place{Object: object.String(), ETag: f.ETag, Size: f.Size}, nil
}

// version names one version of an object, as a digest names content.
func version(o fact.Object, f s3.Facts) fact.Digest {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", o.Endpoint, o.URI(), f.ETag, f.Size))
	return fact.Digest(hex.EncodeToString(sum[:]))
}

// stat asks for an object's facts. While its endpoint does not answer, a commit that has nothing to do with it shall not have to wait: what
// was seen of the object before holds, unless fresh facts are wanted.
func (o *observer) stat(ctx context.Context, object fact.Object, fresh bool) (s3.Facts, error) {
	known, seen := o.objects[object.URL()]
	err := o.down[object.Endpoint] // one answer that does not come is enough of a wait
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, statTime)
		defer cancel()
		var f s3.Facts
		f, err = o.s3.Stat(ctx, object)
		if err == nil {
			o.objects[object.URL()] = f
			return f, nil
		}
		if refused := (*s3.Refused)(nil); errors.As(err, &refused) {
			return f, err
		}
		o.down[object.Endpoint] = err
	}
	if seen && !fresh {
		return known, nil
	}
	return s3.Facts{}, err
}

// mirrorObject gets an object into the blobs, unless that version of it is there, or the content that is declared.
func (o *observer) mirrorObject(ctx context.Context, object fact.Object, ref spec.FileRef, f s3.Facts) (render.Artifact, place, error) {
	url := object.URL()
	old, before := o.fetched[url]
	if k, ok := o.mirrored(ref); ok {
		old, before = fetched{known: k, etag: f.ETag}, true
	}
	if !before || old.etag != f.ETag || old.problem == "" && !o.blobs.has(old.digest, old.size) {
		if f.Size > source.MaxFileSize {
			return render.Artifact{Problem: errTooLarge.Error() + ", which is the most that is mirrored"}, place{}, nil
		}
		ctx, cancel := context.WithTimeout(ctx, fetchTime)
		defer cancel()
		r := o.s3.Open(ctx, object, f)
		defer r.Close()
		k, err := o.keep(r, describe(ref), f.Size)
		if refused := (*s3.Refused)(nil); errors.As(err, &refused) {
			return render.Artifact{Problem: "cannot be had: " + refused.Error()}, place{}, nil
		}
		if err != nil {
			return render.Artifact{}, place{}, fmt.Errorf("fetching it: %w", err)
		}
		old = fetched{known: k, etag: f.ETag}
	}
	o.fetched[url] = old
	a, p, err := old.artifact(place{Blob: true})
	a.ETag = f.ETag
	return a, p, err
}

// remember takes over what an earlier process saw of objects.
func (o *observer) remember(rec *record) {
	for _, ref := range references(rec.Fleet) {
		st, a := rec.Fleet.Store(ref.Store), rec.Artifacts[ref.ID()]
		if st == nil || st.S3 == nil || a.ETag == "" {
			continue
		}
		url := st.S3.Object(ref.Key).URL()
		o.objects[url] = s3.Facts{ETag: a.ETag, Size: a.Size}
		if rec.Places[a.Digest].Blob {
			o.fetched[url] = fetched{known: known{digest: a.Digest, size: a.Size}, etag: a.ETag}
		}
	}
}

// openObject opens an object that is passed on to machines, if it is still the one that was observed.
func (p place) openObject(service *s3.Service) (io.ReadSeekCloser, error) {
	object, err := fact.ParseObject(p.Object)
	if err != nil || service == nil {
		return nil, errors.Join(err, errUnknown)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statTime)
	defer cancel()
	f, err := service.Stat(ctx, object)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", object.URI(), err)
	case f.ETag != p.ETag || f.Size != p.Size:
		return nil, fmt.Errorf("%s: %w", object.URI(), errChanged)
	}
	return service.Open(context.Background(), object, f), nil // until whoever reads closes it
}

// reloadKeys reads the keys of S3 again, which may have been replaced. Those that cannot be read stay in use.
func (r *Reconciler) reloadKeys() {
	if r.c.S3 == nil {
		return
	}
	problem := ""
	if err := r.c.S3.Reload(); err != nil {
		problem = err.Error()
	}
	if problem != "" && problem != r.keys {
		r.c.Log.Error("reading the keys of S3 again; the old ones stay in use", "err", problem)
	}
	r.keys = problem
}

// noteClocks says when an endpoint's clock turns out to differ from this host's.
func (r *Reconciler) noteClocks() {
	if r.c.S3 == nil {
		return
	}
	clocks := fmt.Sprint(r.c.S3.Clocks())
	if clocks != r.clocks {
		for _, c := range r.c.S3.Clocks() {
			r.c.Log.Warn("the clock of S3 differs from this host's; URLs are signed by that of S3", "s3", c.Name, "endpoint", c.Endpoint, "ahead", c.Ahead)
		}
	}
	r.clocks = clocks
}
