package main

import (
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"hostler/reconcile"
	"hostler/render"
)

// example shows the whole kernel command line of the group's first node, before and after, when it changes.
func (p *planPrinter) example(g reconcile.PlanGroup) {
	p.texts(g)
	shown := g.Action == "+"
	for _, d := range g.Deltas {
		shown = shown || strings.HasPrefix(d.Path, "kernel_args") || d.Path == "image"
	}
	if !shown {
		return
	}
	var lines []string
	for _, side := range []struct {
		sign string
		s    *render.Snapshot
	}{{"-", p.old}, {"+", p.new}} {
		if side.s == nil {
			continue
		}
		if n, ok := side.s.Node(string(g.Nodes[0])); ok {
			lines = append(lines, p.paint(side.sign, "      "+side.sign+" "+n.KernelArgs))
		}
	}
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(p.env.stdout, "\n      example %s\n%s\n", g.Nodes[0], strings.Join(lines, "\n"))
}

// texts shows the lines that change in the texts of the group's first node.
func (p *planPrinter) texts(g reconcile.PlanGroup) {
	for _, d := range g.Deltas {
		name, ok := strings.CutPrefix(d.Path, "text.")
		if !ok || p.old == nil || p.new == nil {
			continue
		}
		old, err := p.old.Config(g.Nodes[0], name)
		new, nerr := p.new.Config(g.Nodes[0], name)
		if err != nil || nerr != nil {
			continue
		}
		fmt.Fprintf(p.env.stdout, "\n      example %s of %s\n", d.Path, g.Nodes[0])
		lines := strings.Split(strings.TrimSuffix(string(diff.Diff("", []byte(old.Text.String()), "", []byte(new.Text.String()))), "\n"), "\n")
		shown := 0
		for _, line := range lines[min(3, len(lines)):] { // behind the names of the files
			if line == "" || line[0] != '-' && line[0] != '+' {
				continue
			}
			if shown++; shown > 10 && !p.full {
				fmt.Fprintln(p.env.stdout, "      ... (-full shows all)")
				break
			}
			fmt.Fprintln(p.env.stdout, p.paint(line[:1], "      "+line[:1]+" "+cut(line[1:], p.env.width-8)))
		}
	}
}
