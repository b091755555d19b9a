package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/spec/bss"
)

// imported is what the cluster of spec/bss becomes.
func imported(t *testing.T) *bss.Spec {
	t.Helper()
	var texts [][]byte
	for _, name := range []string{"dump", "components", "interfaces"} {
		text, err := os.ReadFile("../../spec/bss/testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
	}
	dump, err := bss.Read(texts[0], texts[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return bss.Write(dump, bss.Options{Endpoint: "http://rgw.local:8080"})
}

func proofOf(t *testing.T, s *bss.Spec, saved map[string]string) *proof {
	t.Helper()
	var stderr bytes.Buffer
	env := &environment{stdout: &bytes.Buffer{}, stderr: &stderr}
	snapshot, code := env.tryImport(t.Context(), s)
	if code != exitOK {
		t.Fatal(stderr.String())
	}
	return prove(snapshot, s, saved)
}

// What the service cannot be followed in, and nothing else, differs.
func TestImport(t *testing.T) {
	p := proofOf(t, imported(t), nil)
	want := []difference{
		{Nodes: []string{"x3000c0s0b0n1", "x3000c0s1b0n0"}, What: "argument spire_join_token: spire_join_token=${SPIRE_JOIN_TOKEN} -> nothing"},
		{Nodes: []string{"x3000c9s9b0n0"}, What: "it is not imported: the inventory has no MAC of it"},
	}
	if diff := cmp.Diff(want, p.Differences); diff != "" || p.Nodes != 401 || p.Equal != 398 {
		t.Errorf("%d of %d: %s", p.Equal, p.Nodes, diff)
	}
}

// An import that somebody broke is caught, whatever was broken.
func TestBrokenImport(t *testing.T) {
	for _, c := range []struct{ file, old, new, want string }{
		{"groups.boot.hcl", `"360M"`, `"361M"`, "argument crashkernel: crashkernel=360M -> crashkernel=361M"},
		{"groups.boot.hcl", `["ttyS0,115200", "tty0"]`, `["tty0", "ttyS0,115200"]`, "argument console: console=ttyS0,115200 console=tty0 -> console=tty0 console=ttyS0,115200"},
		{"groups.boot.hcl", `    bad_page       = "panic"` + "\n", "", "argument bad_page: bad_page=panic -> nothing"},
		{"groups.boot.hcl", `self.ids.xname`, `"x3000c0s0b0n0"`, "argument xname: xname=x3000c0s0b1n0 -> xname=x3000c0s0b0n0"},
		{"images.boot.hcl", `5fa9270c975/initrd"`, `5fa9270c975/initrd2"`, "initrd: /boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/initrd -> /boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/initrd2"},
		{"images.boot.hcl", `"arm/rootfs"`, `"arm/rootfs2"`, "argument root: root=live:/boot-images/arm/rootfs -> root=live:/boot-images/arm/rootfs2"},
		{"spec.boot.hcl", `"30s"`, `"10s"`, "pause: 30 -> 10"},
		{"nodes.csv", "x3000c0s0b1n0,2,compute", "x3000c0s0b1n0,2,default", "argument crashkernel: crashkernel=360M -> nothing"},
		{"nodes.csv", "x3000c0s0b1n0,2,compute", "x3000c0s0b1n0,2999,compute", "argument nid: nid=2 -> nid=2999"},
	} {
		s := imported(t)
		text := string(s.Files[c.file])
		broken := strings.Replace(text, c.old, c.new, 1)
		if broken == text {
			t.Fatalf("%s has no %q", c.file, c.old)
		}
		if c.file == "groups.boot.hcl" && c.new == "" {
			broken = strings.Replace(broken, `"bad_page", `, "", 1)
		}
		s.Files[c.file] = []byte(broken)
		found := fmt.Sprint(proofOf(t, s, nil).Differences)
		if !strings.Contains(found, c.want) {
			t.Errorf("%s -> %s: want %s\n%.2000s", c.old, c.new, c.want, found)
		}
	}
}

// The better proof: scripts as they were saved, with signed URLs, under whatever form of a MAC, or the name. Who has none is told of.
func TestImportSavedScripts(t *testing.T) {
	s, dir := imported(t), t.TempDir()
	for i, n := range s.Nodes {
		text := strings.ReplaceAll(n.Old, " s3://boot-images/", " http://rgw.local:8080/boot-images/")
		text = strings.ReplaceAll(text, "/kernel ", "/kernel?X-Amz-Signature=1 ")
		text = strings.ReplaceAll(text, "=s3://boot-images/arm/squashfs", "=http://rgw/boot-images/arm/squashfs?X-Amz-Signature=2")
		text = strings.ReplaceAll(text, "=live:s3://", "=live:http://rgw/")
		text = strings.ReplaceAll(text, "${SPIRE_JOIN_TOKEN}", "0b7e")
		name := n.MACs[len(n.MACs)-1].String()
		switch i % 4 {
		case 1:
			name = strings.ToUpper(n.MACs[0].Dashed()) + ".ipxe"
		case 2:
			name = n.Name
		}
		if i == 100 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	saved, err := savedScripts(dir, s.Nodes)
	if err != nil {
		t.Fatal(err)
	}
	p := proofOf(t, s, saved)
	want := []difference{
		{Nodes: []string{"x3000c0s0b0n1", "x3000c0s1b0n0"}, What: "argument spire_join_token: spire_join_token=0b7e -> nothing"},
		{Nodes: []string{s.Nodes[100].Name}, What: "there is no saved script of it"},
		{Nodes: []string{"x3000c9s9b0n0"}, What: "it is not imported: the inventory has no MAC of it"},
	}
	if diff := cmp.Diff(want, p.Differences); diff != "" {
		t.Error(diff)
	}
	if _, err := savedScripts(dir+"/none", s.Nodes); err == nil {
		t.Error("a directory that is not there")
	}
}
