package reconcile

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"hostler/reconcile/s3"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

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

// statTime bounds the question for one object.
const statTime = 20 * time.Second

// inS3 asks for an object's size and etag. Offline, what the spec says is all that is known.
func (o *observer) inS3(ctx context.Context, s spec.Store, ref spec.FileRef) (render.Artifact, place, error) {
	object := s.S3.Object(ref.Key)
	a := render.Artifact{Digest: ref.SHA256, Size: ref.Size}
	switch s.Deliver {
	case spec.DeliverPresign:
		a.URL = string(fact.NewLate(fact.LatePresign, object.String()))
	case spec.DeliverDirect:
		a.URL = object.URL()
	default:
		return render.Artifact{Problem: "is in S3, which this version of hostler only presigns"}, place{}, nil
	}
	if o.s3 == nil {
		return a, place{}, nil
	}
	if s.Deliver == spec.DeliverPresign && !o.s3.Opens(object) {
		return render.Artifact{Problem: fmt.Sprintf("is in bucket %s of %s, but %v", object.Bucket, object.Endpoint, s3.ErrNoAccount)}, place{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statTime)
	defer cancel()
	f, err := o.s3.Stat(ctx, object)
	if refused := (*s3.Refused)(nil); errors.As(err, &refused) {
		return render.Artifact{Problem: "cannot be had: " + refused.Error()}, place{}, nil
	}
	if err != nil {
		return render.Artifact{}, place{}, err
	}
	if f.Size == 0 {
		return render.Artifact{Problem: "is empty"}, place{}, nil
	}
	a.Size, a.ETag, a.ByETag = f.Size, f.ETag, true
	if a.Digest == "" {
		a.Digest = version(object, f)
	}
	return a, place{}, nil
}

// version names one version of an object, as a digest names content.
func version(o fact.Object, f s3.Facts) fact.Digest {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %s %s %d", o.Endpoint, o.URI(), f.ETag, f.Size))
	return fact.Digest(hex.EncodeToString(sum[:]))
}
