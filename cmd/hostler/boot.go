package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"

	"hostler/render"
	"hostler/render/bootsim"
	"hostler/render/fact"
	"hostler/spec"
)

type bootOptions struct {
	load               *loadFlags
	revision, firmware string
	json, wire, force  bool
	installed, held    bool
	iface              string
}

func bootCommand() command {
	return command{
		name: "boot", args: "[DIR] NODE|MAC", synopsis: "Play a machine's whole boot, packet by packet",
		long: "Plays the conversation that a machine of the spec in DIR would have, from its first DHCP Discover to the kernel's command line, without a\n" +
			"network and without a server. Leases are empty and addresses from pools are the lowest free ones: an example, marked as such.\n" +
			"A MAC that nobody declared is played as the stranger that it is. Exits with 3 when no kernel is started.\n\n" +
			"With -wire the same conversation is held with running servers, through the named interface. No server may believe that it\n" +
			"talks to a machine that is up: a MAC with a lease on this host's server is refused without -force.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			o := &bootOptions{load: loadOptions(fs)}
			socket := socketFlag(fs)
			fs.StringVar(&o.revision, "revision", "", "Boot from this `revision` of the repository instead of the files in DIR.")
			fs.StringVar(&o.firmware, "firmware", "", "Play `KIND`: bios, uefi, uefi-http, arm64, rpi, or ipxe (a network card with an iPXE ROM).\nDefault: what the node declares, else bios.")
			fs.BoolVar(&o.wire, "wire", false, "Talk to running servers over the network.")
			fs.StringVar(&o.iface, "interface", "", "With -wire: the `interface` to send from.")
			fs.BoolVar(&o.force, "force", false, "With -wire: use the MAC of a machine that holds a lease.")
			fs.BoolVar(&o.installed, "installed", false, "Play a machine that has proved to have installed what its spec says.")
			fs.BoolVar(&o.held, "held", false, "Play a machine that an operator holds.")
			fs.BoolVar(&o.json, "json", false, "Print as JSON.")
			return func(ctx context.Context, env *environment, args []string) int {
				dir, name, ok := env.oneMachine("boot", args)
				if !ok {
					return exitError
				}
				loaded, code := env.load(ctx, dir, o.revision, o.load, false)
				if loaded == nil {
					return code
				}
				m, ok := env.machine(loaded.Snapshot, name, o.firmware)
				if !ok {
					return exitError
				}
				if o.wire {
					return env.bootWire(ctx, loaded.Snapshot, m, o, *socket)
				}
				return env.bootOffline(o.assume(loaded.Snapshot, m.MAC), m, o.json)
			}
		},
	}
}

// assume gives the snapshot in which a machine is installed or held.
func (o *bootOptions) assume(s *render.Snapshot, mac fact.MAC) *render.Snapshot {
	n, ok := s.Node(mac.String())
	if !ok || !o.installed && !o.held {
		return s
	}
	var a render.Assignment
	if o.installed {
		done := s.Script(render.Query{MAC: mac}, 0).Terms
		a.Installed = render.Installed{Digest: done.Install, MAC: mac, Image: done.Image, Boot: "EXAMPLE"}
	}
	if o.held {
		a.Hold = render.Hold{Reason: "an example", By: "an operator"}
	}
	return s.Assign(render.Assignments{Nodes: map[fact.NodeName]*render.Assignment{n.Name: &a}, Serial: 1})
}

// firmwares are the kinds of machine that can be played.
var firmwares = map[string]bootsim.Machine{
	"bios": {Arch: 0}, "uefi": {Arch: 7}, "uefi-http": {Arch: 16}, "arm64": {Arch: 11}, "rpi": {Arch: 41}, "ipxe": {Arch: 0, IPXE: true},
}

// machine finds out what hardware to play.
func (env *environment) machine(s *render.Snapshot, name, firmware string) (bootsim.Machine, bool) {
	mac, err := fact.ParseMAC(name)
	if node, ok := s.Node(name); ok {
		mac = node.MAC
		if firmware == "" {
			nodes := s.Fleet().Nodes
			i := slices.IndexFunc(nodes, func(n spec.Node) bool { return n.Name == node.Name })
			firmware = declaredFirmware(&nodes[i])
		}
	} else if err != nil {
		env.findNode(s, name)
		return bootsim.Machine{}, false
	}
	return env.hardware(s, mac, firmware)
}

// hardware is a machine with the firmware; without one, a BIOS.
func (env *environment) hardware(s *render.Snapshot, mac fact.MAC, firmware string) (bootsim.Machine, bool) {
	m, ok := firmwares[cmp.Or(firmware, "bios")]
	if !ok {
		env.fail("boot: -firmware=%s: it is bios, uefi, uefi-http, arm64, rpi or ipxe", firmware)
	}
	m.MAC, m.Loaders = mac, s
	return m, ok
}

func declaredFirmware(n *spec.Node) string {
	if n.Firmware == "uefi" && n.Arch == "arm64" {
		return "arm64"
	}
	return n.Firmware
}

func (env *environment) bootOffline(s *render.Snapshot, m bootsim.Machine, asJSON bool) int {
	network := bootsim.Offline(s, m.MAC)
	t := bootsim.Walk(network, m)
	if asJSON {
		env.json(t)
	} else {
		env.printTranscript(s, m, t)
		if !t.Booted && network.Ignored != "" {
			fmt.Fprintf(env.stdout, "hostler knows more: %s\n", network.Ignored)
		}
	}
	if !t.Booted {
		return exitNo
	}
	return exitOK
}

func (env *environment) printTranscript(s *render.Snapshot, m bootsim.Machine, t bootsim.Transcript) {
	who := m.MAC.String() + ", a machine that nobody declared"
	if n, ok := s.Node(m.MAC.String()); ok {
		who = fmt.Sprintf("%s (%s), %s", n.Address, m.MAC, n.Place)
		if !n.IP.IsValid() {
			who += "; its address is an example: the lowest that is free"
		}
	}
	fmt.Fprintf(env.stdout, "%s boots as %s\n\n%s", who, m.Arch, t)
}
