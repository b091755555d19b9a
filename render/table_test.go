package render_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

var update = flag.Bool("update", false, "rewrite the tables in testdata")

// TestTables runs the decision tables in testdata. A table is a spec, the file "in" with one question a line, and the
// file "out" with the questions and their answers. What can be asked is in the methods of table.
func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ar := txtar.Parse(b)
			got := play(t, ar)
			if *update {
				put(ar, "out", got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := gocmp.Diff(string(get(ar, "out")), string(got)); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

func get(ar *txtar.Archive, name string) []byte {
	for _, f := range ar.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

func put(ar *txtar.Archive, name string, data []byte) {
	for i := range ar.Files {
		if ar.Files[i].Name == name {
			ar.Files[i].Data = data
			return
		}
	}
	ar.Files = append(ar.Files, txtar.File{Name: name, Data: data})
}

// play answers every question of a table. Files below old/ are the spec before a change.
func play(t *testing.T, ar *txtar.Archive) []byte {
	t.Helper()
	now, before := fstest.MapFS{}, fstest.MapFS{}
	for _, f := range ar.Files {
		if name, ok := strings.CutPrefix(f.Name, "old/"); ok {
			before[name] = &fstest.MapFile{Data: f.Data}
		} else {
			now[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	x := &table{t: t, out: &bytes.Buffer{}}
	artifacts := string(get(ar, "artifacts"))
	x.snapshot = x.render(now, artifacts)
	x.old = x.snapshot
	if len(before) > 0 {
		x.old = x.render(before, cmp.Or(string(get(ar, "old/artifacts")), artifacts))
	}
	if text := get(ar, "assigned"); text != nil {
		as := assignments(x.old, string(text))
		x.old, x.snapshot = x.old.Assign(as), x.snapshot.Assign(as)
	}
	for line := range strings.Lines(string(get(ar, "in"))) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			fmt.Fprintln(x.out, line)
			continue
		}
		fmt.Fprintln(x.out, line)
		if x.snapshot == nil {
			x.say("there is no snapshot")
			continue
		}
		x.ask(parseWords(line))
	}
	return x.out.Bytes()
}

// table is a table that is being answered.
type table struct {
	t             *testing.T
	out           *bytes.Buffer
	snapshot, old *render.Snapshot
}

func (x *table) say(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintln(x.out, strings.TrimRight("  "+strings.TrimSuffix(line, "\n"), " "))
	}
}

// assignments reads lines NODE hold REASON, NODE loops (held for what it boots by the old spec), NODE armed, NODE installed now|before, NODE override WORDS, of which the words are
// once, boot=MODE and image=NAME. What is installed now is what the node would install by the old spec.
func assignments(old *render.Snapshot, text string) render.Assignments {
	as := render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{}, Serial: 1}
	at := time.Date(2026, 11, 22, 9, 12, 0, 0, time.UTC)
	for line := range strings.Lines(text) {
		w := strings.SplitN(strings.TrimSpace(line), " ", 3)
		name, rest := fact.NodeName(w[0]), strings.Join(w[2:], "")
		a := as.Nodes[name]
		if a == nil {
			a = &render.Assignment{}
		}
		switch w[1] {
		case "hold":
			a.Hold = render.Hold{Reason: rest, By: "alice", Since: at, Until: at.Add(2 * time.Hour)}
		case "loops":
			a.Hold = render.Hold{Reason: "it boots in a loop", By: "hostler", Since: at, Boot: old.BootDigest(name)}
		case "armed":
			a.Installed = render.Installed{By: "alice", At: at}
		case "installed":
			node, _ := old.Node(w[0])
			a.Installed = render.Installed{Digest: digest("before"), MAC: node.MAC, Image: node.Image, Boot: "01KAPXR8", At: at}
			if rest == "now" {
				a.Installed.Digest = old.Script(render.Query{Name: w[0]}, 0).Terms.Install
			}
		case "override":
			x := parseWords(". " + rest)
			_, once := x["once"]
			a.Override = render.Override{Order: "1", Boot: spec.BootMode(x["boot"]), Image: x["image"], Once: once, Reason: "to look", By: "bob", Since: at}
		}
		as.Nodes[name] = a
	}
	return as
}

func (x *table) render(files fstest.MapFS, artifacts string) *render.Snapshot {
	x.t.Helper()
	f, ds := spec.Parse(spec.Input{Files: files})
	if f == nil {
		for _, d := range ds {
			x.t.Error(d)
		}
		x.t.FailNow()
	}
	s, ds := render.Render(f, observe(f, artifacts), render.Assignments{})
	for _, d := range ds {
		x.say("%s [%s] %s %s", d.Severity, d.Code, d, d.Address)
	}
	return s
}

// observe makes up what was observed of each file: a digest of its name, and its size. Lines of changes say otherwise:
// FILE problem TEXT, FILE url URL, FILE digest TEXT, FILE unknown.
func observe(f *spec.Fleet, changes string) render.Artifacts {
	a := render.Artifacts{}
	add := func(ref spec.FileRef) {
		a[ref.ID()] = render.Artifact{Digest: digest(ref.ID()), Size: int64(1000 * len(ref.ID()))}
	}
	for _, l := range f.Loaders {
		add(l.File)
		for _, x := range l.Extra {
			add(x.File)
		}
	}
	for _, m := range f.Images {
		for _, x := range m.Files {
			add(x.File)
		}
	}
	for line := range strings.Lines(changes) {
		w := strings.SplitN(strings.TrimSpace(line), " ", 3)
		x := a[w[0]]
		switch w[1] {
		case "problem":
			x = render.Artifact{Problem: w[2]}
		case "url":
			x.URL = w[2]
		case "digest":
			x.Digest = digest(w[2])
		case "etag": // as reconcile sees an object in S3 of an unknown digest
			ref := strings.SplitN(w[0], ":", 3)
			o := f.Store(ref[1]).S3.Object(ref[2])
			x = render.Artifact{Digest: digest(w[2]), Size: x.Size, ETag: w[2], ByETag: true}
			for _, m := range f.Images {
				for _, file := range m.Files {
					if file.File.ID() == w[0] {
						x.Digest, x.ByETag = cmp.Or(file.File.SHA256, x.Digest), file.File.SHA256 == ""
					}
				}
			}
			if f.Store(ref[1]).Deliver == spec.DeliverPresign {
				x.URL = string(fact.NewLate(fact.LatePresign, o.String()))
			}
		case "unknown":
			delete(a, w[0])
			continue
		}
		a[w[0]] = x
	}
	return a
}

func digest(s string) fact.Digest {
	return fact.Digest(fmt.Sprintf("%x", sha256.Sum256([]byte(s))))
}

// words are the KEY=VALUE words of a question; "" is its first word.
type words map[string]string

func parseWords(line string) words {
	w := words{}
	for i, word := range strings.Fields(line) {
		k, v, _ := strings.Cut(word, "=")
		if i == 0 {
			k, v = "", word
		}
		w[k] = v
	}
	return w
}

func (x *table) ask(w words) {
	switch w[""] {
	case "script":
		x.script(w)
	case "file":
		x.file(w)
	case "explain":
		x.explain(w)
	case "node":
		n, ok := x.snapshot.Node(w["name"])
		x.say("%t %s %s %s %s boot=%s next=%s hold=%q image=%s [%s] %s", ok, n.Name, n.Address, n.MAC, n.IP, n.Boot, n.Next, n.Hold, n.Image, strings.Join(n.Groups, " "), n.KernelArgs)
	case "diff":
		for _, c := range render.Diff(x.old, x.snapshot) {
			x.say("%s %s %s: %q -> %q %s, by %s at %s", c.Action, c.Subject, c.Path, c.Old, c.New, c.Class, cmp.Or(c.Layer, "itself"), c.Cause)
		}
	default:
		x.dhcp(w)
	}
}

func (x *table) script(w words) {
	q := render.Query{Name: w["name"], NID: w["nid"], MAC: x.mac(w["mac"]), Addr: x.addr(w["addr"]), Tried: w["tried"], Arch: w["arch"]}
	retry, _ := strconv.Atoi(w["retry"])
	s := x.snapshot.Script(q, retry)
	x.say("node %q, %s, boots %t, reason %q", s.Node, s.MAC, s.Boots, s.Reason)
	if s.Terms.Install+fact.Digest(s.Terms.Override) != "" {
		x.say("terms: image %s, installs %.12s, override %q", s.Terms.Image, s.Terms.Install, s.Terms.Override)
	}
	if s.Note != "" {
		x.say("note %q", s.Note)
	}
	x.say("%s", short(s.Text.String()))
}

// short cuts digests in URLs, so that tables can be read.
func short(s string) string {
	fields := strings.Split(s, "/files/")
	for i := 1; i < len(fields); i++ {
		if len(fields[i]) > 64 && fields[i][64] == '/' {
			fields[i] = fields[i][:6] + fields[i][64:]
		}
	}
	return strings.Join(fields, "/files/")
}

func (x *table) file(w words) {
	f, ok := x.snapshot.File(w["name"], x.mac(w["mac"]))
	if !ok {
		x.say("not found")
		return
	}
	x.say("node %q, %s, %.12s, %d bytes", f.Node, f.Stage, f.Digest, f.Size)
	x.say("%s", short(f.Text.String()))
}

func (x *table) explain(w words) {
	for _, e := range x.snapshot.Explain(fact.NodeName(w["node"]), w["path"]) {
		x.say("%s = %s", e.Path, e.Value)
		for _, st := range e.Steps {
			x.say("  %s %s %s (%s)", st.Layer, st.Action, st.Value, st.Place)
		}
	}
}

func (x *table) mac(s string) fact.MAC {
	if s == "" {
		return fact.MAC{}
	}
	m, err := fact.ParseMAC(s)
	if err != nil {
		x.t.Fatal(err)
	}
	return m
}

func (x *table) addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}

// facts of a question: mac arch class ipxe bootserver params giaddr link override requested server ciaddr, asks (seconds of lease time), to
// (which address of ours, when it was not sent to everybody), and on and owned, lists of the prefixes of the interface and of
// all addresses of the host. A client with an address sends from it, unless a relay agent passes its request on.
func (x *table) facts(w words) fact.Facts {
	f := fact.Facts{MAC: x.mac(w["mac"]), Arch: fact.NoArch, VendorClass: w["class"], UserClass: w["user"], GIAddr: x.addr(w["giaddr"]), Link: x.addr(w["link"]),
		Override: x.addr(w["override"]), Requested: x.addr(w["requested"]), ServerID: x.addr(w["server"]), CIAddr: x.addr(w["ciaddr"]),
		From: x.addr(w["ciaddr"]), To: x.addr(w["to"])}
	if f.GIAddr.IsValid() {
		f.From = f.GIAddr
	}
	if n, err := strconv.Atoi(w["asks"]); err == nil {
		f.LeaseTime = time.Duration(n) * time.Second
	}
	for m := fact.BOOTP; m <= fact.Inform; m++ {
		if strings.EqualFold(m.String(), w[""]) {
			f.Message = m
		}
	}
	if n, err := strconv.Atoi(w["arch"]); err == nil {
		f.Arch = fact.Arch(n)
	}
	_, f.IPXE = w["ipxe"]
	_, f.BootServer = w["bootserver"]
	for _, p := range split(w["params"]) {
		n, _ := strconv.Atoi(p)
		f.Params += string([]byte{byte(n)})
	}
	f.Ingress.Interface = "eth1"
	for _, p := range split(cmp.Or(w["on"], "10.77.0.1/24")) {
		f.Ingress.Prefixes = append(f.Ingress.Prefixes, netip.MustParsePrefix(p))
		f.Ingress.Owned = append(f.Ingress.Owned, netip.MustParsePrefix(p).Addr())
	}
	for _, a := range split(w["owned"]) {
		f.Ingress.Owned = append(f.Ingress.Owned, netip.MustParseAddr(a))
	}
	return f
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// dhcp asks for an answer. The leases are empty: they give the fixed address, or the first of the ranges, or what lease= says. With held
// the machine has a lease that runs.
func (x *table) dhcp(w words) {
	f := x.facts(w)
	c := x.snapshot.Select(&f)
	if c.Ignore != "" {
		x.say("ignore: %s", c.Ignore)
		return
	}
	a := c.Claim.Fixed
	if len(c.Claim.Ranges) > 0 && !a.IsValid() {
		a = c.Claim.Ranges[0].First
	}
	if l, ok := w["lease"]; ok {
		a = x.addr(l)
	}
	if _, held := w["held"]; held {
		c.Nak = true
	}
	if !c.NeedsAddress(&f) {
		a = netip.Addr{}
	}
	x.say("subnet %s, node %q, server %s, fixed %s, pool %q %v, for %s, nak %t", c.Subnet, c.Node, c.Server, show(c.Claim.Fixed), c.Claim.Pool, c.Claim.Ranges, c.LeaseTime(), c.Nak)
	ans := x.snapshot.Answer(&f, &c, a)
	if ans.Ignore != "" {
		x.say("ignore: %s", ans.Ignore)
		return
	}
	x.say("%s %s %s", ans.Message, show(ans.YIAddr), ans.Reason)
	if ans.ServerID.IsValid() && ans.ServerID != c.Server {
		x.say("server identifier %s", ans.ServerID)
	}
	if ans.BootFile != "" {
		x.say("boot file %s from %s, loader %s", short(ans.BootFile.String()), show(ans.SIAddr), ans.Loader)
	}
	var os []string
	for _, o := range ans.Options {
		os = append(os, option(o))
	}
	x.say("%s", strings.Join(os, " "))
}

func show(a netip.Addr) string {
	if !a.IsValid() {
		return "none"
	}
	return a.String()
}

// option prints text where there is nothing but text.
func option(o render.Option) string {
	for _, c := range o.Data {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("%d=%x", o.Code, o.Data)
		}
	}
	return fmt.Sprintf("%d=%q", o.Code, o.Data)
}
