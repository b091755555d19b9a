package reconcile

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/tinkerbell/ipxedust/binary"

	"hostler/render"
	"hostler/render/fact"
)

func (o *observer) builtin(name string) (render.Artifact, place, error) {
	p := place{Builtin: name}
	if o.trust != nil {
		p.Trust = o.trust()
	}
	b, ok := builtinLoader(name, p.Trust)
	if !ok {
		return render.Artifact{Problem: "is not a loader inside this program"}, place{}, nil
	}
	key := "builtin " + name + " " + string(p.Trust)
	k, ok := o.known[key]
	if !ok {
		k = digestOf(b)
		o.known[key] = k
	}
	return k.artifact(p)
}

// ipxeRoot is the SHA-256 of the certificate of iPXE's makers, which an iPXE that was built without TRUST= trusts and no other
// (iPXE src/crypto/rootcert.c). The setting "trust" could replace it, but iPXE reads that before it has asked DHCP and before its
// embedded script runs, so that nothing that a network says gets there in time. Certificates are compared by this sum and nothing
// else, wherever in the server's chain they stand.
const ipxeRoot = "9faf717b7f8ca2f93c256c79f8ac5591895d66d1ff3bee6397a70d29c65eed1a"

// builtinLoader gives a loader that is embedded in the program, told to trust a certificate in place of iPXE's own. The BIOS
// program is compressed, so that the place cannot be found in it: it is given as it is.
func builtinLoader(name string, trust fact.Digest) ([]byte, bool) {
	switch name {
	case "undionly.kpxe", "ipxe.efi", "snp.efi":
	default:
		return nil, false
	}
	b := binary.Files[name]
	old, _ := hex.DecodeString(ipxeRoot)
	own, err := hex.DecodeString(string(trust))
	if i := bytes.Index(b, old); i >= 0 && err == nil && len(own) == len(old) {
		b = slices.Clone(b)
		copy(b[i:], own)
	}
	return b, true
}
