package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"testing"
	"time"

	"hostler/render/fact"
	"hostler/spec"
)

// The loaders for UEFI differ from those of the module in the certificate that they trust, and in nothing else; what was observed under
// an older certificate can still be opened.
func TestBuiltinTrust(t *testing.T) {
	trust := fact.Digest("")
	o := newObserver(nil, time.Now)
	o.trust = func() fact.Digest { return trust }
	f := &spec.Fleet{}
	for _, name := range []string{"undionly.kpxe", "ipxe.efi", "snp.efi"} {
		f.Loaders = append(f.Loaders, spec.Loader{Name: name, File: spec.FileRef{Builtin: name}})
	}
	look := func() map[string][]byte {
		t.Helper()
		as, ps, err := o.observe(context.Background(), f, nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		content := map[string][]byte{}
		for _, l := range f.Loaders {
			a := as[l.File.ID()]
			r, err := ps.open(a.Digest, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil || digestOf(b).digest != a.Digest || int64(len(b)) != a.Size {
				t.Errorf("%s: what is opened is not what was observed (%v)", l.Name, err)
			}
			content[l.Name] = b
		}
		return content
	}
	before := look()
	own := sha256.Sum256([]byte("the root of a site"))
	trust = fact.Digest(hex.EncodeToString(own[:]))
	after := look()
	root, err := hex.DecodeString(ipxeRoot)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ipxe.efi", "snp.efi"} {
		if n := bytes.Count(before[name], root); n != 1 {
			t.Errorf("%s holds iPXE's own root %d times, not once: this is another build, to be looked at", name, n)
		}
		if want := bytes.Replace(before[name], root, own[:], 1); !bytes.Equal(after[name], want) {
			t.Errorf("%s does not trust the root, or was changed elsewhere too", name)
		}
	}
	if !bytes.Equal(before["undionly.kpxe"], after["undionly.kpxe"]) {
		t.Error("undionly.kpxe was changed, and cannot be")
	}
}
