// Package bootsim plays one machine that boots from the network, from its first DHCP Discover to the kernel's command
// line, against any Network: a snapshot in memory, or running servers. It knows what firmware, iPXE, pxelinux and GRUB
// do; it refuses to know how packets look, and holds no opinion about what the servers should have said.
package bootsim

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"unicode/utf8"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// Machine is the hardware that boots.
type Machine struct {
	MAC  fact.MAC
	Arch fact.Arch // option 93: 0 a BIOS, 7 x86-64 UEFI by PXE, 16 the same by HTTP, 11 arm64 UEFI, 41 a Raspberry Pi
	IPXE bool      // its network card has iPXE as its ROM, as QEMU's have
	// Loaders says what program a boot file is; when it is nil, or has no such file, the name does.
	Loaders *render.Snapshot
}

// program is what runs when the machine has loaded a boot file.
func (m *Machine) program(file string) spec.LoaderKind {
	if m.Loaders != nil {
		if k, ok := m.Loaders.LoaderKind(file); ok {
			return k
		}
	}
	return spec.KindOf(file)
}

// Network carries a machine's requests to whoever answers them. An error is what the machine sees: silence, a
// refusal, a broken transfer.
type Network interface {
	// DHCP sends one message and gives what came back; facts leave Ingress empty. A DISCOVER may have two offers, of the
	// site's own DHCP server and of a proxy beside it. With BootServer, it is sent to the boot server's port of ServerID.
	DHCP(f fact.Facts) ([]Reply, error)
	// TFTP reads a file from a server. With probe it asks for the size and aborts.
	TFTP(server netip.Addr, name string, probe bool) (File, error)
	// HTTP gets a URL.
	HTTP(url string) (File, error)
}

// Reply is what a machine reads of a DHCP reply.
type Reply struct {
	Message  fact.Message
	YIAddr   netip.Addr
	SIAddr   netip.Addr // next-server; invalid: none
	ServerID netip.Addr
	BootFile string          // file field, or option 67
	Options  []render.Option // as in render.Answer
}

// File is what a machine fetched.
type File struct {
	Size   int64
	Digest fact.Digest // SHA-256 of the contents; empty when unknown
	Text   string      // the contents, of files up to 64 KiB that are generated: scripts and configurations
}

// Row is one packet, or one run of packets that only repeat.
type Row struct {
	Traffic     string `json:"traffic"`
	Description string `json:"description"`
	Sender      string `json:"sender"` // "Client", "Server", "Site" (its own DHCP server), or "-" for what the machine does by itself
}

// Transcript is the whole conversation, and how it ended. The same machine on a snapshot in memory and on servers that
// serve it has equal transcripts: boot ids and tokens are masked, times and ports are not in it.
type Transcript struct {
	Rows    []Row  `json:"rows"`
	Booted  bool   `json:"booted"`
	Cmdline string `json:"cmdline,omitempty"` // the kernel's command line, as it will see it
	Reason  string `json:"reason,omitempty"`  // why nothing was booted
}

// Walk boots the machine.
func Walk(n Network, m Machine) Transcript {
	w := walker{net: n, machine: m}
	w.ended(w.firmware())
	return w.t
}

// walker is a boot in progress.
type walker struct {
	net     Network
	machine Machine
	t       Transcript
	lease   Reply // the last ACK
	ipxe    bool  // iPXE is running

	userClass string // of the iPXE that runs
	loaders   int    // how many were started
}

func (w *walker) ended(reason string) {
	if !w.t.Booted && w.t.Reason == "" {
		w.t.Reason = mask(reason)
	}
}

func (w *walker) row(sender, traffic, format string, args ...any) {
	w.t.Rows = append(w.t.Rows, Row{mask(traffic), mask(fmt.Sprintf(format, args...)), sender})
}

func (w *walker) client(traffic, format string, args ...any) {
	w.row("Client", traffic, format, args...)
}

func (w *walker) server(traffic, format string, args ...any) {
	w.row("Server", traffic, format, args...)
}

// tokens are the boot's id and secret, wherever they stand.
var tokens = regexp.MustCompile(`\b((?:hostler\.)?boot=)(?:none|[0-9A-HJKMNP-TV-Z]{26}\.[A-Za-z0-9]+)`)

// signatures open an object in S3 to whoever has them.
var signatures = regexp.MustCompile(`\b(X-Amz-(?:Signature|Security-Token)=)[0-9A-Za-z%._~-]+`)

// mask hides what differs from boot to boot, and must not be shown to who reads a transcript.
func mask(s string) string {
	return signatures.ReplaceAllString(tokens.ReplaceAllString(s, "${1}<boot>"), "${1}<signed>")
}

// digests are content digests in URLs, which nobody reads to the end.
var digests = regexp.MustCompile(`\b([0-9a-f]{12})[0-9a-f]{52}\b`)

// String prints the conversation as a table, and then how it ended.
func (t Transcript) String() string {
	rows := append([]Row{{"Traffic", "Description", "Sender"}}, t.Rows...)
	width := 0
	for i := range rows {
		rows[i].Traffic = digests.ReplaceAllString(rows[i].Traffic, "$1...")
		width = max(width, utf8.RuneCountInString(rows[i].Traffic))
	}
	var b strings.Builder
	for i, r := range rows {
		fmt.Fprintf(&b, "%-6s  %-*s  %s\n", r.Sender, width, r.Traffic, digests.ReplaceAllString(r.Description, "$1..."))
		if i == 0 {
			b.WriteString("------  " + strings.Repeat("-", width) + "  " + strings.Repeat("-", len(r.Description)) + "\n")
		}
	}
	if t.Booted {
		b.WriteString("\nThe kernel starts with the command line\n  " + t.Cmdline + "\n")
	} else {
		b.WriteString("\nNo kernel is started: " + t.Reason + "\n")
	}
	return b.String()
}
