package reconcile

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// slow gives a byte a second.
type slow struct{ r io.Reader }

func (s slow) Read(p []byte) (int, error) {
	time.Sleep(time.Second)
	return s.r.Read(p[:1])
}

// A long fetch says how far it is, to whoever asks and to the log every ten seconds, and how it ended.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := newObserver(&blobs{t.TempDir()}, time.Now)
		o.progress.log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		began := time.Now()
		go func() {
			time.Sleep(12500 * time.Millisecond)
			want := &Fetch{File: "store.images rootfs", Done: 12, Size: 25, Since: began}
			if d := cmp.Diff(want, o.progress.current()); d != "" {
				t.Error(d)
			}
		}()
		if _, err := o.keep(slow{strings.NewReader(strings.Repeat("x", 25))}, "store.images rootfs", 25); err != nil {
			t.Error(err)
		}
		if f := o.progress.current(); f != nil {
			t.Errorf("%+v is still on its way", f)
		}
		if _, err := o.keep(iotest.TimeoutReader(strings.NewReader(strings.Repeat("x", 2000))), "store.images kernel", 2000); !errors.Is(err, iotest.ErrTimeout) {
			t.Error(err)
		}
		want := `level=INFO msg="fetching a file" file="store.images rootfs" bytes=10 size=25 duration=10s
level=INFO msg="fetching a file" file="store.images rootfs" bytes=20 size=25 duration=20s
level=INFO msg="file fetched" file="store.images rootfs" bytes=25 duration=27s
level=WARN msg="fetching a file broke off" file="store.images kernel" bytes=1024 size=2000 duration=0s err=timeout
`
		if d := cmp.Diff(want, log.String()); d != "" {
			t.Error(d)
		}
	})
}
