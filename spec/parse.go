// Package spec turns HCL text into a checked Fleet, and finds every mistake in one run, each with its file, line and
// remedy. It refuses to know where the text came from, what the files that it names contain, who holds a lease, and what
// time it is: the same text and variables give the same fleet on every machine.
package spec

import (
	"io/fs"
	"net/netip"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty/function"

	"hostler/spec/lang"
)

// Input is what Parse reads.
type Input struct {
	// Files is the repository. Parse opens *.boot.hcl below its root, and what file functions name; nothing else. It is
	// used by one goroutine, and only until Parse returns.
	Files fs.FS
	// Vars are values for variable blocks, as text (-var, server configuration); parsed by the variable's type.
	Vars map[string]string
}

// parser is one run of Parse.
type parser struct {
	in     Input
	rep    *report
	funcs  map[string]function.Function
	units  map[string]map[string]*unit // what expressions can name: by root (var, local, group, ...) and name
	order  []*unit                     // every unit, in the order of the text
	stack  []*unit                     // units being evaluated, for cycles
	ctx    *hcl.EvalContext            // everything that can be named, once all of it is evaluated
	strict bool                        // strict_layers
	whole  bool                        // every file could be read

	spec, defaults *body
	fleet          *Fleet
	layers         map[string]*layer // by address: "group.compute"
	siteOf         map[string]string // by subnet
	siteServers    map[string][]netip.Addr
	patterns       map[string]string // of host names, by subnet
	subnetByName   map[string]int    // index into fleet.Subnets
	subnetList     []subnetSource    // parallel to fleet.Subnets
	templates      map[string]*lang.Template
	checked        checked // texts of templates
	nodeList       []*nodeSource
	unknown        *spot // of a value that could not be evaluated; the mistake must have been reported
	groups         map[string]*group
	discovery      []discovery
	profiles       map[string]*profile

	tree         *lang.Tree
	mem          *memory // of the spec before; nil: there is none
	made         map[string]*nodeUnit
	surroundings string                // around
	templating   string                // templateInputs
	taken        map[*profile][]*taken // by profile in the spec before
}

// Parse evaluates and checks a spec. The fleet is nil if, and only if, the diagnostics have errors.
func Parse(in Input) (*Fleet, Diagnostics) { return newParser(in, nil).parse() }

func newParser(in Input, mem *memory) *parser {
	p := &parser{in: in, rep: newReport(in.Files), units: map[string]map[string]*unit{}, fleet: &Fleet{Language: 1},
		layers: map[string]*layer{}, groups: map[string]*group{}, profiles: map[string]*profile{}, made: map[string]*nodeUnit{}, taken: map[*profile][]*taken{}, mem: mem,
		siteOf: map[string]string{}, siteServers: map[string][]netip.Addr{}, patterns: map[string]string{}, subnetByName: map[string]int{}, templates: map[string]*lang.Template{}}
	var before *lang.Tree
	if mem != nil {
		before = mem.tree
	}
	p.tree = lang.NewTree(in.Files, before)
	p.funcs = lang.Functions(p.tree)
	return p
}

func (p *parser) parse() (*Fleet, Diagnostics) {
	files, whole := p.read()
	p.whole = whole
	p.declare(files)
	p.evaluate()
	p.header()
	p.bootFiles()
	p.allLayers()
	p.subnets()
	p.nodes()
	p.sortNodes()
	p.finishProfiles()
	p.checkIdentities()
	p.checkAddresses()
	p.checkDiscovery()
	if p.rep.errors == 0 {
		p.nodeTexts()
		p.shareNodes()
	}
	if p.rep.errors == 0 && p.unknown != nil {
		p.rep.err("unknown-value-left", *p.unknown, "Value is not known", "This could not be evaluated, and what depends on it was left out.")
	}
	ds := p.rep.finish()
	if ds.HasErrors() {
		return nil, ds
	}
	return p.fleet, ds
}
