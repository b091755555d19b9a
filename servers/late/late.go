// Package late fills in the values that are only known when a machine asks. It is the one place that does so; it
// knows nothing of sockets, and decides nothing.
package late

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"hostler/render/fact"
)

// Values are what late values of a text become.
type Values struct {
	Server  netip.Addr        // the boot server's address towards the machine
	Base    string            // http://ADDRESS:PORT/PREFIX without a final slash
	Secure  string            // the same over TLS; empty where machines are not offered that
	Boot    fact.BootID       // the running boot; empty when the asker was not shown to be the machine
	Token   fact.Token        // its token
	Retries int               // how often the boot asked for its script before
	Signer  Signer            // nil: no URL can be signed
	Secrets map[string][]byte // by their names; only for a text that its machine may have

	// Failed is why a value could not be filled in, of the last one that could not: the text must not be used.
	Failed error
}

// Signer signs URLs of objects in S3. It is asked for every machine, so that it must not ask others.
type Signer interface {
	// Presign gives a URL that holds from now on. The object is the argument of a fact.LatePresign.
	Presign(object string) (string, error)
}

// Fill gives the text with every late value filled in. A value of a kind that it does not know is left visible as <kind:argument>:
// a newer spec served by an older server must not boot with a hole.
func Fill(t fact.Text, v Values) string { return t.Fill(v.value) }

// Append appends what Fill gives, and leaves in v.Failed why that must not be used.
func Append(b []byte, t fact.Text, v *Values) []byte { return t.Append(b, v.value) }

func (v *Values) value(kind fact.Late, arg string) string {
	switch kind {
	case fact.LateServer:
		return v.Server.String()
	case fact.LateBase:
		return v.Base
	case fact.LateSecure:
		return cmp.Or(v.Secure, v.Base)
	case fact.LateBoot:
		return v.boot()
	case fact.LateGRUB:
		return grubDevice(v.Base)
	case fact.LateConfig:
		return v.Base + "/config/" + url.PathEscape(arg) + "?boot=" + v.boot()
	case fact.LatePresign:
		return v.presign(arg)
	case fact.LateSeed:
		return v.Base + "/cloud-init/boot=" + v.boot()
	case fact.LateSecret:
		return v.secret(arg)
	case fact.LateRetries:
		return strconv.Itoa(v.Retries)
	default:
		return fact.NewLate(kind, arg).String()
	}
}

func (v *Values) presign(object string) string {
	if v.Signer == nil {
		v.Failed = errors.New("signing a URL: this server has no keys of S3")
		return ""
	}
	url, err := v.Signer.Presign(object)
	if err != nil {
		v.Failed = err
	}
	return url
}

// secret writes a secret as its place needs it.
func (v *Values) secret(arg string) string {
	name, encodings := fact.SecretOf(arg)
	b, ok := v.Secrets[name]
	if !ok {
		v.Failed = fmt.Errorf("secret %q: it may not be given out here", name)
		return ""
	}
	if len(encodings) == 1 && encodings[0] == fact.EncodingBase64 {
		return base64.StdEncoding.EncodeToString(b)
	}
	text := strings.TrimSuffix(string(b), "\n") // editors end files with one
	if !utf8.ValidString(text) || strings.IndexByte(text, 0) >= 0 {
		v.Failed = fmt.Errorf("secret %q: it is not text: use secret(%q, \"base64\")", name, name)
		return ""
	}
	for _, encoding := range slices.Backward(encodings) { // the innermost stands last
		switch encoding {
		case fact.EncodingJSON:
			quoted, _ := json.Marshal(text) // a string can always be written
			text = string(quoted[1 : len(quoted)-1])
		case fact.EncodingShell:
			text = strings.ReplaceAll(text, "'", `'\''`)
		default:
			v.Failed = fmt.Errorf("secret %q: this server does not know the encoding %q", name, encoding)
			return ""
		}
	}
	return text
}

// grubDevice is a URL as GRUB writes it: (http,10.0.0.1:8080)/prefix.
func grubDevice(base string) string {
	scheme, rest, _ := strings.Cut(base, "://")
	host, path, slash := strings.Cut(rest, "/")
	if slash {
		path = "/" + path
	}
	return "(" + scheme + "," + host + ")" + path
}

// boot is the boot and its secret as they stand on the kernel command line. "none" is refused wherever it comes
// back, and tells whoever reads the console why.
func (v Values) boot() string {
	if v.Boot == "" {
		return "none"
	}
	return string(v.Boot) + "." + string(v.Token)
}

// Base says where machines reach the boot HTTP server.
type Base struct {
	Advertised string // a complete URL, for servers behind an address translator or a proxy; empty: the address the machine talks to
	Port       uint16 // 0 is 80
	SecurePort uint16 // of the TLS listener that machines are sent to, when they can check who it is; 0: none
	Prefix     string // path prefix, such as /apis/bss; empty for none
}

// URL gives the base for a machine that reached this server at the address, without a final slash. Port 80 is not
// written: some firmware sends it back in the Host header and some does not.
func (b Base) URL(local netip.Addr) string { return b.url("http", local, b.Port, 80) }

// Secure gives the base over TLS, or nothing when machines are not sent there.
func (b Base) Secure(local netip.Addr) string {
	if b.SecurePort == 0 {
		return ""
	}
	return b.url("https", local, b.SecurePort, 443)
}

func (b Base) url(scheme string, local netip.Addr, port, usual uint16) string {
	if b.Advertised != "" {
		return strings.TrimRight(b.Advertised, "/")
	}
	host := local.Unmap().String()
	if port != 0 && port != usual {
		host = netip.AddrPortFrom(local.Unmap(), port).String()
	}
	prefix := strings.Trim(b.Prefix, "/")
	if prefix != "" {
		prefix = "/" + prefix
	}
	return scheme + "://" + host + prefix
}
