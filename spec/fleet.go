package spec

import (
	"net/netip"
	"strings"
	"time"

	"hostler/render/fact"
)

// Fleet is a checked spec: every reference in it resolves, every name, MAC, address and id is unique, every
// address lies where it may. It is plain data that can be serialised, compared and shared; nobody changes it once
// Parse has returned it. Slices are sorted by name, nodes in natural order, unless their order has a meaning.
type Fleet struct {
	Language  int
	Loaders   []Loader
	Stores    []Store
	Images    []Image
	Templates []Template
	Subnets   []Subnet
	Profiles  []Profile
	Nodes     []Node
}

// Place is where something stands in the spec. Row is the line of the table that a node's data came from, in
// the file Table; both are zero when it did not come from a table.
type Place struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// EndLine and EndColumn are one past the last character.
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
	Table     string `json:"table,omitempty"`
	Row       int    `json:"row,omitempty"`
}

// Profile is the settings folded for one distinct combination of subnet, groups and image, shared by every node
// that has it: defaults < image < site < subnet < groups (parents first, in listed order).
type Profile struct {
	Subnet   string
	Image    string   // empty: nothing to boot
	Groups   []string // expanded, weakest first
	Settings Settings
	Trace    []Trace // how each setting came about, sorted by Path
}

// Trace is the history of one setting through the layers, weakest first; the last step won.
type Trace struct {
	Path  string // "image", "kernel_args.console", "option.router", "lease.default", ...
	Steps []Step
}

// Step is what one layer did to a setting.
type Step struct {
	Layer  string `json:"layer"` // "defaults", "image.rocky9", "group.compute", "node.n1", ...
	Action Action `json:"action"`
	Value  string `json:"value,omitempty"` // as the author would read it; empty for Removed and Reset
	Place  Place  `json:"range"`
}

// Action is what a layer did to a setting.
type Action string

// The actions.
const (
	Set     Action = "set"
	Replace Action = "replaced"
	Removed Action = "removed" // null
	Reset   Action = "reset"   // kernel_args_reset
)

// Settings are the values that layers may set. In a Profile a zero value means that no layer set it; in Node.Own
// it means that the node says nothing and the profile's value holds.
type Settings struct {
	Boot            BootMode
	Hold            string // why machines must not boot; in a Profile only: a node's own is Node.Hold
	Loader          string // name of a loader, overriding the choice by architecture
	Script          string // template of kind ipxe that replaces the generated boot script
	ScriptForm      string // of the generated boot script: "hostler" or ScriptBSS
	Config          string // template that is the node's configuration; for cloud-init its user-data
	VendorData      string // template of cloud-init's vendor-data. Config, VendorData and NetworkConfig are set together
	NetworkConfig   string // template of cloud-init's network-config
	Domain          string
	DNS             []netip.Addr
	NTP             []netip.Addr
	KernelArgs      []Arg    // in print order in a Profile; in Node.Own unordered, with Remove marks
	KernelArgsOrder []string // keys printed first, in this order
	KernelArgsTail  string   // printed after " -- "
	KernelArgsReset bool     // drop every inherited kernel argument
	Vars            []Var
	Options         []Option
	Lease           Lease
	Retry           Retry
	Loop            Loop
}

// BootMode is what a node does when it boots from the network.
type BootMode string

// The boot modes of this version.
const (
	BootNet         BootMode = "netboot"      // the default
	BootInstall     BootMode = "install"      // as netboot until the machine proves that it is installed, then as disk; again when that changes
	BootInstallOnce BootMode = "install-once" // as install, but again only when a person says so
	BootDisk        BootMode = "disk"         // the script hands back to the firmware's next boot entry
	BootOff         BootMode = "off"          // DHCP only: an address and options, no boot file
)

// Installs reports whether a machine in this mode boots from the network to install itself, and from its disk from then on.
func (b BootMode) Installs() bool { return b == BootInstall || b == BootInstallOnce }

// Arg is one kernel argument: a bare flag, key=value, or the key repeated in the order of Values.
type Arg struct {
	Key     string
	Flag    bool
	Values  []fact.Text
	Remove  bool // in Node.Own: the inherited argument goes away
	PerNode bool // in a Profile: the expression uses self; the value stands in Node.Own
	Place   Place
}

// Var is a value for templates: JSON text of any type, with late values inside strings.
type Var struct {
	Name    string
	JSON    string
	Remove  bool
	PerNode bool
	Place   Place
}

// String is the value as people read it, with late values as <kind:argument>.
func (v Var) String() string {
	return fact.Text(strings.ReplaceAll(v.JSON, `\u0000`, "\x00")).String()
}

// Option is a DHCP option, already encoded.
type Option struct {
	Name   string // as written
	Code   uint8
	Data   []byte
	Text   string // the value as written, for plans
	Force  bool   // sent even if the client did not ask for it
	Remove bool
	Place  Place
}

// Lease holds lease times; zero means inherited. Defaults are filled in by Parse: 1h, and 12h at most.
type Lease struct {
	Default time.Duration
	Max     time.Duration
	Min     time.Duration
}

// Retry is how a boot script behaves when a step fails. Zero means inherited; Parse fills in 5s, 60s, 25, -1 and 15m.
type Retry struct {
	Delay    time.Duration // before the first retry; doubles with jitter up to MaxDelay
	MaxDelay time.Duration
	Jitter   int           // by how many percent a delay may be shorter; -1: by none
	Attempts int           // -1: for ever
	Fallback string        // image after that many attempts, for as many more
	Hold     time.Duration // after all attempts, before the first again
}

// ScriptBSS is the form of a boot script that has what HPE's and OpenCHAMI's Boot Script Service write, and nothing else.
const ScriptBSS = "bss"

// Loop is when a machine counts as one that boots in a loop, and is held. Zero means inherited.
type Loop struct {
	Boots  int           // in a row without being ready; NoLoop: it never counts as one
	Within time.Duration // of each other
}

// NoLoop is Loop.Boots for machines that may boot as often as they like.
const NoLoop = -1

// Loader is a program that firmware loads by DHCP.
type Loader struct {
	Name       string
	Kind       LoaderKind
	ClientArch []fact.Arch // empty: only used when a setting names it
	FileName   string      // the name it is served under
	File       FileRef
	Extra      []NamedFile // served beside it by TFTP: ldlinux.c32, grubx64.efi, ...
	Transport  Transport   // how it fetches kernels and initrds
	Autoexec   bool        // an iPXE without a script of its own, which is given autoexec.ipxe
	Builtin    bool        // not written in the spec
	Place      Place
}

// LoaderKind says what configuration a loader asks for.
type LoaderKind string

// The kinds of loader.
const (
	LoaderIPXE     LoaderKind = "ipxe"
	LoaderPXELinux LoaderKind = "pxelinux"
	LoaderGRUB     LoaderKind = "grub" // GRUB itself, or a shim that loads it
	LoaderRPi      LoaderKind = "rpi"  // the firmware of a Raspberry Pi, which reads config.txt
)

// Transport is how a loader fetches what it boots.
type Transport string

// The transports.
const (
	TransportHTTP Transport = "http"
	TransportTFTP Transport = "tftp"
)

// NamedFile is a file under a name of its own.
type NamedFile struct {
	Name string
	File FileRef
}

// FileRef says where a file is. Exactly one of Builtin, Path, and Store with Key is set.
type FileRef struct {
	Builtin string      // a loader inside the binary: "undionly.kpxe", "ipxe.efi", "snp.efi"
	Path    string      // in the repository, slash-separated, relative to the spec's root
	Store   string      // name of a store
	Key     string      // in the store
	SHA256  fact.Digest // declared; empty when not
	Size    int64       // declared; 0 when not
	Place   Place
}

// ID names the file among all files of a fleet: "builtin:NAME", "path:PATH" or "store:NAME:KEY".
func (f FileRef) ID() string {
	switch {
	case f.Builtin != "":
		return "builtin:" + f.Builtin
	case f.Path != "":
		return "path:" + f.Path
	default:
		return "store:" + f.Store + ":" + f.Key
	}
}

// Store is where image files live.
type Store struct {
	Name    string
	Path    string // local: a directory of the server; files are looked up below it, never outside
	URL     string // http: files are URL + Key, byte for byte
	S3      *S3    // s3: files are objects of a bucket
	Deliver Deliver
	Place   Place
}

// S3 is a bucket. What opens it is not for a spec to say.
type S3 struct {
	Endpoint  string // http://HOST[:PORT] or https://
	Region    string
	Bucket    string
	Prefix    string // before each key, as it stands
	PathStyle bool
	TTL       time.Duration // of presigned URLs
}

// Object is the object of a key in the store's bucket.
func (s *S3) Object(key string) fact.Object {
	return fact.Object{Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, Key: strings.TrimLeft(s.Prefix+key, "/"), PathStyle: s.PathStyle, TTL: s.TTL}
}

// Store finds a store by its name; nil when there is none.
func (f *Fleet) Store(name string) *Store {
	for i := range f.Stores {
		if f.Stores[i].Name == name {
			return &f.Stores[i]
		}
	}
	return nil
}

// SamePlace reports whether two stores have the same files, however they are delivered.
func (s *Store) SamePlace(t *Store) bool {
	if (s.S3 == nil) != (t.S3 == nil) || s.Path != t.Path || s.URL != t.URL {
		return false
	}
	return s.S3 == nil || s.S3.Endpoint == t.S3.Endpoint && s.S3.Bucket == t.S3.Bucket && s.S3.Prefix == t.S3.Prefix
}

// Deliver is how a machine gets a file of a store.
type Deliver string

// The ways of delivery in this version.
const (
	DeliverProxy   Deliver = "proxy"   // served by hostler itself from the store: always so for local
	DeliverMirror  Deliver = "mirror"  // fetched when the revision is prepared, verified, kept by digest and served by hostler
	DeliverDirect  Deliver = "direct"  // the machine is given the store's own URL
	DeliverPresign Deliver = "presign" // the machine is given the object's URL, signed when it asks
)

// Image is what a machine boots.
type Image struct {
	Name        string
	Version     string
	Arch        string // "x86_64", "arm64", ...
	Description string
	Files       []ImageFile // kernel first, then initrds in their order, then the others as written
	Labels      []Label
	Place       Place
}

// ImageFile is one file of an image. Role "kernel" occurs once, "initrd" may repeat, any other once.
type ImageFile struct {
	Role string
	Name string // the last part of its URL, and what "initrd=" says
	File FileRef
}

// Template is text rendered for a node.
type Template struct {
	Name        string
	Kind        string // "ipxe", "text", or one of kind.Names
	Engine      string // "gotmpl" (text/template) or "hcl"
	Source      string // the template's text
	File        string // where the text came from, for errors
	Vars        []Var
	ContentType string
	Deliveries  int // how often in one boot a text with secrets is given out
	Place       Place
}

// Subnet is an address range that hostler answers in.
type Subnet struct {
	Name          string
	Site          string
	CIDR          netip.Prefix
	Gateway       netip.Addr
	Relays        []netip.Addr
	BootServers   []netip.Addr // the site's, when the subnet has none; may be empty
	DHCP          string       // "full"; "proxy": only boot files, beside the site's own DHCP server; or "off"
	Authoritative bool
	ConflictCheck string        // before an address of a pool is offered: "arp", "ping", or empty
	Quarantine    time.Duration // of declined addresses; 0: ten minutes
	Pools         []Pool
	Exclude       []fact.Range
	Unknown       int // profile of undeclared machines, -1: silence
	UnknownGroup  string
	Discovery     []Discovery // when unknown is a map, sorted by Arch; Unknown is Default then, which is what the others get
	Default       int         // profile of the subnet alone, for options and lease times of machines without groups
	VLAN          int
	Place         Place
}

// Pool is part of a subnet's addresses. Ranges do not overlap within or between pools, lie inside the subnet, and
// have network, broadcast, gateway, boot servers and excluded addresses already refused or cut out. Declared
// addresses are not cut out of them: render does that.
type Pool struct {
	Name   string
	Ranges []fact.Range
	Serves Serves
	Lease  Lease // zero: the profile's
	Place  Place
}

// Discovery is the group of those undeclared machines that have a processor.
type Discovery struct {
	Arch    string // as images name theirs
	Group   string
	Profile int
}

// Serves says which machines a pool is for.
type Serves string

// The uses of a pool.
const (
	ServesReserved Serves = "reserved" // only declared addresses
	ServesBoot     Serves = "boot"     // declared nodes without an address of their own
	ServesUnknown  Serves = "unknown"  // machines that nobody declared
	ServesAny      Serves = "any"      // boot and unknown
)

// Node is a declared machine.
type Node struct {
	Name       fact.NodeName
	Address    string // how the spec refers to it: node.web, node.ams1["c0001"]
	Profile    int
	Firmware   string // "uefi", "bios", "rpi" or empty
	Arch       string // empty: the image's
	UUID       string
	Disabled   bool
	Hold       string // reason; empty: not held
	Labels     []Label
	IDs        []Label
	Interfaces []Interface // the boot interface first
	Own        *Settings   // nil when the node sets nothing and no expression uses self
	Trace      []Trace     // of the node's own settings only
	Texts      []NodeText  // the node's templates, executed once while parsing
	Place      Place
}

// NodeText is the result of executing a template for a node. The text itself is made again on request by
// Fleet.Execute and must have this digest.
type NodeText struct {
	Template string
	Digest   fact.Digest
	Size     int
	Secrets  []string // names of the secrets in it, sorted
}

// Label is a name with a value.
type Label struct{ Name, Value string }

// Interface is a network interface of a node.
type Interface struct {
	Name     string // "boot" when the node has a mac attribute instead of blocks
	MAC      fact.MAC
	Subnet   string
	Addr     netip.Addr // invalid: from a pool
	Hostname string
	Boot     bool
	Place    Place
}
