package spec

import "github.com/hashicorp/hcl/v2"

// Block is one kind of block of the language: what it may hold, and what that means. The table of blocks drives decoding,
// suggestions and the reference documentation.
type Block struct {
	Type   string
	Labels []string // names of its labels
	Doc    string
	Attrs  []Attr
	Blocks []*Block
	Once   bool // at most one beside each other
	// Later names what the language will have, but not in this version: blocks and attributes alike. Using one is an error, so
	// that nothing an author relies on is ignored.
	Later    []string
	Secret   []string // names of secrets that people would write here, and must not
	Open     bool     // any attribute is allowed (locals)
	readable bool     // others may read its attributes through a reference
}

// Attr is an attribute of a block.
type Attr struct {
	Name     string
	Type     string // "string", "number", "bool", "duration", "ip", "list(ip)", "cidr", "mac", "group", "list(group)", "any", ...
	Required bool
	Default  string // as an author would write it; empty when there is none
	Class    string // when a change of it takes effect: a render.Class
	Doc      string
	Read     bool // readable through a reference
}

const description = "description"

// Schema gives the table of every top-level block of the language, in the order of the documentation.
func Schema() []*Block {
	return []*Block{
		{Type: "spec", Once: true, Doc: "Language version and rules of the whole spec.", Attrs: []Attr{
			{Name: "language", Type: "number", Required: true, Class: "none", Doc: "Version of the language: 1."},
			{Name: "strict_layers", Type: "bool", Default: "false", Class: "none", Doc: "Makes ambiguous layers errors instead of warnings."},
		}, Later: []string{"required_version", "experiments"}},
		{Type: "variable", Labels: []string{"NAME"}, Doc: "A value that differs between fleets that share the spec; read as var.NAME.", Attrs: []Attr{
			text(description, "What the value is for."),
			{Name: "type", Type: "type", Default: "any", Class: "none", Doc: "A type constraint: string, list(string), map(number), object({...}), ..."},
			{Name: "default", Type: "any", Class: "none", Doc: "The value when none is given; without it, a value must be given."},
		}, Blocks: []*Block{
			{Type: "validation", Doc: "A rule that the value must meet.", Attrs: []Attr{
				{Name: "condition", Type: "bool", Required: true, Class: "none", Doc: "True when the value is acceptable."},
				{Name: "error_message", Type: "string", Required: true, Class: "none", Doc: "What to tell whoever gave the value."},
			}},
		}, Later: []string{"sensitive", "nullable"}},
		{Type: "locals", Open: true, Doc: "Names for expressions; read as local.NAME."},
		settings(&Block{Type: "defaults", Once: true, Doc: "The weakest layer of settings: what every machine gets."}),
		loaderBlock(), storeBlock(), imageBlock(),
		settings(&Block{Type: "group", Labels: []string{"NAME"}, Doc: "A layer of settings for the nodes that list it.", Attrs: []Attr{
			text(description, "Who belongs to the group."),
			{Name: "for_each", Type: "map", Class: "none", Doc: "Makes one group for each element of a map or set of strings."},
			{Name: "inherits", Type: "list(group)", Default: "[]", Class: "none", Doc: "Parent groups, weaker layers: what differs by them takes effect as each setting does."},
			{Name: "labels", Type: "map(string)", Default: "{}", Class: "none", Doc: "Names and values for people.", Read: true},
		}, Later: []string{"lifecycle", "slots", "allow_destructive"}, readable: true}),
		templateBlock(),
		settings(&Block{Type: "site", Labels: []string{"NAME"}, Doc: "A place with services of its own: a layer of settings for its subnets.", Attrs: []Attr{
			text(description, "Where it is."),
			{Name: "boot_servers", Type: "list(ip)", Default: "[]", Class: "server", Doc: "Addresses of the boot servers, for subnets that name none.", Read: true},
			{Name: "labels", Type: "map(string)", Default: "{}", Class: "none", Doc: "Names and values for people.", Read: true},
		}, Later: []string{"timezone", "store_map"}, readable: true}),
		subnetBlock(), nodeBlock(),
	}
}

func text(name, doc string) Attr { return Attr{Name: name, Type: "string", Class: "none", Doc: doc} }

func loaderBlock() *Block {
	return &Block{Type: "loader", Labels: []string{"NAME"}, readable: true, Doc: "A program that firmware loads by DHCP. Loaders for common firmware are built in.", Attrs: append([]Attr{
		text(description, "What it is for."),
		{Name: "client_arch", Type: "list(arch)", Default: "[]", Class: "next-boot", Doc: "Architectures that get it: names such as x86_64-uefi, or numbers of DHCP option 93."},
		{Name: "file", Type: "string", Class: "next-boot", Doc: "A built-in loader: undionly.kpxe, ipxe.efi or snp.efi."},
		{Name: "kind", Type: "string", Default: "by the name of its file", Class: "next-boot", Doc: "ipxe, pxelinux, grub (also a shim that loads it), or rpi, the firmware of a Raspberry Pi: whose configuration it reads."},
		{Name: "transport", Type: "string", Default: `"tftp" for grub, rpi and pxelinux.0, else "http"`, Class: "next-boot", Doc: "How it fetches kernels and initrds: tftp or http."},
		{Name: "embedded_script", Type: "bool", Default: "true", Class: "next-boot", Doc: "False for an iPXE that was built without a script, which is then given autoexec.ipxe."},
	}, fileAttrs()...), Blocks: []*Block{
		{Type: "file", Labels: []string{"NAME"}, Doc: "A file served beside the loader, such as ldlinux.c32, or the grubx64.efi that a shim asks for.", Attrs: fileAttrs()},
	}, Later: []string{"secure_boot"}}
}

func storeBlock() *Block {
	return &Block{Type: "store", Labels: []string{"NAME"}, readable: true, Doc: "Where files of images live.", Attrs: []Attr{
		text(description, "What it holds."),
		{Name: "deliver", Type: "string", Default: `"proxy" for local, "mirror" for http, "presign" for s3`, Class: "next-boot", Doc: "How machines get a file: proxy (hostler passes it on), mirror (hostler fetches it beforehand, verifies and keeps it), direct (from the store itself) or, of s3, presign (from the store, by a URL that is signed when the machine asks)."},
	}, Blocks: []*Block{
		{Type: "local", Once: true, Doc: "A directory of the server.", Attrs: []Attr{
			{Name: "path", Type: "string", Required: true, Class: "next-boot", Doc: "Absolute path of the directory."}}},
		{Type: "http", Once: true, Doc: "A web server.", Attrs: []Attr{
			{Name: "url", Type: "string", Required: true, Class: "next-boot", Doc: "What stands before each key."}},
			Later: []string{"headers", "ca"}},
		{Type: "s3", Once: true, Doc: "A bucket of an S3 service. The keys that open it are in the server's configuration, in a block s3 with the same endpoint.", Attrs: []Attr{
			{Name: "endpoint", Type: "string", Required: true, Class: "next-boot", Doc: "Where the service is: https://HOST or http://HOST:PORT, as machines and hostler reach it."},
			{Name: "region", Type: "string", Default: `"us-east-1"`, Class: "next-boot", Doc: "Its region, which is part of every signature."},
			{Name: "bucket", Type: "string", Required: true, Class: "next-boot", Doc: "The bucket."},
			{Name: "prefix", Type: "string", Default: `""`, Class: "next-boot", Doc: "What stands before each key."},
			{Name: "path_style", Type: "bool", Default: "true", Class: "next-boot", Doc: "True for HOST/BUCKET/KEY, false for BUCKET.HOST/KEY."},
		}, Secret: []string{"access_key", "secret_key"}},
		{Type: "presign", Once: true, Doc: "Presigned URLs of an s3 store.", Attrs: []Attr{
			{Name: "ttl", Type: "duration", Default: `"15m"`, Class: "next-boot", Doc: "How long one holds: 1m to 7d. Machines that ask within a tenth of it may be given the same."},
		}, Later: []string{"method"}},
	}, Later: []string{"cache"}}
}

func imageBlock() *Block {
	b := settings(&Block{Type: "image", Labels: []string{"NAME"}, readable: true, Doc: "What a machine boots: a kernel, initrds, and files beside them. Also a layer of settings.", Attrs: []Attr{
		text(description, "What it is."),
		{Name: "version", Type: "string", Class: "none", Doc: "Version, for people.", Read: true},
		{Name: "arch", Type: "string", Default: `"x86_64"`, Class: "next-boot", Doc: "Processor architecture: x86_64, arm64, ...", Read: true},
		{Name: "labels", Type: "map(string)", Default: "{}", Class: "none", Doc: "Names and values for people.", Read: true},
	}, Blocks: []*Block{
		{Type: "file", Labels: []string{"ROLE"}, Doc: "A file. Role kernel, initrd (may repeat, in order), or a name of its own for url().", Attrs: append(fileAttrs(),
			Attr{Name: "size", Type: "number", Class: "next-boot", Doc: "Size in bytes."},
			Attr{Name: "name", Type: "string", Class: "next-boot", Doc: "The last part of its URL; by default that of its key or path."})},
	}, Later: []string{"secure_boot", "min_memory", "destructive"}})
	for i, a := range b.Attrs { // an image cannot choose an image
		if a.Name == "image" {
			b.Attrs = append(b.Attrs[:i], b.Attrs[i+1:]...)
			break
		}
	}
	return b
}

func fileAttrs() []Attr {
	return []Attr{
		{Name: "store", Type: "store", Class: "next-boot", Doc: "The store that holds it, together with key."},
		{Name: "key", Type: "string", Class: "next-boot", Doc: "Its name in the store."},
		{Name: "path", Type: "string", Class: "next-boot", Doc: "A file of the repository, instead of store and key."},
		{Name: "sha256", Type: "string", Class: "next-boot", Doc: "SHA-256 of its content, 64 hexadecimal digits."},
	}
}

func templateBlock() *Block {
	return &Block{Type: "template", Labels: []string{"NAME"}, readable: true, Doc: "Text rendered for each node: a boot script, or configuration that it fetches.", Attrs: []Attr{
		text(description, "What it makes."),
		{Name: "kind", Type: "string", Default: `"text"`, Class: "next-boot", Doc: "What it must be: ipxe, cloud-init, ignition, kickstart, preseed or talos, which are checked for each node; or text, which is not."},
		{Name: "source", Type: "string", Class: "next-boot", Doc: "A file of the repository; .gotmpl is text/template, .tmpl an HCL template."},
		{Name: "content", Type: "string", Class: "next-boot", Doc: "The text itself, instead of source, as text/template."},
		{Name: "vars", Type: "map(any)", Default: "{}", Class: "next-boot", Doc: "Values for the template."},
		{Name: "deliveries", Type: "number", Default: "3", Class: "next-boot", Doc: "How often in one boot a text with secrets is given out; after that the machine must boot again."},
		{Name: "content_type", Type: "string", Default: `"text/plain; charset=utf-8"`, Class: "next-boot", Doc: "Media type that it is served with."},
	}, Later: []string{"engine"}}
}

func subnetBlock() *Block {
	return settings(&Block{Type: "subnet", Labels: []string{"NAME"}, readable: true, Doc: "Addresses that hostler answers in, and a layer of settings.", Attrs: []Attr{
		text(description, "What it is for."),
		{Name: "for_each", Type: "map", Class: "none", Doc: "Makes one subnet for each element of a map or set of strings."},
		{Name: "site", Type: "site", Class: "none", Doc: "The site that it is in, a weaker layer: what differs by it takes effect as each setting does."},
		{Name: "cidr", Type: "cidr", Required: true, Class: "address", Doc: "Its addresses, as 10.0.0.0/24.", Read: true},
		{Name: "gateway", Type: "ip", Class: "next-renew", Doc: "The router that machines are told.", Read: true},
		{Name: "vlan", Type: "number", Class: "none", Doc: "VLAN number, for people.", Read: true},
		{Name: "relays", Type: "list(ip)", Default: "[]", Class: "server", Doc: "Relay agents that forward requests from it. An agent may serve several subnets, and a subnet have several.", Read: true},
		{Name: "boot_servers", Type: "list(ip)", Default: "the site's", Class: "server", Doc: "Addresses of the boot servers.", Read: true},
		{Name: "dhcp", Type: "string", Default: `"full"`, Class: "exposure", Doc: "full; proxy to tell machines what to boot beside the site's own DHCP server, which gives the addresses; or off for no DHCP at all."},
		{Name: "authoritative", Type: "bool", Default: "true", Class: "server", Doc: "No other DHCP server gives addresses here: what a machine remembers is judged although it holds no lease of ours."},
		{Name: "conflict_check", Type: "string", Default: `"off"`, Class: "server", Doc: "Whether an address of a pool is looked for on the network before it is offered: off; arp, on segments that the server is on; or ping, by ICMP echo behind relay agents too."},
		{Name: "quarantine", Type: "duration", Default: `"10m"`, Class: "server", Doc: "How long an address is not given out that a machine found in use by another one."},
		{Name: "unknown", Type: "group or map(group)", Default: "null", Class: "exposure", Doc: "Group of machines that nobody declared, or one for each processor: { x86_64 = group.a, arm64 = group.b }; null stays silent towards them."},
		{Name: "exclude", Type: "list(range)", Default: "[]", Class: "address", Doc: "Addresses that no pool gives out: a-b, CIDR or single ones."},
		{Name: "hostname_pattern", Type: "string", Class: "next-renew", Doc: "Host name of machines that have none, with {name} and {address}."},
		{Name: "labels", Type: "map(string)", Default: "{}", Class: "none", Doc: "Names and values for people.", Read: true},
	}, Blocks: []*Block{
		{Type: "pool", Labels: []string{"NAME"}, Doc: "Part of the subnet's addresses, and who gets them.", Attrs: []Attr{
			{Name: "range", Type: "list(range)", Required: true, Class: "address", Doc: "a-b, CIDR or a single address, or a list of them."},
			{Name: "serves", Type: "string", Required: true, Class: "exposure", Doc: "reserved, boot, unknown or any."},
			{Name: "exclude", Type: "list(range)", Default: "[]", Class: "address", Doc: "Addresses that it does not give out."},
		}, Blocks: []*Block{leaseBlock()}, Later: []string{"match", "low_water", "reuse"}},
	}, Later: []string{"interface", "layout"}})
}

func nodeBlock() *Block {
	return settings(&Block{Type: "node", Labels: []string{"NAME"}, Doc: "A machine, or one for each element of for_each; the strongest layer of settings.", Attrs: []Attr{
		text(description, "What it is."),
		{Name: "for_each", Type: "map", Class: "none", Doc: "Makes one node for each element of a map or set of strings."},
		{Name: "name", Type: "string", Default: "the label, or the key of for_each", Class: "remove", Doc: "Its name, unique in the fleet."},
		{Name: "subnet", Type: "subnet", Class: "address", Doc: "The subnet that it boots in."},
		{Name: "mac", Type: "mac", Class: "remove", Doc: "Ethernet address of its boot interface, unless there are interface blocks."},
		{Name: "uuid", Type: "string", Class: "next-boot", Doc: "SMBIOS UUID."},
		{Name: "address", Type: "ip", Class: "address", Doc: "Its address; without one, a pool gives one."},
		{Name: "hostname", Type: "string", Default: "the name", Class: "next-renew", Doc: "Host name that it is told."},
		{Name: "firmware", Type: "string", Class: "next-boot", Doc: "uefi, bios, or rpi, the boot ROM of a Raspberry Pi."},
		{Name: "arch", Type: "string", Default: "the image's", Class: "next-boot", Doc: "Processor architecture."},
		{Name: "groups", Type: "list(group)", Default: "[]", Class: "none", Doc: "Its groups, weakest first: what differs by them takes effect as each setting does."},
		{Name: "labels", Type: "map(string)", Default: "{}", Class: "none", Doc: "Names and values for people."},
		{Name: "ids", Type: "map(string)", Default: "{}", Class: "next-boot", Doc: "Names that other systems know it by: xname, nid, ...; unique for each kind."},
		{Name: "hold", Type: "string", Class: "next-boot", Doc: "Why it must not boot now; null when it may."},
		{Name: "enabled", Type: "bool", Default: "true", Class: "next-boot", Doc: "False: declared, but nothing to boot: its script says so, and waits."},
	}, Blocks: []*Block{
		{Type: "interface", Labels: []string{"NAME"}, Doc: "A network interface.", Attrs: []Attr{
			{Name: "mac", Type: "mac", Required: true, Class: "remove", Doc: "Its Ethernet address."},
			{Name: "subnet", Type: "subnet", Default: "the node's", Class: "address", Doc: "The subnet that it is in."},
			{Name: "address", Type: "ip", Class: "address", Doc: "Its address."},
			{Name: "hostname", Type: "string", Class: "next-renew", Doc: "Host name on this interface."},
			{Name: "boot", Type: "bool", Default: "false", Class: "address", Doc: "True for the interface that the machine boots from."},
		}, Later: []string{"vlan"}},
	}, Later: []string{"lifecycle"}})
}

func leaseBlock() *Block {
	return &Block{Type: "lease", Once: true, Doc: "Times of leases.", Attrs: []Attr{
		{Name: "default", Type: "duration", Default: `"1h"`, Class: "next-renew", Doc: "When the machine asks for no time."},
		{Name: "max", Type: "duration", Default: `"12h"`, Class: "next-renew", Doc: "The longest."},
		{Name: "min", Type: "duration", Class: "next-renew", Doc: "The shortest."},
	}, Later: []string{"renew", "rebind"}}
}

// settings adds what every layer may set.
func settings(b *Block) *Block {
	b.Attrs = append(b.Attrs,
		Attr{Name: "image", Type: "image", Class: "next-boot", Doc: "What to boot.", Read: false},
		Attr{Name: "boot", Type: "string", Default: `"netboot"`, Class: "next-boot", Doc: "netboot; disk (hand over to the next boot device); off (no boot file); install (netboot until the machine reports that it is ready, then disk, and again when its image's files or the text of its templates change); or install-once (again only after `hostler rearm`)."},
		Attr{Name: "loader", Type: "loader", Default: "by architecture", Class: "next-boot", Doc: "The loader, whatever the architecture."},
		Attr{Name: "script", Type: "template", Class: "next-boot", Doc: "A template of kind ipxe that replaces the generated boot script."},
		Attr{Name: "script_form", Type: "string", Default: `"hostler"`, Class: "next-boot", Doc: "Of the generated boot script: hostler; or bss for the lines that a Boot Script Service writes and nothing else, where tools compare them. It has no token, and so no configuration that asks for one."},
		Attr{Name: "config", Type: "template", Class: "next-boot", Doc: "The template that is the node's configuration, or for cloud-init a map of them: { user-data = ..., vendor-data = ..., network-config = ... }."},
		Attr{Name: "domain", Type: "string", Class: "next-renew", Doc: "DNS domain.", Read: true},
		Attr{Name: "dns", Type: "list(ip)", Class: "next-renew", Doc: "Name servers.", Read: true},
		Attr{Name: "ntp", Type: "list(ip)", Class: "next-renew", Doc: "Time servers.", Read: true},
		Attr{Name: "kernel_args", Type: "map(any)", Class: "next-boot", Doc: "Kernel arguments by key: true for a bare flag, a list to repeat the key, null to remove what weaker layers set."},
		Attr{Name: "kernel_args_order", Type: "list(string)", Class: "next-boot", Doc: "Keys that are printed first, in this order."},
		Attr{Name: "kernel_args_tail", Type: "string", Class: "next-boot", Doc: "Printed after \" -- \"."},
		Attr{Name: "kernel_args_reset", Type: "bool", Class: "next-boot", Doc: "Drops every kernel argument of weaker layers."},
		Attr{Name: "vars", Type: "map(any)", Class: "next-boot", Doc: "Values for templates by name; null removes."},
	)
	if b.Type != "node" { // which has its own
		b.Attrs = append(b.Attrs, Attr{Name: "hold", Type: "string", Class: "next-boot", Doc: "Why these machines must not boot now; null when they may. No stronger layer lifts it."})
	}
	b.Blocks = append(b.Blocks, leaseBlock(), loopBlock(),
		&Block{Type: "retry", Once: true, Doc: "What a boot script does when a step does not succeed.", Attrs: []Attr{
			{Name: "delay", Type: "duration", Default: `"5s"`, Class: "next-boot", Doc: "Before the first retry; doubles each time."},
			{Name: "max_delay", Type: "duration", Default: `"60s"`, Class: "next-boot", Doc: "The longest delay."},
			{Name: "jitter", Type: "number", Default: "25", Class: "next-boot", Doc: "By how many percent a delay may be shorter, so that a rack does not ask in step; depends on machine and retry only."},
			{Name: "attempts", Type: "number", Default: "0", Class: "next-boot", Doc: "Attempts to boot the image; 0 is for ever."},
			{Name: "fallback", Type: "image", Class: "next-boot", Doc: "Image to boot after that many attempts, for as many more."},
			{Name: "hold", Type: "duration", Default: `"15m"`, Class: "next-boot", Doc: "After all attempts, the machine says on its console who it is and why it waits, so long, before it starts over; or until what it boots changes."},
		}},
		&Block{Type: "option", Labels: []string{"NAME"}, Doc: "A DHCP option: a known name, or an own one with code and type.", Attrs: []Attr{
			{Name: "value", Type: "any", Required: true, Class: "next-renew", Doc: "Its value; null removes what weaker layers set."},
			{Name: "code", Type: "number", Class: "next-renew", Doc: "Number of an own option."},
			{Name: "type", Type: "string", Class: "next-renew", Doc: "Type of an own option: ip, ip-list, ip-pairs, uint8, uint16, uint32, int8, int16, int32, uint8-list, uint16-list, uint32-list, text, hex, bool, fqdn, fqdn-list, routes (10.1.0.0/16 via 10.0.0.1), suboptions (1 ip 10.0.0.1) or vendor-suboptions (ENTERPRISE 1 text x)."},
			{Name: "force", Type: "bool", Default: "false", Class: "next-renew", Doc: "Send it even if the machine did not ask."},
		}, Later: []string{"vendor", "when"}},
	)
	return b
}

func loopBlock() *Block {
	return &Block{Type: "loop", Once: true, Doc: "When a machine that boots again and again, and is never ready, is held.", Attrs: []Attr{
		{Name: "boots", Type: "number", Default: "5 while it installs, else 0", Class: "none", Doc: "How many boots in a row; 0 is never."},
		{Name: "within", Type: "duration", Default: `"30m"`, Class: "none", Doc: "The time in which these have begun."},
	}}
}

// laterBlocks are top-level blocks of the language that this version does not have.
func laterBlocks() []string {
	return []string{"rollout", "window", "check", "moved", "removed", "module", "output", "function", "import", "run"}
}

// hcl gives the part of the table that hcl's own decoder needs.
func (b *Block) hcl() *hcl.BodySchema {
	s := &hcl.BodySchema{}
	for _, a := range b.Attrs {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: a.Name})
	}
	for _, n := range b.Blocks {
		s.Blocks = append(s.Blocks, hcl.BlockHeaderSchema{Type: n.Type, LabelNames: n.Labels})
	}
	return s
}

// names lists what the block may hold.
func (b *Block) names() []string {
	var names []string
	for _, a := range b.Attrs {
		names = append(names, a.Name)
	}
	for _, n := range b.Blocks {
		names = append(names, n.Type)
	}
	return names
}

func (b *Block) nested(typ string) *Block {
	for _, n := range b.Blocks {
		if n.Type == typ {
			return n
		}
	}
	return nil
}
