package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostler/reconcile/s3"
	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// place says where the content of a digest is to be had. Exactly one of Builtin, Store, Object and Blob is set. Persisted.
type place struct {
	Builtin string
	Trust   fact.Digest // of a Builtin: see Config.Trust
	Blob    bool
	Store   string // a local store's directory
	Key     string // in the store
	FileKey string // source.FileKey of the file that was hashed
	Object  string // a fact.Object in S3
	ETag    string // of the object, as it was observed
	Size    int64
}

// places are what Open can open.
type places map[fact.Digest]place

// observer finds digest and size of the files that fleets name. Digests are remembered by what cannot change without the
// content: a git blob id, or a file's device, inode, size and times.
type observer struct {
	blobs    *blobs             // nil: nothing is kept, and what cannot be reached is left out (an offline plan)
	roots    []string           // that local stores must lie below; none: anywhere
	trust    func() fact.Digest // nil: none
	known    map[string]known
	fetched  map[string]fetched // by URL
	http     httpDoer
	s3       *s3.Service         // nil: objects are not looked at
	objects  map[string]s3.Facts // what was last seen of each, by URL
	down     map[string]error    // endpoints of S3 that did not answer in this observation
	progress *progress
	now      func() time.Time
}

// known is a digest with its size, and the problem that the file has.
type known struct {
	digest  fact.Digest
	size    int64
	problem string
}

func newObserver(b *blobs, now func() time.Time) *observer {
	return &observer{
		blobs: b, known: map[string]known{}, fetched: map[string]fetched{}, objects: map[string]s3.Facts{}, http: newHTTPClient(), now: now,
		progress: &progress{log: slog.New(slog.DiscardHandler), now: now},
	}
}

// observe gives the artifacts of a fleet and where they are. The error is transient; what is wrong with a file is its artifact's
// problem. Without a tree, files of the repository are taken from the last observation.
func (o *observer) observe(ctx context.Context, f *spec.Fleet, tree *source.Tree, last render.Artifacts, lastPlaces places) (render.Artifacts, places, error) {
	as, ps := render.Artifacts{}, places{}
	o.down = map[string]error{}
	for _, ref := range references(f) {
		id := ref.ID()
		if _, ok := as[id]; ok {
			continue
		}
		a, p, err := render.Artifact{}, place{}, error(nil)
		if old, ok := last[id]; ok && ref.Path != "" && tree == nil {
			a, p = old, lastPlaces[old.Digest]
		} else if a, p, err = o.one(ctx, f, ref, tree); err != nil {
			if errors.Is(err, errUnknown) {
				continue
			}
			return nil, nil, fmt.Errorf("%s: %w", describe(ref), err)
		}
		if a.Problem == "" {
			a.Problem = declaredProblem(ref, a)
		}
		as[id] = a
		if a.Digest != "" && a.URL == "" {
			ps[a.Digest] = p
		}
	}
	return as, ps, nil
}

// errUnknown leaves a file out of the artifacts: "digest unknown here".
var errUnknown = errors.New("cannot be observed here")

// references lists every file of a fleet.
func references(f *spec.Fleet) []spec.FileRef {
	var refs []spec.FileRef
	for _, l := range f.Loaders {
		refs = append(refs, l.File)
		for _, e := range l.Extra {
			refs = append(refs, e.File)
		}
	}
	for _, i := range f.Images {
		for _, file := range i.Files {
			refs = append(refs, file.File)
		}
	}
	return refs
}

// describe names a file as the spec does.
func describe(ref spec.FileRef) string {
	switch {
	case ref.Path != "":
		return ref.Path
	case ref.Store != "":
		return "store." + ref.Store + " " + ref.Key
	default:
		return ref.Builtin
	}
}

// declaredProblem compares with what the spec declares.
func declaredProblem(ref spec.FileRef, a render.Artifact) string {
	switch {
	case ref.SHA256 != "" && a.Digest != "" && a.Digest != ref.SHA256:
		return fmt.Sprintf("has sha256 %s, but %s is declared", a.Digest, ref.SHA256)
	case ref.Size != 0 && a.Size != 0 && a.Size != ref.Size:
		return fmt.Sprintf("has %d bytes, but %d are declared", a.Size, ref.Size)
	}
	return ""
}

func (o *observer) one(ctx context.Context, f *spec.Fleet, ref spec.FileRef, tree *source.Tree) (render.Artifact, place, error) {
	switch {
	case ref.Builtin != "":
		return o.builtin(ref.Builtin)
	case ref.Path != "":
		return o.inRepository(ref.Path, tree)
	}
	for _, s := range f.Stores {
		if s.Name != ref.Store {
			continue
		}
		switch {
		case s.S3 != nil:
			return o.inS3(ctx, s, ref, tree == nil)
		case s.URL != "":
			return o.inHTTPStore(ctx, s, ref)
		}
		return o.inLocalStore(s.Path, ref.Key)
	}
	return render.Artifact{Problem: "names no store"}, place{}, nil
}

// artifact makes one of a known digest.
func (k known) artifact(p place) (render.Artifact, place, error) {
	p.Size = k.size
	return render.Artifact{Digest: k.digest, Size: k.size, Problem: k.problem}, p, nil
}

func digestOf(b []byte) known {
	sum := sha256.Sum256(b)
	return known{digest: fact.Digest(hex.EncodeToString(sum[:])), size: int64(len(b))}
}

// inRepository copies a file of the revision into the blobs, because the repository may be gone when a machine asks.
func (o *observer) inRepository(name string, tree *source.Tree) (render.Artifact, place, error) {
	file, listed := tree.File(name)
	if k, ok := o.known[file.Key]; ok && listed && file.Key != "" && (o.blobs == nil || k.problem != "" || o.blobs.has(k.digest, k.size)) {
		return k.artifact(place{Blob: true})
	}
	f, err := tree.Open(name)
	if errors.Is(err, source.ErrStale) {
		return render.Artifact{}, place{}, err
	}
	if err != nil {
		return render.Artifact{Problem: problemOf(err)}, place{}, nil
	}
	defer f.Close()
	k, err := o.digest(f)
	if err != nil {
		return render.Artifact{}, place{}, err
	}
	if file.Digest != "" && k.problem == "" && k.digest != file.Digest {
		return render.Artifact{}, place{}, source.ErrStale
	}
	if strings.HasPrefix(file.Key, "git:") { // a directory's files have a digest that is compared above, and times that may lie
		o.known[file.Key] = k
	}
	return k.artifact(place{Blob: true})
}

// digest reads a file to its end, into the blobs if there are any.
func (o *observer) digest(r io.Reader) (known, error) {
	first := make([]byte, 1024)
	n, err := io.ReadFull(r, first)
	switch {
	case n == 0 && errors.Is(err, io.EOF):
		return known{problem: "is empty"}, nil
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return known{}, err
	case source.IsLFSPointer(first[:n]):
		return known{problem: "is a Git LFS pointer, not the file itself"}, nil
	}
	r = io.MultiReader(bytes.NewReader(first[:n]), r)
	if o.blobs != nil {
		d, size, err := o.blobs.put(r, source.MaxFileSize)
		if errors.Is(err, errTooLarge) {
			return known{problem: err.Error()}, nil
		}
		return known{digest: d, size: size}, err
	}
	h := sha256.New()
	size, err := io.Copy(h, io.LimitReader(r, source.MaxFileSize+1))
	if err != nil || size > source.MaxFileSize {
		return known{problem: errTooLarge.Error()}, err
	}
	return known{digest: fact.Digest(hex.EncodeToString(h.Sum(nil))), size: size}, nil
}

// allowed reports whether a store's directory is, links resolved, at or below one that the owner of the server lets specs use: who may
// commit to the repository must not choose which files of the server machines can fetch.
func (o *observer) allowed(dir string) bool {
	if len(o.roots) == 0 {
		return true
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		real = filepath.Clean(dir) // there is nothing to open; if it is created later, it is looked at again
	}
	return slices.ContainsFunc(o.roots, func(root string) bool {
		if resolved, err := filepath.EvalSymlinks(root); err == nil {
			root = resolved
		}
		rel, err := filepath.Rel(root, real)
		return err == nil && filepath.IsLocal(rel)
	})
}

// inLocalStore hashes a file where it lies: it is served from there, and checked again at each opening.
func (o *observer) inLocalStore(dir, key string) (render.Artifact, place, error) {
	if !o.allowed(dir) {
		return render.Artifact{Problem: "lies in a store that the server's store_roots do not allow"}, place{}, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		if o.blobs == nil {
			return render.Artifact{}, place{}, errUnknown
		}
		return render.Artifact{Problem: "its store cannot be opened: " + errText(err)}, place{}, nil
	}
	defer root.Close()
	f, err := openRegular(root, key)
	if errors.Is(err, errNotRegular) {
		return render.Artifact{Problem: errNotRegular.Error()}, place{}, nil
	}
	if err != nil {
		return render.Artifact{Problem: problemOf(err)}, place{}, nil
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return render.Artifact{Problem: "cannot be read: " + errText(err)}, place{}, nil
	case st.Size() == 0: // without reading: those of /proc and /sys have no size, and reading some of them never ends
		return render.Artifact{Problem: "is empty"}, place{}, nil
	case st.Size() > source.MaxFileSize:
		return render.Artifact{Problem: errTooLarge.Error()}, place{}, nil
	}
	p := place{Store: dir, Key: key, FileKey: source.FileKey(st)}
	if k, ok := o.known[p.FileKey]; ok {
		return k.artifact(p)
	}
	inPlace := *o
	inPlace.blobs = nil
	k, err := inPlace.digest(f)
	if err != nil {
		return render.Artifact{Problem: "cannot be read: " + errText(err)}, place{}, nil
	}
	if after, err := f.Stat(); err != nil || source.FileKey(after) != p.FileKey {
		return render.Artifact{Problem: "changed while it was read"}, place{}, nil
	}
	if source.Settled(st, o.now()) {
		o.known[p.FileKey] = k
	}
	return k.artifact(p)
}

var errNotRegular = errors.New("is not a regular file")

// openRegular opens a file of a store. Opening a pipe waits for its other end, and opening a device may do anything, so
// neither is opened; should one take the file's place meanwhile, it is not waited for.
func openRegular(root *os.Root, key string) (*os.File, error) {
	name := strings.TrimLeft(key, "/")
	st, err := root.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
}

// problemOf says why a file cannot be opened, without the path of the store.
func problemOf(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "does not exist"
	}
	text := errText(err)
	if strings.Contains(text, "path escapes") {
		return "is or passes a symbolic link that leads out, which is not followed"
	}
	return text
}

func errText(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// open gives the content of a digest.
func (ps places) open(d fact.Digest, b *blobs, s3 *s3.Service) (io.ReadSeekCloser, error) {
	p, ok := ps[d]
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", d, fs.ErrNotExist)
	case p.Builtin != "":
		loader, ok := builtinLoader(p.Builtin, p.Trust)
		if !ok {
			return nil, fmt.Errorf("%s: %w", p.Builtin, fs.ErrNotExist)
		}
		return nopCloser{bytes.NewReader(loader)}, nil
	case p.Blob:
		return b.open(d)
	case p.Object != "":
		return p.openObject(s3)
	default:
		return p.openStore()
	}
}

// openStore opens a file of a local store if it is still the one that was hashed.
func (p place) openStore() (io.ReadSeekCloser, error) {
	root, err := os.OpenRoot(p.Store)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := openRegular(root, p.Key)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || source.FileKey(st) != p.FileKey {
		f.Close()
		return nil, fmt.Errorf("%s: %w", p.Key, errChanged)
	}
	return f, nil
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }
