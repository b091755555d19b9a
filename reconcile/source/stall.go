package source

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/go-git/go-git/v5/storage/filesystem"
)

// stallTime is how long a fetch may bring nothing. A large repository takes as long as it takes, but a remote that hangs must not
// hold up what was mended meanwhile.
const stallTime = 2 * time.Minute

var errStalled = errors.New("the remote sent nothing for two minutes")

// stallable gives a storage for a fetch and a context that ends when nothing arrives in it any more.
func stallable(ctx context.Context, s *filesystem.Storage) (context.Context, stallStorage, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(stallTime, func() { cancel(errStalled) })
	return ctx, stallStorage{s, timer}, func() { timer.Stop(); cancel(nil) }
}

// stallStorage puts the end off with each piece of a pack.
type stallStorage struct {
	*filesystem.Storage
	timer *time.Timer
}

// PackfileWriter implements storer.PackfileWriter.
func (s stallStorage) PackfileWriter() (io.WriteCloser, error) {
	w, err := s.Storage.PackfileWriter()
	if err != nil {
		return nil, err
	}
	return stallWriter{w, s.timer}, nil
}

type stallWriter struct {
	io.WriteCloser
	timer *time.Timer
}

func (w stallWriter) Write(p []byte) (int, error) {
	w.timer.Reset(stallTime)
	return w.WriteCloser.Write(p)
}
