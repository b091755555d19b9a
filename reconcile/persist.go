package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"hostler/reconcile/ledger"
	"hostler/reconcile/source"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// formatVersion is that of the files in revisions/. It rises when an older program could not read them.
const formatVersion = 3 // since nodes may install themselves: an older program would do so at each boot

// keepRevisions is how many persisted revisions are kept: the current one, and two for boots that are under way.
const keepRevisions = 3

// record is everything that serving a revision needs, so that it can be served with the source gone.
type record struct {
	Source    string // what the revision came from
	Commit    source.Commit
	Applied   time.Time
	Vars      map[string]string
	Files     map[string][]byte // what the evaluation read
	Fleet     *spec.Fleet
	Artifacts render.Artifacts
	Places    places
	Digest    fact.Digest // of the snapshot, when it was applied
	Bare      fact.Digest // of the snapshot without assignments

	// On the disk only: where the large files, and the nodes if they are many, lie among the blobs.
	FileParts map[string]fact.Digest
	NodeParts []nodePart
}

// needs are the blobs without which the record cannot be served.
func (rec *record) needs() []fact.Digest {
	list := slices.AppendSeq(slices.Collect(maps.Keys(rec.Places)), maps.Values(rec.FileParts))
	for _, x := range rec.NodeParts {
		list = append(list, x.Digest)
	}
	return list
}

// archive keeps records on disk: one file each, numbered, with a first line "hostler-revision VERSION SHA256 LENGTH".
type archive struct {
	dir   string
	parts parts
	needs map[int][]fact.Digest // by record, so that sweeping need not read them again
}

func newArchive(dir string, b *blobs) *archive {
	return &archive{dir: dir, parts: parts{blobs: b}, needs: map[int][]fact.Digest{}}
}

const recordHeader = "hostler-revision %d %s %d\n"

// save makes a record durable under the next number.
func (a *archive) save(rec *record) error {
	small, err := a.parts.store(rec)
	if err != nil {
		return &stateError{fmt.Errorf("persisting the revision: %w", err)}
	}
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(small); err != nil {
		return fmt.Errorf("encoding the revision: %w", err)
	}
	n, err := a.write(body.Bytes())
	if err != nil {
		return &stateError{fmt.Errorf("persisting the revision: %w", err)}
	}
	a.needs[n] = small.needs()
	return nil
}

// write gives the body the next number.
func (a *archive) write(body []byte) (int, error) {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return 0, err
	}
	numbers, err := a.numbers()
	if err != nil {
		return 0, err
	}
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	tmp, err := os.CreateTemp(a.dir, "tmp-")
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name()) // nothing to remove after the rename
	defer tmp.Close()
	sum := sha256.Sum256(body)
	if _, err := fmt.Fprintf(tmp, recordHeader, formatVersion, hex.EncodeToString(sum[:]), len(body)); err != nil {
		return 0, err
	}
	if _, err := tmp.Write(body); err != nil {
		return 0, err
	}
	return next, publish(tmp, a.file(next))
}

func (a *archive) file(n int) string { return filepath.Join(a.dir, fmt.Sprintf("%08d.rev", n)) }

// numbers lists the records, oldest first.
func (a *archive) numbers() ([]int, error) {
	entries, err := os.ReadDir(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var numbers []int
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".rev"); ok {
			if n, err := strconv.Atoi(base); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	sort.Ints(numbers)
	return numbers, err
}

// load gives the records that are whole, newest first, and what was wrong with others. A newer format is an error: an older
// record must not be served in its place without anybody deciding so.
func (a *archive) load() (recs []*record, bad []error, err error) {
	numbers, err := a.numbers()
	if err != nil {
		return nil, nil, fmt.Errorf("reading persisted revisions: %w", err)
	}
	a.parts.read = map[fact.Digest][]spec.Node{}
	defer func() { a.parts.read = nil }()
	var before *record
	for _, n := range slices.Backward(numbers) {
		rec, err := readRecord(a.file(n))
		if err == nil {
			a.needs[n] = rec.needs()
			err = a.parts.restore(rec)
		}
		if err == nil && before != nil && len(rec.NodeParts) > 0 && slices.Equal(rec.NodeParts, before.NodeParts) {
			rec.Fleet.Nodes = before.Fleet.Nodes // so that their snapshots share what they make of them
		}
		switch {
		case err == nil:
			recs, before = append(recs, rec), rec
		case errors.Is(err, ledger.ErrNewerFormat):
			return nil, bad, fmt.Errorf("persisted revision %s: %w", a.file(n), err)
		default:
			bad = append(bad, fmt.Errorf("persisted revision %s: %w", a.file(n), err))
		}
	}
	return recs, bad, nil
}

func readRecord(name string) (*record, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	line, body, _ := bytes.Cut(b, []byte("\n"))
	var version, length int
	var sum string
	if n, _ := fmt.Sscanf(string(line)+"\n", recordHeader, &version, &sum, &length); n < 1 {
		return nil, errors.New("is damaged: no header")
	}
	if version > formatVersion {
		return nil, fmt.Errorf("%w (format %d, this program reads up to %d)", ledger.ErrNewerFormat, version, formatVersion)
	}
	if got := sha256.Sum256(body); len(body) != length || hex.EncodeToString(got[:]) != sum {
		return nil, errors.New("is damaged: its checksum does not match")
	}
	var rec record
	if err := gob.NewDecoder(bytes.NewReader(body)).Decode(&rec); err != nil {
		return nil, fmt.Errorf("is damaged: %w", err)
	}
	return &rec, nil
}

// prune removes all but the newest records, and what a crash left half-written.
func (a *archive) prune() error {
	numbers, err := a.numbers()
	for len(numbers) > keepRevisions {
		err = errors.Join(err, os.Remove(a.file(numbers[0])))
		delete(a.needs, numbers[0])
		numbers = numbers[1:]
	}
	tmps, _ := filepath.Glob(filepath.Join(a.dir, "tmp-*"))
	for _, t := range tmps {
		err = errors.Join(err, os.Remove(t))
	}
	return err
}

// blobsOf adds every digest that the kept records hold.
func (a *archive) blobsOf(keep map[fact.Digest]bool) error {
	numbers, err := a.numbers()
	for _, n := range numbers {
		if _, ok := a.needs[n]; !ok {
			if rec, err := readRecord(a.file(n)); err == nil { // a damaged one will never be served
				a.needs[n] = rec.needs()
			}
		}
		for _, d := range a.needs[n] {
			keep[d] = true
		}
	}
	return err
}
