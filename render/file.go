package render

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"hostler/render/fact"
	"hostler/spec"
)

// unknownDigest stands in URLs and plans for the digest of a file that was not looked at. It has no space: iPXE would
// end the URL there.
const unknownDigest = "(digest-unknown-here)"

// file is what was observed of a file, under the name that machines fetch it by.
func (s *Snapshot) file(ref spec.FileRef, name string) File {
	a := s.artifacts[ref.ID()]
	return File{Name: name, Digest: cmp.Or(a.Digest, ref.SHA256), Size: cmp.Or(a.Size, ref.Size), URL: a.URL, ETag: a.ETag, ByETag: a.ByETag}
}

// fileURL is where a machine fetches a file by HTTP. No byte of a store's URL is changed: it may be signed.
func fileURL(f File) fact.Text {
	if f.URL != "" {
		return fact.Text(f.URL)
	}
	return fact.NewLate(fact.LateBase, "") + fact.Text(filePath(f))
}

// filePath is a file's path on the boot HTTP server. TFTP clients ask for the same, without the slash.
func filePath(f File) string { return "/" + tftpName(f) }

func tftpName(f File) string {
	return filesFolder + cmp.Or(string(f.Digest), unknownDigest) + "/" + f.Name
}

const filesFolder = "files/"

func (s *Snapshot) indexFiles() {
	s.tftp, s.blobs = map[string]File{}, map[fact.Digest]File{}
	add := func(f File) {
		if f.Digest != "" {
			s.blobs[f.Digest] = f
		}
	}
	for _, l := range s.loaders {
		for _, f := range s.loaderFiles(l) {
			if _, taken := s.tftp[f.Name]; !taken { // the author's loader stands before a built-in one
				s.tftp[f.Name] = f
			}
			add(f)
		}
	}
	for i := range s.fleet.Images {
		for _, x := range s.fleet.Images[i].Files {
			f := s.file(x.File, x.Name)
			f.Stage = roleStage(x.Role)
			if f.URL == "" {
				add(f)
			}
		}
	}
}

func roleStage(role string) fact.Stage {
	switch role {
	case "kernel":
		return fact.StageKernel
	case "initrd":
		return fact.StageInitrd
	}
	return fact.StageConfig
}

// File looks up a TFTP name: a loader or a file beside it, files/DIGEST/NAME, or a loader's configuration. The machine is known by the
// lease of the address that asks, or unknown (zero); names that carry a MAC of their own, such as pxelinux.cfg/01-MAC, need none. The name is looked up, never joined to a path. In a
// generated file, late values are left for the server to fill.
func (s *Snapshot) File(name string, mac fact.MAC) (File, bool) {
	name = strings.TrimLeft(name, "/")
	asking, known := s.byMAC[mac]
	if f, ok := s.tftp[name]; ok {
		if known {
			f.Node = s.fleet.Nodes[asking.node].Name
		}
		return f, true
	}
	if rest, ok := strings.CutPrefix(name, filesFolder); ok {
		digest, _, _ := strings.Cut(rest, "/")
		f, ok := s.blobs[fact.Digest(digest)]
		if f.Pinned = ok; ok && known {
			f.Node = s.fleet.Nodes[asking.node].Name
		}
		return f, ok
	}
	if id, ok := strings.CutPrefix(name, pxelinuxFolder); ok {
		return s.pxelinux(name, id, mac)
	}
	if f, ok := s.grub(name, mac); ok {
		return f, true
	}
	if f, ok := s.autoexec(name, mac); ok {
		return f, true
	}
	return s.rpi(name, mac)
}

// Blob finds a file that some machine of the snapshot may fetch by its digest.
func (s *Snapshot) Blob(d fact.Digest) (File, bool) {
	f, ok := s.blobs[d]
	return f, ok
}

// ConfigPart names the template that cloud-init on a node gets as user-data, vendor-data or network-config; empty when the spec names none.
func (s *Snapshot) ConfigPart(node fact.NodeName, part string) string {
	i, ok := s.byName[node]
	if !ok {
		return ""
	}
	st := s.fleet.Effective(&s.fleet.Nodes[i])
	return st.ConfigPart(part)
}

// Config renders a node's template. The error says which template, for which node, and why.
func (s *Snapshot) Config(node fact.NodeName, template string) (File, error) {
	i, ok := s.byName[node]
	if !ok {
		return File{}, fmt.Errorf("template %s for node %s: no such node", template, node)
	}
	n := &s.fleet.Nodes[i]
	for _, x := range n.Texts {
		if x.Template != template {
			continue
		}
		text, err := s.execute(n, x)
		if err != nil {
			return File{}, err
		}
		if strings.IndexByte(string(text), 0) >= 0 {
			t := s.targetOf(n)
			text = s.resolve(&t, text)
		}
		return File{Name: template, Node: node, Stage: fact.StageConfig, Text: text, Size: int64(len(text))}, nil
	}
	return File{}, fmt.Errorf("template %s for node %s: not one of its templates", template, node)
}

// execute makes a template's text again, and makes sure that it is the text that was reviewed.
func (s *Snapshot) execute(n *spec.Node, x spec.NodeText) (fact.Text, error) {
	text, err := s.fleet.Execute(x.Template, n)
	if err != nil {
		return "", fmt.Errorf("template %s for node %s: %w", x.Template, n.Name, err)
	}
	if d := digestOf(string(text)); x.Digest != "" && d != x.Digest {
		return "", fmt.Errorf("template %s for node %s: its text differs from the one that was checked", x.Template, n.Name)
	}
	return text, nil
}

func digestOf(s string) fact.Digest {
	h := sha256.Sum256([]byte(s))
	return fact.Digest(hex.EncodeToString(h[:]))
}

// subnetAt is the one subnet that gives unknown machines something and lies around an address; without an
// address, the only one there is.
func (s *Snapshot) subnetAt(a netip.Addr) *subnet {
	var found *subnet
	for i := range s.subnets {
		sn := &s.subnets[i]
		if sn.Unknown < 0 || a.IsValid() && !sn.CIDR.Contains(a) {
			continue
		}
		if found != nil && !a.IsValid() {
			return nil
		}
		if found == nil {
			found = sn
		}
	}
	return found
}

// loaderFiles are a loader and what lies beside it.
func (s *Snapshot) loaderFiles(l *spec.Loader) []File {
	files := []File{s.file(l.File, l.FileName)}
	for _, x := range l.Extra {
		files = append(files, s.file(x.File, x.Name))
	}
	for i := range files {
		files[i].Stage = fact.StageLoader
	}
	return files
}

// Files are the files of loaders and images that machines fetch as they are.
func (s *Snapshot) Files() (files []File) {
	for _, l := range s.loaders {
		files = append(files, s.loaderFiles(l)...)
	}
	for i := range s.fleet.Images {
		for _, x := range s.fleet.Images[i].Files {
			f := s.file(x.File, x.Name)
			f.Stage = roleStage(x.Role)
			files = append(files, f)
		}
	}
	return files
}
