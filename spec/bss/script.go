package bss

import (
	"fmt"
	"regexp"
	"strings"
)

// boot is what the service decides to send to a node, before it is a script.
type boot struct {
	kernel, initrd string
	params         string // of the record, the kernel and the initrd
	tag            string // that the record was found under
	shared         bool   // the record is a role's, or Default
}

// discovers reports whether the service has something to boot for machines that the inventory does not know.
func (d *Dump) discovers() bool {
	for name := range d.byName {
		if strings.HasPrefix(name, unknownPrefix) {
			return true
		}
	}
	return false
}

// choose finds a node's record: under its own name, or that of its NID; under its role; under Default. The first one counts, whole.
func (d *Dump) choose(c *Component) (b boot, ok bool) {
	var r *Record
	for _, tag := range []string{c.ID, "nid" + c.NID.String(), c.Role, defaultTag} {
		if r = d.byName[tag]; r != nil && tag != "" && tag != "nid" {
			b.tag, b.shared = tag, tag == c.Role || tag == defaultTag
			break
		}
	}
	if r == nil || r.Kernel == "" {
		return b, false
	}
	b.kernel, b.initrd, b.params = r.Kernel, r.Initrd, r.Params
	for _, more := range []string{d.images["kernel "+r.Kernel], d.images["initrd "+r.Initrd]} {
		if more != "" {
			b.params += " " + more
		}
	}
	return b, true
}

// addresses in parameters that the service replaces by presigned ones.
var signedParam = regexp.MustCompile(`(^| )(metal\.server=|root=live:)s3://[^ ]*`)

// complete adds the parameters that the service adds, unless there are any that begin alike. ${SPIRE_JOIN_TOKEN}, for which it asks another
// service, stays.
func (b *boot) complete(c *Component) string {
	params := b.params
	for _, p := range []struct{ key, value string }{{"xname=", c.ID}, {"nid=", c.NID.String()}, {"ds=", "nocloud-net;s=http://bss/"}} {
		if p.value != "" && !begins(params, p.key) {
			params += " " + p.key + p.value
		}
	}
	return params
}

func begins(params, key string) bool {
	for word := range strings.SplitSeq(params, " ") {
		if strings.HasPrefix(word, key) {
			return true
		}
	}
	return false
}

// Script is what the service would send to a node that asks by its first MAC, with s3 addresses where it has signed ones, and without a
// referral token, which dumps do not hold. It is empty for a node that the service has nothing for.
func (d *Dump) Script(c *Component) string {
	b, ok := d.choose(c)
	if !ok {
		return ""
	}
	params := b.complete(c)
	if b.initrd != "" {
		params = "initrd=initrd " + withoutInitrd(params)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "#!ipxe\nkernel --name kernel %s %s || goto boot_retry\n", b.kernel, strings.Trim(params, " "))
	if b.initrd != "" {
		fmt.Fprintf(&s, "initrd --name initrd %s || goto boot_retry\n", b.initrd)
	}
	mac := "?name=" + c.ID
	if len(c.macs) > 0 {
		mac = "?mac=" + c.macs[0].String()
	}
	fmt.Fprintf(&s, "boot || goto boot_retry\n:boot_retry\nsleep 30\nchain https://bss/apis/bss/boot/v1/bootscript%s&retry=1\n\n", mac)
	return s.String()
}

// withoutInitrd does what the service does to be rid of an initrd= of the author's: it cuts the first place where the word stands, in whatever
// parameter, up to the next space. Where there is none, it dies; this does not.
func withoutInitrd(params string) string {
	start := strings.Index(params, "initrd")
	if start < 0 {
		return params
	}
	end := strings.IndexByte(params[start:], ' ')
	if end < 0 {
		return params[:start]
	}
	return params[:start] + params[start+end:]
}
