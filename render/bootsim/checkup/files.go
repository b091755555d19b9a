package checkup

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
)

// known is what a file should be.
type known struct {
	what   string      // kernel, initrd, loader, ...
	digest fact.Digest // empty: not known
	size   int64
	etag   string // instead of the digest, of an object in S3
}

// filesOf are the files of a snapshot that machines fetch.
func filesOf(s *render.Snapshot) map[string]known {
	files := map[string]known{}
	for _, f := range s.Files() {
		k := known{f.Stage.String(), f.Digest, f.Size, ""}
		if f.ByETag {
			k.digest, k.etag = "", f.ETag
		}
		files[cmp.Or(unsigned(f.URL), "/files/"+string(f.Digest)+"/"+f.Name)] = k
		if _, taken := files[f.Name]; f.Stage == fact.StageLoader && !taken { // by TFTP; the author's loaders stand first
			files[f.Name] = k
		}
	}
	return files
}

// unsigned is a store's URL of a file, without the signature that an object in S3 gets when a machine asks.
func unsigned(address string) string {
	for _, p := range fact.Text(address).Parts() {
		if o, err := fact.ParseObject(p.Value); p.Kind == fact.LatePresign && err == nil {
			return o.URL()
		}
	}
	return address
}

func (p *player) expected(address string) (known, bool) {
	if k, ok := p.known[address]; ok {
		return k, true
	}
	bare, _, _ := strings.Cut(address, "?")
	if k, ok := p.known[bare]; ok {
		return k, true
	}
	u, err := url.Parse(address)
	if err != nil {
		return known{}, false
	}
	at := strings.Index(u.Path, "/files/") // behind a path prefix
	if at < 0 {
		return known{}, false
	}
	k, ok := p.known[u.Path[at:]]
	return k, ok
}

// TFTP implements bootsim.Network.
func (p *player) TFTP(server netip.Addr, name string, probe bool) (bootsim.File, error) {
	start := time.Now()
	f, err := p.Station.TFTP(server, name, probe)
	check := "TFTP"
	if probe {
		check = "TFTP size probe"
	}
	switch {
	case err != nil && err.Error() == "not found" && !probe && p.ipxe:
		return f, err // loaders ask for several names
	case err != nil && err.Error() == "not found":
		p.fail(check, fmt.Sprintf("%s has no %s", server, name), "If this is not the boot file of the spec, another server named it.")
	case err != nil && !probe && p.small(server, name):
		// told
	case err != nil:
		p.fail(check, fmt.Sprintf("%s from %s: %v", name, server, err), "Let UDP port 69, and the answers from a port of their own, through the firewalls: load nf_conntrack_tftp, or set `tftp_single_port = true`. next-server must be reachable from the machines: see `gateway`.")
	case probe:
		p.ok(check, fmt.Sprintf("%s has %d bytes", name, f.Size))
	default:
		p.whole(check, name, f, time.Since(start))
		p.largest(server, name, f.Size)
	}
	return f, err
}

// small tries smaller packets after large ones did not come. It reports whether that was it.
func (p *player) small(server netip.Addr, name string) bool {
	f, err := p.Station.TFTPBlocks(server, name, 512)
	if err != nil {
		return false
	}
	p.fail("packet size", fmt.Sprintf("%s comes in blocks of 512 bytes (%d bytes in all), and not of 1456", name, f.Size),
		"The MTU on the way is smaller than the server's interface says: compare them (`ping -M do -s 1460`), lower the server's MTU, or mend the link, tunnel or VLAN that drops large packets.")
	return true
}

// largest tries packets as large as the interface takes.
func (p *player) largest(server netip.Addr, name string, size int64) {
	blocks := p.Station.MTU() - 32 // headers of IPv4, UDP and TFTP
	if p.large || blocks <= 1456 || size <= int64(blocks) {
		return
	}
	p.large = true
	if _, err := p.Station.TFTPBlocks(server, name, blocks); err != nil {
		p.warn("packet size", fmt.Sprintf("blocks of %d bytes do not arrive, of 1456 they do: %v", blocks, err),
			"The MTU on the way is smaller than on the interfaces at its ends. GRUB and U-Boot may ask for such blocks, and TCP connections can hang.")
		return
	}
	p.ok("packet size", fmt.Sprintf("blocks of %d bytes arrive", blocks))
}

// whole compares a file with what it should be.
func (p *player) whole(check, name string, f bootsim.File, took time.Duration) {
	text := fmt.Sprintf("%s, %d bytes in %s", shown(name), f.Size, took.Round(time.Millisecond))
	k, ok := p.expected(name)
	switch {
	case f.Text != "":
		p.ok(check, shown(name)+", a text for this machine")
	case ok && k.digest != "" && f.Digest != k.digest:
		p.fail(check, fmt.Sprintf("%s: the content is not what was reviewed: sha256 %.12s instead of %.12s", text, f.Digest, k.digest),
			"Somebody replaced the file at its store, or something on the way changes it. `hostler plan` shows what is there now.")
	case ok && k.size != 0 && f.Size != k.size:
		p.fail(check, fmt.Sprintf("%s instead of %d", text, k.size), "Compare the file at its store with the spec.")
	case ok && k.digest != "":
		p.ok(check, text+", digest as reviewed")
	case ok && k.etag != "":
		p.sameObject(check, name, text, k.etag)
	case ok:
		p.warn(check, text+"; the spec says no sha256, so nobody knows whether it is the right file", "Declare `sha256` and `size`.")
	default:
		p.ok(check, text)
	}
}

// sameObject asks a store whether its object is the one that was reviewed.
func (p *player) sameObject(check, address, text, etag string) {
	resp, err := p.Station.Ask(http.MethodGet, address, "bytes=0-0")
	if err == nil && strings.Trim(resp.Header.Get("ETag"), `"`) != strings.Trim(etag, `"`) {
		p.fail(check, fmt.Sprintf("%s: the object was replaced: its ETag is %s instead of %s", text, resp.Header.Get("ETag"), etag), "`hostler plan` shows what is there now.")
		return
	}
	p.ok(check, text+", ETag as reviewed")
}

// shown is a file and where it comes from: of a URL, without the path, which may have a digest, and the query, which may be a signature.
func shown(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return path.Base(u.Path) + " from " + u.Host
}

// HTTP implements bootsim.Network.
func (p *player) HTTP(address string) (bootsim.File, error) {
	start := time.Now()
	f, err := p.Station.HTTP(address)
	check := "script"
	if k, ok := p.expected(address); ok {
		check = k.what
	} else if f.Text == "" && !strings.Contains(address, "/bootscript") {
		check = "file"
	}
	if err != nil {
		p.fail(check, fmt.Sprintf("%s: %v", shown(address), plain(err)), adviceFor(err))
		return f, err
	}
	p.whole(check, address, f, time.Since(start))
	if f.Text == "" {
		p.manners(check, address, f.Size)
	}
	return f, nil
}

// plain leaves the URL out of an error of net/http, which may have a signature.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

func adviceFor(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "refused"):
		return "Nothing listens there: start the server or store, or mend its address."
	case strings.Contains(text, "not found"):
		return "The file was deleted or renamed at its store: put it back, or name another version."
	case strings.Contains(text, "403"):
		return "The store refuses the signature: compare the clocks of this host and of the store, and the credentials."
	case strings.Contains(text, "timeout"), strings.Contains(text, "deadline"):
		return "A firewall drops the connection, or large packets are lost on the way (compare the MTU)."
	case strings.Contains(text, "no route"), strings.Contains(text, "unreachable"):
		return "There is no way there from this network: see the subnet's `gateway`."
	case strings.Contains(text, "500"):
		return "The server cannot read the file: its log and `hostler plan` say why."
	}
	return "Fetch it by hand (`curl -v`) from the machines' network."
}

// manners are what firmware expects of a file server: HEAD with the length, parts on request, and a clock that signatures agree with. Each
// server is asked once.
func (p *player) manners(check, address string, size int64) {
	u, err := url.Parse(address)
	if err != nil || p.hosts[u.Host] {
		return
	}
	p.hosts[u.Host] = true
	part, err := p.Station.Ask(http.MethodGet, address, "bytes=0-0")
	if err != nil || part.StatusCode != http.StatusPartialContent && size > 1 {
		p.warn("parts of files", fmt.Sprintf("%s does not send parts (Range): %s", u.Host, status(part, err)), "Loaders that go on with a download that broke off start again.")
	}
	if !strings.Contains(u.RawQuery, "ignature") { // a signature is for GET alone
		head, err := p.Station.Ask(http.MethodHead, address, "")
		if err != nil || head.StatusCode != http.StatusOK || head.ContentLength != size {
			p.warn("HEAD", fmt.Sprintf("%s does not answer HEAD with the length: %s", u.Host, status(head, err)), "UEFI HTTP boot asks for the length first.")
		}
	}
	if err == nil && part != nil {
		p.clock(u.Host, part.Header.Get("Date"))
	}
}

func status(r *http.Response, err error) string {
	if err != nil {
		return plain(err).Error()
	}
	return r.Status
}

// mostSkew is what signatures of S3 allow (RequestTimeTooSkewed); they expire by the store's clock.
const mostSkew = 15 * time.Minute

// clock compares a server's clock with this host's.
func (p *player) clock(host, date string) {
	at, err := http.ParseTime(date)
	if err != nil || p.clocked[host] {
		return
	}
	p.clocked[host] = true
	skew := time.Until(at).Round(time.Second)
	text := fmt.Sprintf("the clock of %s differs by %s from this host's", host, skew)
	advice := "Set both by NTP: signed URLs and certificates are refused by a clock that is wrong."
	switch {
	case skew.Abs() >= mostSkew:
		p.fail("clock", text, advice)
	case skew.Abs() >= time.Minute:
		p.warn("clock", text, advice)
	default:
		p.ok("clock", fmt.Sprintf("%s has the time of this host", host))
	}
}
