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
	Digest fact.Digest
	Size   int64
	URL    string // where the machine fetches it itself, which may hold a late value; empty: hostler serves it by digest
	ETag   string // of an object in S3: its version, as S3 names it
	// ByETag says that nobody knows the content: Digest is not its SHA-256, but stands for this version of the object.
	ByETag  bool
	Problem string // why it cannot be served: missing, empty, a Git LFS pointer, ...; becomes a diagnostic at the file's place
}

// Artifacts are the observed files of a fleet.
type Artifacts map[string]Artifact

// Choice says whom a request is from and which address it may have.
type Choice struct {
	Ignore string        // why there is no answer; empty: there is one
	Notice Notice        // with Ignore
	Node   fact.NodeName // empty for a machine that nobody declared
	Subnet string
	Server netip.Addr // next-server, and the address that replies leave from
	ID     netip.Addr // identifies this server (option 54): Server, unless a relay agent wants to be called that
	Claim  fact.Claim // what to ask the leases for
	None   string     // why the machine gets no address here, although it is answered; empty: it gets one
	// Nak says that this server knows what address the machine may have: it confirms an address that the machine remembers,
	// and refuses another one by NAK. Without it, such requests are met with silence. The server sets it for whoever holds a lease.
	Nak   bool
	Check string // how to look for the address on the network before it is offered: "arp", "ping", or empty
	Proxy bool   // the site's own DHCP server gives the address: no lease is taken, and Ignore may be no refusal

	cpu   string                // of a machine that nobody declared; empty: it did not say
	asked time.Duration         // the lease time that the client would like
	lease spec.Lease            // of the machine's layers
	pools map[string]spec.Lease // of the pools that the claim is for; shared, read-only
}

// Notice is something that an operator should look at, which one request shows.
type Notice struct {
	Kind    NoticeKind // empty: there is nothing
	Subject string     // which pool, relay agent, server or address
}

// NoticeKind is what a notice is about, in words for people.
type NoticeKind string

// The kinds of notices.
const (
	PoolExhausted   NoticeKind = "pool exhausted"
	UnknownRelay    NoticeKind = "unknown relay agent"
	ForeignServer   NoticeKind = "foreign DHCP server"
	AddressConflict NoticeKind = "address conflict"
)

// Answer is a DHCP reply without the fields that are copied from the request.
type Answer struct {
	Ignore   string       // why there is no reply; empty: there is one
	Notice   Notice       // with Ignore, or a Nak
	Message  fact.Message // Offer, Ack or Nak; BOOTP for the reply to a BOOTP request
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

// File is something a machine may fetch.
type File struct {
	Name   string
	Node   fact.NodeName
	Stage  fact.Stage
	Text   fact.Text   // for generated files; when set, Digest is empty
	Digest fact.Digest // content to be had from the blobs
	ETag   string      // of an object in S3
	ByETag bool        // see Artifact
	Pinned bool        // the name says which content it is, so that an older snapshot's is as good
	Size   int64
	URL    string     // the machine must fetch it from there (never for TFTP)
	Terms  fact.Terms // of a boot script or a menu, without the revision
}

// Query identifies a machine over HTTP. Set fields are tried in order: MAC, Name, NID.
type Query struct {
	MAC  fact.MAC
	Name string
	NID  string
	Arch string // what the machine's loader is built for, in its own words; empty: it did not say
	// Tried is what a machine has given up on, which its script had it say: it tries again when that is no longer what it boots.
	Tried string
	Addr  netip.Addr // that asks; finds the subnet of a machine that nobody declared; may be invalid
}

// Script is a boot script, or the one that says why there is none: a machine always gets something to do next.
type Script struct {
	Text   fact.Text
	Node   fact.NodeName // empty for a machine that nobody declared
	MAC    fact.MAC      // the machine's boot interface
	Boots  bool          // whether it boots something; false: waits, hands over to the disk, ...
	Reason string        // when it does not
	Note   string        // what an operator should know although it boots
	Terms  fact.Terms    // without the revision
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
	Boot       string        `json:"boot"`               // as the spec says
	Next       string        `json:"next_boot"`          // netboot, install, disk, off or hold
	Hold       string        `json:"hold,omitempty"`     // why it is held
	Assignment *Assignment   `json:"assigned,omitempty"` // what was ordered for it, and what it proved; read-only
	KernelArgs string        `json:"kernel_args"`        // late values shown as <kind>
	Place      spec.Place    `json:"range"`
}

// Explanation is why one setting of a node has its value.
type Explanation struct {
	Path  string      `json:"path"`
	Value string      `json:"value"` // empty when it was removed
	Steps []spec.Step `json:"steps"` // weakest layer first, the last decided
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
	ClassReinstall  Class = "reinstall" // the disk is erased at the next boot
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
