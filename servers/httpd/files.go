package httpd

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"hostler/render"
	"hostler/render/fact"
)

// file sends an image or loader file. Its digest is its identity, hence its ETag, and it never changes; the name is there
// for firmware that looks at the end of a URL, and is not looked at here.
func (x *exchange) file(digest, name string) {
	if name == "autoexec.ipxe" { // iPXE asks for it beside the loader; the loader itself is no answer
		x.autoexec(name)
		return
	}
	d := fact.Digest(digest)
	f, ok := render.File{}, false
	if isDigest(digest) && name != "" {
		f, ok = x.blob(d)
	}
	if !ok {
		x.refuse(http.StatusNotFound, "there is no such file", "no such file in a revision that is in use")
		return
	}
	x.event.Stage, x.event.File = f.Stage, f.Name
	if !x.turns.take(x.r.Context(), x.peer) {
		x.event.Result, x.event.Detail = fact.Failed, "the machine closed the connection while others of its own were served"
		return
	}
	defer x.turns.leave(x.peer)
	x.w.extend()
	blob, err := x.open(f)
	if err != nil {
		x.Log.Error("opening a file", "file", f.Name, "digest", d, "err", err)
		x.event.Result, x.event.Detail = fact.Failed, "opening the file: see the log"
		x.error(http.StatusInternalServerError, "the file cannot be read now")
		return
	}
	defer blob.Close()
	h := x.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("ETag", `"`+digest+`"`)
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	if strings.Contains(x.r.Header.Get("Range"), ",") { // no firmware asks for several, and each may be a request to S3 (RFC 9110 section 14.2)
		x.r.Header.Del("Range")
	}
	http.ServeContent(&x.w, x.r, "", time.Time{}, blob)
	switch x.w.status {
	case http.StatusNotModified:
		x.event.Detail = "not modified"
	case http.StatusRequestedRangeNotSatisfiable, http.StatusPreconditionFailed:
		x.event.Result, x.event.Detail = fact.Refused, strings.ToLower(http.StatusText(x.w.status))
	case http.StatusPartialContent:
		x.event.Detail = fact.Printable(x.r.Header.Get("Range"))
	}
}

// open also finds out what a damaged store would send: a machine that was promised another length hangs.
func (x *exchange) open(f render.File) (io.ReadSeekCloser, error) {
	blob, err := x.Blobs.Open(f.Digest)
	if err != nil {
		return nil, err
	}
	size, err := blob.Seek(0, io.SeekEnd)
	if err == nil && size != f.Size {
		err = errors.New("its size is not the one that was rendered")
	}
	if err == nil {
		_, err = blob.Seek(0, io.SeekStart)
	}
	if err != nil {
		blob.Close()
		return nil, err
	}
	return blob, nil
}

// blob finds a digest in the current snapshot, or in one that a boot under way began with.
func (x *exchange) blob(d fact.Digest) (render.File, bool) {
	snap, rev := x.Current()
	if snap != nil {
		if f, ok := snap.Blob(d); ok {
			x.event.Revision = rev
			return f, true
		}
	}
	for _, older := range x.Older() {
		if f, ok := older.Blob(d); ok {
			return f, true
		}
	}
	return render.File{}, false
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}
