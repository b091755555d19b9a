package main

import (
	"context"
	"flag"
	"fmt"

	"hostler/render"
	"hostler/render/fact"
)

func renderCommand() command {
	return command{
		name: "render", args: "[DIR]", synopsis: "Print what would be served, for other tools",
		long: "Prints the rendered state of the spec in DIR as JSON: every node with its addresses, image, kernel command line and boot\n" +
			"script. The same spec gives the same bytes every time. With -node, only that node's boot script, as text.\n" +
			"Values that are known only when a machine asks stand as <kind>.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			load := loadOptions(fs)
			revision := fs.String("revision", "", "Render this `revision` of the repository instead of the files in DIR.")
			node := fs.String("node", "", "Print this `node`'s boot script.")
			pxelinux := fs.Bool("pxelinux", false, "With -node, print its pxelinux configuration instead.")
			return func(ctx context.Context, env *environment, args []string) int {
				dir, ok := env.oneDir("render", args)
				if !ok {
					return exitError
				}
				loaded, code := env.load(ctx, dir, *revision, load, false)
				if loaded == nil {
					return code
				}
				if *node != "" {
					return env.renderNode(loaded.Snapshot, *node, *pxelinux)
				}
				return env.renderAll(loaded.Snapshot)
			}
		},
	}
}

func (env *environment) renderNode(s *render.Snapshot, name string, pxelinux bool) int {
	n, ok := env.findNode(s, name)
	if !ok {
		return exitError
	}
	text := s.Script(render.Query{MAC: n.MAC}, 0).Text
	if pxelinux {
		f, ok := s.File("pxelinux.cfg/01-"+n.MAC.Dashed(), n.MAC)
		if !ok {
			return env.fail("%s: no pxelinux configuration: the node boots nothing by pxelinux", n.Name)
		}
		text = f.Text
	}
	fmt.Fprint(env.stdout, text.String())
	return exitOK
}

func (env *environment) renderAll(s *render.Snapshot) int {
	type node struct {
		render.NodeInfo
		Script string `json:"script"`
	}
	all := struct {
		FormatVersion string      `json:"format_version"`
		Digest        fact.Digest `json:"digest"`
		Nodes         []node      `json:"nodes"`
	}{FormatVersion: "1.0", Digest: s.Digest()}
	for _, n := range s.Nodes() {
		all.Nodes = append(all.Nodes, node{n, s.Script(render.Query{MAC: n.MAC}, 0).Text.String()})
	}
	return env.json(all)
}
