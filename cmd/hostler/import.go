package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hostler/reconcile"
	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
	"hostler/spec/bss"
	"hostler/spec/lang"
)

// importOptions are the flags of the command.
type importOptions struct {
	inventories  []string
	out, scripts string
	json         bool
	bss.Options
}

func importBSSCommand() command {
	return command{
		name: "import bss", args: "DUMP", synopsis: "Make a spec of a Boot Script Service's boot parameters, and prove it",
		long: "Reads what a Boot Script Service gives at /boot/v1/dumpstate or /boot/v1/bootparameters, and with -smd the inventory: SMD's answers to\n" +
			"/State/Components and /Inventory/EthernetInterfaces. It writes a spec that boots the nodes alike: a group for all that are sent the same, a table of\n" +
			"the nodes, images in S3 or behind HTTP.\n\n" +
			"Then it proves it. For each node the script that hostler would serve is compared with the service's, but for URLs and tokens; arguments as ordered\n" +
			"multisets by key. The old script is worked out as the service does it; better, -scripts names a directory of saved ones, a file for each node, named\n" +
			"after it or a MAC of it, as curl gets it from bootscript?mac=. Exits with 3 when there are differences, and prints them.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &importOptions{}
			fs.Func("smd", "An inventory `file`. May be repeated.", func(s string) error { o.inventories = append(o.inventories, s); return nil })
			fs.StringVar(&o.out, "out", "", "Write the spec to this `directory`, where none of its files may be yet. Without it, only the proof is printed.")
			fs.StringVar(&o.scripts, "scripts", "", "Compare with the saved scripts in this `directory`.")
			fs.Func("cidr", "The nodes' `network`. Default: the smallest that holds their addresses.", func(s string) (err error) { o.CIDR, err = netip.ParsePrefix(s); return err })
			fs.StringVar(&o.Endpoint, "s3-endpoint", "http://rgw.local:8080", "Where the S3 service is, as machines reach it: a `URL`.")
			fs.BoolVar(&o.json, "json", false, "Print as JSON.")
			return o.run
		},
	}
}

func (o *importOptions) run(ctx context.Context, env *environment, args []string) int {
	if len(args) != 1 {
		return env.fail("import bss: name one file: the dump")
	}
	texts := make([][]byte, 0, 1+len(o.inventories))
	for _, name := range append(args, o.inventories...) {
		text, err := readBounded(name, bss.MaxSize)
		if err != nil {
			return env.fail("import bss: %v", err)
		}
		texts = append(texts, text)
	}
	dump, err := bss.Read(texts[0], texts[1:]...)
	if err != nil {
		return env.fail("import bss: %v", err)
	}
	s := bss.Write(dump, o.Options)
	snapshot, code := env.tryImport(ctx, s)
	if code != exitOK {
		return code
	}
	old, err := savedScripts(o.scripts, s.Nodes)
	if err != nil {
		return env.fail("import bss: %v", err)
	}
	p := prove(snapshot, s, old)
	if o.out != "" {
		if err := writeImport(o.out, s.Files); err != nil {
			return env.fail("import bss: %v", err)
		}
	}
	if o.json {
		env.json(p)
	} else {
		env.printProof(p, o.out)
	}
	if len(p.Differences) > 0 {
		return exitNo
	}
	return exitOK
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s: it is larger than %s", name, size(most))
	}
	return text, err
}

// tryImport renders the spec as it would be served.
func (env *environment) tryImport(ctx context.Context, s *bss.Spec) (*render.Snapshot, int) {
	dir, err := os.MkdirTemp("", "hostler-import-")
	if err != nil {
		return nil, env.fail("import bss: %v", err)
	}
	defer os.RemoveAll(dir)
	if err := writeImport(dir, s.Files); err != nil {
		return nil, env.fail("import bss: %v", err)
	}
	loaded, diags, err := reconcile.Load(ctx, dir, "", nil)
	if err != nil {
		return nil, env.fail("import bss: %v", err)
	}
	if diags.HasErrors() {
		printDiagnostics(env.stderr, diags, env.color, env.width)
		return nil, env.fail("import bss: what the dump becomes is not valid, and was not written")
	}
	return loaded.Snapshot, exitOK
}

// writeImport writes new files only.
func writeImport(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name := range files {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is there already", filepath.Join(dir, name))
		}
	}
	for name, text := range files {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(text)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// savedScripts finds the saved script of each node, by its name; nil without a directory.
func savedScripts(dir string, nodes []*bss.Node) (map[string]string, error) {
	if dir == "" {
		return nil, nil
	}
	names := map[fact.MAC]string{}
	for _, n := range nodes {
		for _, m := range n.MACs {
			names[m] = n.Name
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	scripts := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		text, err := readBounded(filepath.Join(dir, e.Name()), 1<<20)
		if err != nil {
			return nil, err
		}
		name := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		for _, s := range []string{name, e.Name()} {
			if m, err := fact.ParseMAC(s); err == nil && names[m] != "" {
				name = names[m]
			}
		}
		scripts[name] = string(text)
	}
	return scripts, nil
}

// proof is what the comparison of all nodes found.
type proof struct {
	Nodes       int          `json:"nodes"`
	Equal       int          `json:"equal"`
	Saved       bool         `json:"saved_scripts"` // compared with, and not with what was worked out
	Differences []difference `json:"differences"`
	Notes       []string     `json:"notes"`
}

// difference is one between the scripts of some nodes.
type difference struct {
	Nodes []string `json:"nodes"`
	What  string   `json:"what"`
}

// prove compares the scripts of every node. saved, if there are any, win over those that are worked out.
func prove(snapshot *render.Snapshot, s *bss.Spec, saved map[string]string) *proof {
	p := &proof{Nodes: len(s.Nodes) + len(s.Missing), Saved: saved != nil, Differences: []difference{}, Notes: s.Notes}
	at := map[string]int{}
	add := func(node, what string) {
		i, known := at[what]
		if !known {
			i = len(p.Differences)
			at[what] = i
			p.Differences = append(p.Differences, difference{What: what})
		}
		p.Differences[i].Nodes = append(p.Differences[i].Nodes, node)
	}
	for _, n := range s.Nodes {
		found := differences(snapshot, n, saved)
		for _, what := range found {
			add(n.Name, what)
		}
		if len(found) == 0 {
			p.Equal++
		}
	}
	for _, m := range s.Missing {
		add(m.Name, "it is not imported: "+m.Why)
	}
	return p
}

// differences are those of one node, by whichever of its MACs it asks.
func differences(snapshot *render.Snapshot, n *bss.Node, saved map[string]string) (found []string) {
	old := n.Old
	if saved != nil {
		var ok bool
		if old, ok = saved[n.Name]; !ok {
			return []string{"there is no saved script of it"}
		}
	}
	for _, m := range n.MACs {
		room := bootsim.Offline(snapshot, m)
		f, err := room.HTTP(room.Late(fact.NewLate(fact.LateBase, "")) + "/boot/v1/bootscript?mac=" + m.String())
		if err != nil {
			return []string{"its new script cannot be had: " + err.Error()}
		}
		for _, what := range bss.Compare(old, f.Text) {
			if !slices.Contains(found, what) {
				found = append(found, what)
			}
		}
	}
	return found
}

func (env *environment) printProof(p *proof, out string) {
	for _, note := range p.Notes {
		fmt.Fprintf(env.stdout, "Note: %s.\n", clean(note))
	}
	for _, d := range p.Differences {
		fmt.Fprintf(env.stdout, "Differs: %s\n  %s\n", lang.FoldHosts(d.Nodes), clean(d.What))
	}
	with := "what the service would send"
	if p.Saved {
		with = "the saved scripts"
	}
	fmt.Fprintf(env.stdout, "%s of %s boot as before, compared with %s, but for URLs and tokens.\n", thousands(p.Equal), plural(p.Nodes, "node"), with)
	if out != "" {
		fmt.Fprintf(env.stdout, "The spec is in %s.\n", out)
	}
}
