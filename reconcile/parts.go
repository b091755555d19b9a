package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"hostler/render/fact"
	"hostler/spec"
)

// The large parts of a record lie among the blobs, each under the digest of its content, so that a revision writes only those
// that changed: files of the spec, and runs of nodes.
const (
	partFile  = 64 << 10 // bytes, from which on a file is a part of its own; each costs two syncs of the disk
	partNodes = 4096     // nodes in a run, on average; a fleet with fewer is written with the record
)

// nodePart is a run of nodes, as it is stored.
type nodePart struct {
	Digest fact.Digest
	Count  int
}

// parts remembers what was stored last.
type parts struct {
	blobs *blobs
	files map[string]filePart
	nodes map[fact.NodeName]nodesPart // by the first of the run
	read  map[fact.Digest][]spec.Node // while records are loaded, which mostly have the same runs
}

type filePart struct {
	data   []byte
	digest fact.Digest
}

type nodesPart struct {
	nodes  []spec.Node
	digest fact.Digest
}

// store gives a record without its large parts, which are on the disk then.
func (p *parts) store(rec *record) (*record, error) {
	small := *rec
	small.Files, small.FileParts, small.NodeParts = map[string][]byte{}, map[string]fact.Digest{}, nil
	files := map[string]filePart{}
	for name, data := range rec.Files {
		if len(data) < partFile {
			small.Files[name] = data
			continue
		}
		f := p.files[name]
		if len(f.data) != len(data) || &f.data[0] != &data[0] {
			f = filePart{data: data}
			var err error
			if f.digest, err = p.put(data); err != nil {
				return nil, err
			}
		}
		files[name], small.FileParts[name] = f, f.digest
	}
	p.files = files
	if rec.Fleet == nil || len(rec.Fleet.Nodes) < partNodes {
		return &small, nil
	}
	fleet := *rec.Fleet
	fleet.Nodes = nil
	small.Fleet = &fleet
	return &small, p.storeNodes(&small, rec.Fleet.Nodes)
}

// storeNodes stores runs that are not stored yet, several at a time: to encode them is most of the work.
func (p *parts) storeNodes(small *record, nodes []spec.Node) error {
	runs := cut(nodes)
	small.NodeParts = make([]nodePart, len(runs))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, run := range runs {
		if part := p.nodes[run[0].Name]; sameRun(part.nodes, run) {
			small.NodeParts[i] = nodePart{part.digest, len(run)}
			continue
		}
		g.Go(func() error {
			var body bytes.Buffer
			if err := gob.NewEncoder(&body).Encode(run); err != nil {
				return fmt.Errorf("encoding nodes: %w", err)
			}
			d, err := p.put(body.Bytes())
			small.NodeParts[i] = nodePart{d, len(run)}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	p.nodes = map[fact.NodeName]nodesPart{}
	for i, run := range runs {
		p.nodes[run[0].Name] = nodesPart{run, small.NodeParts[i].Digest}
	}
	return nil
}

// cut cuts nodes into runs at names that only the names choose, so that a node more or less changes one run.
func cut(nodes []spec.Node) (runs [][]spec.Node) {
	for len(nodes) > 0 {
		n := 1
		for n < len(nodes) && n < 4*partNodes && !cutsBefore(nodes[n].Name) {
			n++
		}
		runs, nodes = append(runs, nodes[:n]), nodes[n:]
	}
	return runs
}

func cutsBefore(name fact.NodeName) bool {
	h := fnv.New32a()
	io.WriteString(h, string(name))
	return h.Sum32()%partNodes == 0
}

func sameRun(a, b []spec.Node) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !spec.Same(&a[i], &b[i]) {
			return false
		}
	}
	return true
}

func (p *parts) put(data []byte) (fact.Digest, error) {
	sum := sha256.Sum256(data)
	d := fact.Digest(hex.EncodeToString(sum[:]))
	if p.blobs.has(d, int64(len(data))) {
		return d, nil
	}
	_, _, err := p.blobs.put(bytes.NewReader(data), int64(len(data)))
	return d, err
}

// restore gives a record back its large parts.
func (p *parts) restore(rec *record) error {
	for name, d := range rec.FileParts {
		data, err := p.get(d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if rec.Files == nil {
			rec.Files = map[string][]byte{}
		}
		rec.Files[name] = data
	}
	if rec.Fleet == nil || len(rec.NodeParts) == 0 {
		return nil
	}
	total := 0
	for _, x := range rec.NodeParts {
		if x.Count <= 0 || x.Count > 4*partNodes {
			return errors.New("is damaged: a run of nodes has an impossible length")
		}
		total += x.Count
	}
	if err := p.readRuns(rec.NodeParts); err != nil {
		return err
	}
	rec.Fleet.Nodes = make([]spec.Node, 0, total)
	for _, x := range rec.NodeParts {
		run := p.read[x.Digest]
		if len(run) != x.Count {
			return fmt.Errorf("is damaged: a run has %d nodes, not %d", len(run), x.Count)
		}
		rec.Fleet.Nodes = append(rec.Fleet.Nodes, run...)
	}
	return nil
}

// readRuns reads the runs that were not read yet, several at a time.
func (p *parts) readRuns(list []nodePart) error {
	runs := make([][]spec.Node, len(list))
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, x := range list {
		if run, known := p.read[x.Digest]; known {
			runs[i] = run
			continue
		}
		g.Go(func() (err error) {
			runs[i], err = p.getNodes(x.Digest)
			return err
		})
	}
	err := g.Wait()
	for i, x := range list {
		if runs[i] != nil {
			p.read[x.Digest] = runs[i]
		}
	}
	return err
}

func (p *parts) getNodes(d fact.Digest) (nodes []spec.Node, err error) {
	data, err := p.get(d)
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(data)).Decode(&nodes)
		spec.Compact(nodes)
	}
	return nodes, err
}

// get reads a part. One that is damaged is removed, or it would be taken for stored when it is needed next.
func (p *parts) get(d fact.Digest) ([]byte, error) {
	data, err := os.ReadFile(p.blobs.path(d))
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != string(d) {
		return nil, errors.Join(errors.New("is damaged: the checksum of a part does not match"), os.Remove(p.blobs.path(d)))
	}
	return data, nil
}
