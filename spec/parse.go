// Package spec turns HCL text into a checked Fleet, and finds every mistake in one run, each with its file, line and
// remedy. It refuses to know where the text came from, what the files that it names contain, who holds a lease, and what
// time it is: the same text and variables give the same fleet on every machine.
package spec

import (
	"io/fs"

	"hostler/render/fact"
)

// Input is what Parse reads.
type Input struct {
	// Files is the repository. Parse opens *.boot.hcl below its root, and what file functions name; nothing else. It is
	// used by one goroutine, and only until Parse returns.
	Files fs.FS
	// Vars are values for variable blocks, as text (-var, server configuration); parsed by the variable's type.
	Vars map[string]string
}

// Parse evaluates and checks a spec. The fleet is nil if, and only if, the diagnostics have errors.
func Parse(in Input) (*Fleet, Diagnostics) { panic("spec: not written yet") }

// Execute renders a template for a node. It gives the same text as when the fleet was parsed; the caller compares
// digests with the node's NodeText. Output, steps and time are bounded.
func (f *Fleet) Execute(template string, n *Node) (fact.Text, error) { panic("spec: not written yet") }

// Effective folds the node's own settings over its profile's: what holds for the node, kernel arguments in print order.
func (f *Fleet) Effective(n *Node) Settings { panic("spec: not written yet") }
