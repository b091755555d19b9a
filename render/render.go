// Package render turns a checked fleet into an immutable snapshot, and answers every question about it: which
// machine is asking, what it is told, which file it gets, what changed since the last snapshot, and why. It is
// pure: no clock, no random number, no file, no network, no log, so that what was reviewed is what is served.
package render

import (
	"net/netip"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// Artifact is what was observed of one file that the fleet names, keyed by spec.FileRef.ID. A file that is missing from
// Artifacts is "digest unknown here": an offline plan works, a server's gate refuses it.
type Artifact struct {
	Digest  fact.Digest
	Size    int64
	URL     string // where the machine fetches it itself (spec.DeliverDirect); empty: hostler serves it by digest
	Problem string // why it cannot be served: missing, empty, a Git LFS pointer, ...; becomes a diagnostic at the file's place
}

// Artifacts are the observed files of a fleet.
type Artifacts map[string]Artifact

// Assignments are the few facts from outside the spec that change rarely.
type Assignments struct {
	Holds map[fact.NodeName]string // reason by node
}

// Snapshot is everything that the servers need to answer every machine, complete and immutable.
type Snapshot struct{ fleet *spec.Fleet }

// Render builds a snapshot. The snapshot is nil if, and only if, the diagnostics have errors.
func Render(f *spec.Fleet, a Artifacts, as Assignments) (*Snapshot, spec.Diagnostics) {
	panic("render: not written yet")
}

// Digest is a hash over everything that is served; two servers with the same digest give the same answers.
func (s *Snapshot) Digest() fact.Digest { panic("render: not written yet") }

// Choice says whom a request is from and which address it may have.
type Choice struct {
	Ignore string        // why there is no answer; empty: there is one
	Node   fact.NodeName // empty for a machine that nobody declared
	Subnet string
	Server netip.Addr // identifies this server (option 54), is its next-server, and the address that replies leave from
	Claim  fact.Claim // what to ask the leases for
	Nak    bool       // whether a REQUEST for another address is refused by NAK, or ignored
}

// Select finds subnet, node and address or pool for a DHCP request. It costs the same however many nodes there are.
func (s *Snapshot) Select(f *fact.Facts) Choice { panic("render: not written yet") }

// Answer is a DHCP reply without the fields that are copied from the request.
type Answer struct {
	Ignore   string       // why there is no reply; empty: there is one
	Message  fact.Message // Offer, Ack or Nak
	Reason   string       // of a Nak, sent as option 56
	YIAddr   netip.Addr
	SIAddr   netip.Addr // next-server, invalid: none
	ServerID netip.Addr
	BootFile fact.Text // file field, and option 67 when asked for; may hold late values
	Options  []Option  // ascending by code; without 53, 54, 67, 82 and the echoed 61 and 97, which the server writes
	Loader   string    // name of the chosen loader
	Revision fact.Revision
}

// Option is an encoded DHCP option.
type Option struct {
	Code uint8
	Data []byte
}

// Answer decides the reply to a DISCOVER, REQUEST or INFORM of a client for which Select made the choice and the
// leases hold the address. An invalid address is a pool that is exhausted.
func (s *Snapshot) Answer(f *fact.Facts, c *Choice, addr netip.Addr) Answer {
	panic("render: not written yet")
}

// File is something a machine may fetch.
type File struct {
	Name   string
	Node   fact.NodeName
	Stage  fact.Stage
	Text   fact.Text   // for generated files; when set, Digest is empty
	Digest fact.Digest // content to be had from the blobs
	Size   int64
	URL    string // the machine must fetch it from there (never for TFTP)
}

// File looks up a TFTP name. The machine is known by the lease of the address that asks, or unknown (zero); names that
// carry a MAC of their own, such as pxelinux.cfg/01-MAC, need none. The name is looked up, never joined to a path. In a
// generated file, late values are left for the server to fill.
func (s *Snapshot) File(name string, mac fact.MAC) (File, bool) { panic("render: not written yet") }

// Blob finds a file that some machine of the snapshot may fetch by its digest.
func (s *Snapshot) Blob(d fact.Digest) (File, bool) { panic("render: not written yet") }

// Query identifies a machine over HTTP. Set fields are tried in order: MAC, Name, NID.
type Query struct {
	MAC  fact.MAC
	Name string
	NID  string
}

// Script is a boot script, or the one that says why there is none: a machine always gets something to do next.
type Script struct {
	Text   fact.Text
	Node   fact.NodeName // empty for a machine that nobody declared
	MAC    fact.MAC      // the machine's boot interface
	Boots  bool          // whether it boots something; false: waits, hands over to the disk, ...
	Reason string        // when it does not
}

// Script assembles the iPXE script for a machine. retry counts how often this boot has asked before.
func (s *Snapshot) Script(q Query, retry int) Script { panic("render: not written yet") }

// Config renders a node's template. The error says which template, for which node, and why.
func (s *Snapshot) Config(node fact.NodeName, template string) (File, error) {
	panic("render: not written yet")
}

// NodeInfo is what lists and tables show of a node.
type NodeInfo struct {
	Name       fact.NodeName `json:"name"`
	Address    string        `json:"spec_address"` // node.ams1["c0001"]
	MAC        fact.MAC      `json:"mac"`
	IP         netip.Addr    `json:"ip,omitzero"`
	Subnet     string        `json:"subnet"`
	Image      string        `json:"image,omitempty"`
	Groups     []string      `json:"groups,omitempty"`
	Boot       string        `json:"boot"`
	Hold       string        `json:"hold,omitempty"`
	KernelArgs string        `json:"kernel_args"` // late values shown as <kind>
	Place      spec.Place    `json:"range"`
}

// Nodes lists every declared node in natural order.
func (s *Snapshot) Nodes() []NodeInfo { panic("render: not written yet") }

// Node finds a node by name, spec address, or MAC in any form.
func (s *Snapshot) Node(name string) (NodeInfo, bool) { panic("render: not written yet") }

// Fleet is what the snapshot was rendered from. Read-only.
func (s *Snapshot) Fleet() *spec.Fleet { return s.fleet }

// Explanation is why one setting of a node has its value.
type Explanation struct {
	Path  string      `json:"path"`
	Value string      `json:"value"` // empty when it was removed
	Steps []spec.Step `json:"steps"` // weakest layer first, the last decided
}

// Explain gives every setting of a node whose path is path or lies below it; all of them when path is empty.
func (s *Snapshot) Explain(node fact.NodeName, path string) []Explanation {
	panic("render: not written yet")
}

// Class says when and how a change reaches machines, in order of danger.
type Class string

// The impact classes of this version, least dangerous first.
const (
	ClassNone       Class = "none"
	ClassNextBoot   Class = "next-boot"
	ClassNextRenew  Class = "next-renew"
	ClassServer     Class = "server"
	ClassExposure   Class = "exposure"
	ClassAddress    Class = "address"
	ClassOrphan     Class = "orphan" // the planner raises to it with live leases
	ClassRemove     Class = "remove"
	ClassUnbootable Class = "unbootable"
)

// Change is one leaf that differs between two snapshots.
type Change struct {
	Action  string        `json:"action"`  // "+" create, "-" destroy, "~" update, "-/+" another machine under the same name
	Subject string        `json:"subject"` // node.ams1["c0001"], subnet.lab, image.rocky9
	Node    fact.NodeName `json:"node,omitempty"`
	Path    string        `json:"path"` // kernel_args.hugepages, address, pool.boot.range, file.kernel, ...; empty for + and -
	Old     string        `json:"old,omitempty"`
	New     string        `json:"new,omitempty"`
	Class   Class         `json:"class"`
	Layer   string        `json:"layer,omitempty"` // what set, or no longer sets, the value: group.compute
	Cause   spec.Place    `json:"cause,omitzero"`  // in the new text; for a removal, in the old one
}

// Diff lists every difference in what machines are served, nodes first, in natural order. It is total: two
// snapshots with different digests have a non-empty diff. Either may be nil, the empty snapshot.
func Diff(old, new *Snapshot) []Change { panic("render: not written yet") }

// LeaseTime is how long the lease for the choice runs.
func (c *Choice) LeaseTime() time.Duration { return c.Claim.For }
