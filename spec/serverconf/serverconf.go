// Package serverconf reads the configuration of one server: where its spec comes from, which interfaces it serves, and its limits.
// It lies outside the repository on purpose, since it says what to trust. The package checks what the text alone can tell;
// whether files, interfaces and addresses exist is for those who open them.
package serverconf

import (
	"net/netip"
	"time"
)

// Config is a checked server configuration with every default filled in.
type Config struct {
	Source     Source
	Vars       map[string]string // values for the spec's variables, as text
	Interfaces []string          // the only ones that are served, in the order of the file
	Plugins    []Plugin          // coredhcp's that stand in the DHCP chain beside ours, in the order of the file
	Listen     Listen
	TLS        TLS
	BSS        BSS
	Advertise  string   // base of the URLs that machines are given, without a final slash; empty: the address they talk to
	StateDir   string   // absolute
	StoreRoots []string // absolute; a spec's local stores must lie below one of them. Empty: anywhere that the server may read
	Socket     string   // of the operator's commands, absolute
	Secrets    Secrets
	S3         []S3 // what opens the buckets of stores, in the order of the file
	Limits     Limits
}

// Secrets says where the secrets of templates are. Both are looked at, files first.
type Secrets struct {
	Folder    string // absolute, or empty
	EnvPrefix string // or empty
}

// S3 is what opens buckets of an S3 service: keys, each in a file or in an environment variable, and where they may be used.
type S3 struct {
	Name     string
	Endpoint string   // http://HOST[:PORT] or https://
	Buckets  []string // the only ones that a spec may name; empty: every bucket that the keys open
	CAFile   string   // absolute, or empty

	AccessKeyFile, SecretKeyFile, SessionTokenFile string // absolute, or empty
	AccessKeyEnv, SecretKeyEnv, SessionTokenEnv    string // or empty
}

// Source is where the spec comes from.
type Source struct {
	URL            string // a URL, user@host:path, or an absolute path; empty when a flag must name it
	Branch         string // empty: the one that HEAD names
	Path           string // the spec's folder inside the source, relative; empty: its root
	Poll           time.Duration
	Sync           string // "auto" or "manual"
	AllowRewind    bool   // apply a revision that does not contain the applied one
	TokenFile      string // files are absolute paths, or empty
	SSHKeyFile     string
	KnownHostsFile string
	Username       string
	CAFile         string
}

// Plugin is one of coredhcp's plugins, with the arguments that its own documentation describes. Which there are, the DHCP server knows.
type Plugin struct {
	Name  string
	Place string // "before" or "after" ours
	Args  []string
}

// Listen are the addresses to listen on. DHCP has none: it listens on UDP port 67 of the interfaces.
type Listen struct {
	TFTP           netip.AddrPort
	TFTPSinglePort bool // all transfers from that port, for machines behind an address translator
	HTTP           netip.AddrPort
	HTTPS          netip.AddrPort // invalid: there is no TLS listener
	CloudInit      netip.AddrPort // of what cloud-init asks for, and nothing else; invalid: only beside the rest
	Metrics        netip.AddrPort // of /metrics, /healthz and /readyz over TCP; invalid: only on the socket
	PathPrefix     string         // of every boot URL, as /apis/bss: empty, or with a slash in front and none at the end
}

// BSS says who may read the parameters of every node at the addresses of a Boot Script Service. A machine may read its own.
type BSS struct {
	Readers   []netip.Prefix
	TokenFile string // absolute, or empty
}

// TLS is what the TLS listener shows, and to whom.
type TLS struct {
	CertFile string // absolute, or empty
	KeyFile  string
	Machines bool // hostler's own loaders for UEFI are sent to the TLS listener
}

// Limits bound what one server takes on.
type Limits struct {
	EvalTime        time.Duration // of one evaluation of the spec
	EvalMemory      int64         // bytes
	TFTPTransfers   int           // at the same time
	TFTPPerClient   int           // of one address at the same time; not with TFTPSinglePort
	HTTPConnections int           // open at the same time
	HTTPPerClient   int           // files on their way to one address at the same time
	HTTPDrain       time.Duration // how long running requests may go on when the server is stopped
}

// Default is the configuration of a server without a file.
func Default() Config {
	return Config{
		Source:   Source{Poll: time.Minute, Sync: "auto"},
		Vars:     map[string]string{},
		Listen:   Listen{TFTP: netip.MustParseAddrPort("0.0.0.0:69"), HTTP: netip.MustParseAddrPort("0.0.0.0:8080")},
		StateDir: "/var/lib/hostler",
		Socket:   "/run/hostler/admin.sock",
		Limits: Limits{
			EvalTime: time.Minute, EvalMemory: 4 << 30,
			TFTPTransfers: 1024, TFTPPerClient: 8, HTTPConnections: 4096, HTTPPerClient: 8, HTTPDrain: 10 * time.Second,
		},
	}
}
