package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Debounce: a hint is given after so much silence, or at the latest so long after the first event. A commit is 11 events within
// a few milliseconds; an editor's save is 8.
const (
	silence = 60 * time.Millisecond
	atMost  = 400 * time.Millisecond
)

// maxWatches is above how many folders watching is left to the poll: the kernel's limit is for all processes of the user.
const maxWatches = 8000

// Watch implements Source.
func (d *directory) Watch(ctx context.Context, notify func()) error {
	return watch(ctx, notify, func() (places, error) {
		p := places{}
		p.addPath(d.String())
		return p, p.addFolders(d.String(), ignored)
	})
}

// Watch implements Source. The branch is a loose file under refs/heads that git renames into place, or a line of
// packed-refs; git gc moves it from one to the other, and removes and makes again the folders between.
func (l *local) Watch(ctx context.Context, notify func()) error {
	return watch(ctx, notify, func() (places, error) {
		p := places{}
		p.addPath(l.dir)
		lay, err := findLayout(l.dir)
		if err != nil {
			return p, nil // gone for now: addPath sees it come back
		}
		p.add(lay.git, "HEAD", "packed-refs")
		p.add(lay.common, "HEAD", "packed-refs", "refs")
		p.add(filepath.Join(lay.common, "refs"), "heads")
		return p, p.addFolders(filepath.Join(lay.common, "refs", "heads"), func(string) bool { return false })
	})
}

// places are the folders to watch, with the names in them that matter; nil for every name. Files are never watched: a
// watch stays with the inode that an editor or git replaces.
type places map[string]map[string]bool

func (p places) add(dir string, names ...string) {
	old, known := p[dir]
	if len(names) == 0 || (known && old == nil) {
		p[dir] = nil
		return
	}
	if old == nil {
		old = map[string]bool{}
		p[dir] = old
	}
	for _, n := range names {
		old[n] = true
	}
}

// addPath adds the folder that holds the path, so that its removal and return are seen, and that of each symbolic link on the way.
func (p places) addPath(path string) {
	for i := 0; i < 40 && path != "/"; i++ { // 40 as Linux's limit on links
		p.add(filepath.Dir(path), filepath.Base(path))
		link := firstLink(path)
		if link == "" {
			return
		}
		p.add(filepath.Dir(link), filepath.Base(link))
		to, err := os.Readlink(link)
		if err != nil {
			return
		}
		path = filepath.Join(absolute(filepath.Dir(link), to), strings.TrimPrefix(path, link))
	}
}

// firstLink is the shortest prefix of the path that is a symbolic link.
func firstLink(path string) string {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		if st, err := os.Lstat(path[:i]); err != nil {
			return ""
		} else if st.Mode()&fs.ModeSymlink != 0 {
			return path[:i]
		}
	}
	return ""
}

// addFolders adds a folder and all below it.
func (p places) addFolders(dir string, skip func(base string) bool) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil // gone for now
	}
	return filepath.WalkDir(real, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil
		}
		if name != real && skip(e.Name()) {
			return fs.SkipDir
		}
		if len(p) > maxWatches {
			return fmt.Errorf("watching %s: more than %d folders", dir, maxWatches)
		}
		p.add(name)
		return nil
	})
}

// watch notifies after each burst of events in the places, which are found anew each time. Watches are added before the
// notification, and the receiver looks after it, so nothing falls between; what appears in a folder before it is watched is seen
// by that look, or by the next round, which the new folder's own watch causes.
func watch(ctx context.Context, notify func(), find func() (places, error)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watching: %w", err)
	}
	defer w.Close()
	for {
		p, err := addAll(w, find)
		if err != nil {
			return err
		}
		notify()
		if err := waitBurst(ctx, w, p); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// addAll adds the watches until a round finds no new folder.
func addAll(w *fsnotify.Watcher, find func() (places, error)) (places, error) {
	for before := -1; ; {
		p, err := find()
		if err != nil {
			return nil, err
		}
		for dir := range p {
			if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("watching %s: %w", dir, err)
			}
		}
		if len(p) == before {
			return p, nil
		}
		before = len(p)
	}
}

// waitBurst waits for an event that matters, and then for silence. An error, an overflow of the kernel's queue among them, means
// that events were lost: the caller starts over.
func waitBurst(ctx context.Context, w *fsnotify.Watcher, p places) error {
	var quiet, limit <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-quiet:
			return nil
		case <-limit:
			return nil
		case err, ok := <-w.Errors:
			if !ok {
				err = fsnotify.ErrClosed
			}
			return fmt.Errorf("watching: %w", err)
		case e, ok := <-w.Events:
			if !ok {
				return fmt.Errorf("watching: %w", fsnotify.ErrClosed)
			}
			if !matters(p, e) {
				continue
			}
			if limit == nil {
				limit = time.After(atMost)
			}
			quiet = time.After(silence)
		}
	}
}

// matters drops lock files, changes of attributes alone, and neighbours of the names that matter. An event for a watched folder
// itself, its removal, always matters.
func matters(p places, e fsnotify.Event) bool {
	if strings.HasSuffix(e.Name, ".lock") || e.Op == fsnotify.Chmod {
		return false
	}
	if names, ok := p[filepath.Dir(e.Name)]; ok && (names == nil || names[filepath.Base(e.Name)]) {
		return true
	}
	_, self := p[e.Name]
	return self && e.Has(fsnotify.Remove|fsnotify.Rename)
}
