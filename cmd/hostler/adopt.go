package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"hostler/reconcile"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/spec"
	"hostler/spec/adopt"
)

// adoption is one call of the command.
type adoption struct {
	load   *loadFlags
	socket *string
	subnet *string
	write  *string
	wish   adopt.Wish
}

func adoptCommand() command {
	return command{
		name: "adopt", args: "[DIR] MAC", synopsis: "Write the declaration of a machine that nobody declared",
		long: "Proposes a declaration for a machine of `hostler inbox`, and prints it: the next name and address beside its neighbours, which are the\n" +
			"machines of its subnet with its architecture, their groups, and the next ids. Where they come from a CSV or TSV table it is a row of that table,\n" +
			"else a node block. The spec in DIR (default: the current directory) is checked with it first, and nothing is printed or written when it is not valid.\n\n" +
			"Nothing is bound: the machine is declared when the spec with the text is in force. Without a running server, or for a machine that it never\n" +
			"heard of, give -subnet; leases are not looked at then.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			a := &adoption{load: loadOptions(fs), socket: socketFlag(fs)}
			a.wish.Set = map[string]string{}
			fs.StringVar(&a.wish.Name, "name", "", "The node's `name`.")
			a.subnet = fs.String("subnet", "", "The `subnet` that it boots on. Default: where it asked.")
			fs.Func("address", "Its `address`.", func(s string) (err error) { a.wish.Address, err = netip.ParseAddr(s); return err })
			fs.Func("groups", "Its groups, as `a,b`.", func(s string) error { a.wish.Groups = strings.Split(s, ","); return nil })
			fs.Func("set", "An id, or a column of the table: `name=value`. May be repeated.", func(s string) error {
				name, value, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return fmt.Errorf("write it as name=value")
				}
				a.wish.Set[name] = value
				return nil
			})
			a.write = fs.String("write", "", "Append it to this `file` of DIR: the table, or a file *.boot.hcl, which need not exist.")
			return a.run
		},
	}
}

func (a *adoption) run(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 || len(args) > 2 {
		return env.fail("adopt: write [DIR] and the machine's MAC, as `hostler inbox` lists it")
	}
	dir, name := ".", args[len(args)-1]
	if len(args) == 2 {
		dir = args[0]
	}
	mac, err := fact.ParseMAC(name)
	if err != nil {
		return env.fail("adopt: %v", err)
	}
	loaded, code := env.load(ctx, dir, "", a.load, false)
	if code != exitOK {
		return code
	}
	if n, declared := loaded.Snapshot.Node(mac.String()); declared {
		return env.fail("adopt: %s is declared: %s, in %s:%d", mac, n.Address, n.Place.File, n.Place.Line)
	}
	m, taken, err := a.machine(ctx, env, mac)
	if err != nil {
		return env.serverError(err)
	}
	p, err := adopt.Propose(loaded.Snapshot.Fleet(), m, a.wish, func(addr netip.Addr) bool { return taken[addr] })
	if err != nil {
		return env.fail("adopt: %v", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return env.fail("adopt: %v", err)
	}
	defer root.Close()
	d := &declaration{Proposal: p, root: root, vars: a.load.vars, before: loaded.Snapshot.Fleet()}
	if err := d.place(*a.write); err != nil {
		return env.fail("adopt: %v", err)
	}
	return d.finish(ctx, env, *a.write != "")
}

// machine asks the server what it knows of a machine, and which addresses are leased.
func (a *adoption) machine(ctx context.Context, env *environment, mac fact.MAC) (m adopt.Machine, taken map[netip.Addr]bool, err error) {
	m, taken = adopt.Machine{MAC: mac, Arch: fact.NoArch, Subnet: *a.subnet}, map[netip.Addr]bool{}
	c := admin.NewClient(socketPath(*a.socket))
	var machines []stranger
	var leases []fact.Lease
	err = c.Get(ctx, "/v1/inbox?"+url.Values{"machine": {mac.String()}}.Encode(), &machines)
	if err == nil {
		err = c.Get(ctx, "/v1/leases", &leases)
	}
	switch {
	case noServer(err):
		fmt.Fprintln(env.stderr, "No server was asked: what the machine said of itself, and which addresses are leased, is not known.")
		return m, taken, nil
	case err != nil:
		return m, taken, err
	case len(machines) == 0:
		fmt.Fprintf(env.stderr, "The server never heard of %s.\n", mac)
	default:
		s := machines[0]
		if as := fact.Architectures(s.Arch); len(as) > 0 {
			m.Arch = as[0]
		}
		m.UUID = s.UUID
		if m.Subnet == "" {
			m.Subnet = s.Subnet
		}
	}
	for _, l := range leases {
		if l.MAC != mac {
			taken[l.Addr] = true
		}
	}
	return m, taken, nil
}

// declaration is a proposal with the file that it goes to.
type declaration struct {
	*adopt.Proposal
	root   *os.Root
	vars   map[string]string
	before *spec.Fleet

	file     string // from the root, with slashes
	text     []byte // of the file, nil when it does not exist
	mode     fs.FileMode
	addition []byte
}

// place decides whether it is a row or a block, and reads the file that it is appended to.
func (d *declaration) place(write string) error {
	d.file = path.Clean(filepath.ToSlash(write))
	switch {
	case write == "" && d.Table != "" && adopt.IsTable(d.Table):
		d.file = d.Table
	case write == "":
		d.file = "adopted.boot.hcl"
	case !filepath.IsLocal(write):
		return fmt.Errorf("-write=%s: name a file inside the spec's directory", write)
	case adopt.IsTable(d.file) && d.file != d.Table:
		return fmt.Errorf("-write=%s: the machines beside it do not come from this table%s", write, fromTable(d.Table))
	case !adopt.IsTable(d.file) && !strings.HasSuffix(d.file, ".boot.hcl"):
		return fmt.Errorf("-write=%s: it is neither a file *.boot.hcl nor the table that the machines beside it come from", write)
	}
	d.mode = 0o644
	info, err := d.root.Lstat(d.file)
	if errors.Is(err, fs.ErrNotExist) && !adopt.IsTable(d.file) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: it is not a regular file", d.file)
	}
	d.mode = info.Mode().Perm()
	d.text, err = d.root.ReadFile(d.file)
	return err
}

func fromTable(table string) string {
	if table == "" {
		return ", but from node blocks"
	}
	return ", but from " + table
}

// finish makes the text, checks the spec with it, and writes or prints it.
func (d *declaration) finish(ctx context.Context, env *environment, write bool) int {
	n, err := d.check(ctx, env)
	if err != nil {
		return env.fail("adopt: %v", err)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(env.stderr, "Note: %s.\n", clean(note))
	}
	if !write {
		fmt.Fprintf(env.stderr, "For %s; -write=%s appends it there.\n", d.file, d.file)
		_, _ = env.stdout.Write(d.addition)
		return exitOK
	}
	if err := d.save(); err != nil {
		return env.fail("adopt: writing %s: %v", d.file, err)
	}
	address := "an address of a pool"
	if a := n.Interfaces[0].Addr; a.IsValid() {
		address = a.String()
	}
	fmt.Fprintf(env.stdout, "Wrote %s to %s: %s, on subnet %s, groups: %s.\nNothing is bound until this is in force: see `hostler plan`.\n",
		n.Name, d.file, address, n.Interfaces[0].Subnet, strings.Join(d.Groups, ", "))
	return exitOK
}

// check evaluates the spec with the text, as validate does. A block lists as few groups as give it those of its neighbours.
func (d *declaration) check(ctx context.Context, env *environment) (*spec.Node, error) {
	if adopt.IsTable(d.file) {
		row, err := d.Row(d.text)
		if err != nil {
			return nil, err
		}
		d.addition = row
		n, _, err := d.evaluate(ctx, env, true)
		return n, err
	}
	for i := len(d.Groups) - 1; i > 0; i-- {
		d.addition = d.Block(d.Groups[i:])
		if n, groups, err := d.evaluate(ctx, env, false); err == nil && slices.Equal(groups, d.Groups) {
			return n, nil
		}
	}
	d.addition = d.Block(d.Groups)
	n, _, err := d.evaluate(ctx, env, true)
	return n, err
}

// evaluate gives the machine's node, with its groups, of the spec with the text.
func (d *declaration) evaluate(ctx context.Context, env *environment, tell bool) (n *spec.Node, groups []string, err error) {
	text := adopt.Append(d.text, d.addition, !adopt.IsTable(d.file))
	fleet, diags, err := reconcile.InChild(reconcile.Limits{})(ctx, spec.Input{Files: overlay{d.root.FS(), d.file, text}, Vars: d.vars})
	if err != nil {
		return nil, nil, err
	}
	if diags.HasErrors() {
		if tell {
			printDiagnostics(env.stderr, diags, env.color, env.width)
		}
		return nil, nil, fmt.Errorf("the spec would not be valid with this in %s:\n%s", d.file, d.addition)
	}
	i := slices.IndexFunc(fleet.Nodes, func(n spec.Node) bool { return n.Interfaces[0].MAC == d.MAC })
	switch {
	case i < 0 || len(fleet.Nodes) != len(d.before.Nodes)+1:
		return nil, nil, fmt.Errorf("the spec would not declare the machine with this in %s: is what it is made of filtered?\n%s", d.file, d.addition)
	case fleet.Nodes[i].Interfaces[0].Subnet != d.Subnet:
		return nil, nil, fmt.Errorf("the machine would be on subnet %s and not on %s with this in %s:\n%s", fleet.Nodes[i].Interfaces[0].Subnet, d.Subnet, d.file, d.addition)
	}
	n = &fleet.Nodes[i]
	return n, fleet.Profiles[n.Profile].Groups, nil
}

// save replaces the file at once. Nothing outside the spec's directory can be reached through the root.
func (d *declaration) save() error {
	tmp := path.Join(path.Dir(d.file), "."+path.Base(d.file)+".adopt")
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, d.mode)
	if err != nil {
		return err
	}
	defer d.root.Remove(tmp) // gone already when it was renamed
	_, err = f.Write(adopt.Append(d.text, d.addition, !adopt.IsTable(d.file)))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return d.root.Rename(tmp, d.file)
}
