package bootsim

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
)

// web is a network that answers every machine with a script, and has files.
type web map[string]string

func (w web) DHCP(f fact.Facts) ([]Reply, error) {
	m := fact.Offer
	if f.Message == fact.Request {
		m = fact.Ack
	}
	a := netip.MustParseAddr("10.0.0.1")
	return []Reply{{Message: m, YIAddr: a, SIAddr: a, ServerID: a, BootFile: "http://h/boot/v1/bootscript?mac=x"}}, nil
}

func (w web) TFTP(netip.Addr, string, bool) (File, error) { return File{}, errNotFound }

func (w web) HTTP(url string) (File, error) {
	text, ok := w[url]
	switch {
	case !ok:
		return File{}, errNotFound
	case text == "":
		return File{Size: 10, Digest: "d"}, nil
	}
	return File{Size: int64(len(text)), Text: text}, nil
}

// TestScript runs scripts as iPXE would: src/core/exec.c, src/image/script.c and src/core/settings.c say how.
func TestScript(t *testing.T) {
	for _, x := range []struct {
		name, script string
		uefi         bool
		cmdline      string // or
		reason       string
	}{
		{name: "kernel and initrd", script: "kernel --name k http://h/k a=1  b=2\ninitrd http://h/i\nboot", cmdline: "a=1 b=2"},
		{name: "uefi puts the name first", script: "kernel --name k http://h/k a=1\nboot", uefi: true, cmdline: "k a=1"},
		{name: "a kernel without a name is called by its URL", script: "kernel http://h/k a\nboot", uefi: true, cmdline: "k a"},
		{name: "a word that begins with # ends the line", script: "kernel http://h/k a #b c\nboot", cmdline: "a"},
		{name: "a # inside a word does not", script: "kernel http://h/k a#b\nboot", cmdline: "a#b"},
		{name: "quotes mean nothing", script: "kernel http://h/k a=\"b  c\"\nboot", cmdline: `a="b c"`},
		{name: "settings are expanded, from the inside", script: "kernel http://h/k ${platform} ${nothing} ${net0/${nothing}mac}\nboot", cmdline: "pcbios  52:54:00:00:00:01"},
		{name: "a setting that is not closed is text", script: "kernel http://h/k ${a b}\nboot", cmdline: "${a b}"},
		{name: "a backslash continues a line", script: "kernel http://h/k a \\\n b\nboot", cmdline: "a b"},
		{name: "carriage returns", script: "kernel http://h/k a\r\nboot\r\n", cmdline: "a"},
		{name: "or after a failure", script: "kernel http://h/none || kernel http://h/k second\nboot", cmdline: "second"},
		{name: "or after a success", script: "kernel http://h/k first || kernel http://h/k second\nboot", cmdline: "first"},
		{name: "and", script: "iseq a a && kernel http://h/k x && boot", cmdline: "x"},
		{name: "semicolon", script: "iseq a b ; kernel http://h/k x\nboot", cmdline: "x"},
		{name: "an empty command succeeds", script: "iseq a b ||\nkernel http://h/k x\nboot", cmdline: "x"},
		{name: "goto skips", script: "goto end\nexit 1\n:end\nkernel http://h/k x\nboot", cmdline: "x"},
		{name: "goto leaves its line", script: "goto end && exit 1\n:end kernel http://h/k x\nboot", cmdline: "x"},
		{name: "the first label counts", script: "goto a\n:a kernel http://h/k first\nboot\n:a exit 1", cmdline: "first"},
		{name: "an unknown label fails", script: "goto nowhere", reason: "iPXE: no label nowhere"},
		{name: "an unknown command fails", script: "frobnicate", reason: "iPXE: frobnicate: command not found"},
		{name: "a failure ends the script", script: "kernel http://h/none\nkernel http://h/k\nboot", reason: "http://h/none: not found"},
		{name: "boot without a kernel", script: "boot", reason: "iPXE: boot: no image is loaded"},
		{name: "no boot", script: "echo hello", reason: "hello"},
		{name: "empty", script: "", reason: "the script ends without booting"},
		{name: "a loop", script: ":a\ngoto a", reason: "the script does not end"},
		{name: "a kernel that is a text", script: "kernel http://h/script\nboot", reason: "http://h/script: a text, not an image"},
		{name: "an option that iPXE does not have", script: "kernel --nam k http://h/k\nboot", reason: "iPXE: unknown option --nam"},
		{name: "settings of the script", script: "set a:string b c\nset d\nkernel http://h/k ${a} ${a:uristring} [${d}]\nboot", cmdline: "b c b c []"},
		{name: "arguments that come later", script: "kernel --name k http://h/k\nimgargs k a b\nboot k", cmdline: "a b"},
		{name: "arguments of another image", script: "kernel --name k http://h/k\nimgargs x a b\nboot", reason: "iPXE: imgargs: no such image"},
		{name: "commands that do not matter here", script: "dhcp net0\nifstat\nimgfree\nkernel http://h/k a\nboot", cmdline: "a"},
		{name: "reboot", script: "reboot", reason: "the script ends with reboot"},
		{name: "chain to another script", script: "chain http://h/other", cmdline: "other"},
		{name: "chain to itself without a retry", script: "chain http://h/boot/v1/bootscript?mac=x", reason: "more than 8 scripts load each other"},
		{name: "chain to nothing", script: "chain http://h/none", reason: "http://h/none: not found"},
		{name: "the script asks again", script: "echo hostler: held\nsleep 3\nchain --replace http://h/boot/v1/bootscript?mac=x&retry=1", reason: "held"},
		{name: "sleep needs a number", script: "sleep soon", reason: "iPXE: sleep soon: not a number"},
		{name: "a failed kernel is the reason, not what is echoed", script: "echo hello\nkernel http://h/none || goto r\n:r\nchain http://h/boot/v1/bootscript?mac=x&retry=1", reason: "http://h/none: not found"},
	} {
		t.Run(x.name, func(t *testing.T) {
			n := web{
				"http://h/boot/v1/bootscript?mac=x": "#!ipxe\n" + x.script, "http://h/k": "", "http://h/i": "",
				"http://h/script": "#!ipxe\n", "http://h/other": "#!ipxe\nkernel http://h/k other\nboot\n",
			}
			m := Machine{MAC: mac("52:54:00:00:00:01"), IPXE: true}
			if x.uefi {
				m.Arch = 7
			}
			got := Walk(n, m)
			if got.Booted != (x.cmdline != "") || got.Cmdline != x.cmdline || got.Reason != x.reason {
				t.Errorf("booted %t with %q, reason %q; want %q, reason %q", got.Booted, got.Cmdline, got.Reason, x.cmdline, x.reason)
			}
		})
	}
}

// TestBadScript is about what is not a script at all.
func TestBadScript(t *testing.T) {
	for text, want := range map[string]string{
		"<html>":      "http://h/boot/v1/bootscript?mac=x: not an iPXE script",
		"#!ipxe":      "http://h/boot/v1/bootscript?mac=x: not an iPXE script", // iPXE wants white space after the mark
		"#!/bin/sh\n": "http://h/boot/v1/bootscript?mac=x: not an iPXE script",
	} {
		got := Walk(web{"http://h/boot/v1/bootscript?mac=x": text}, Machine{MAC: mac("52:54:00:00:00:01"), IPXE: true})
		if got.Booted || got.Reason != want {
			t.Errorf("%q: %q, want %q", text, got.Reason, want)
		}
	}
}

// FuzzScript: no script makes the machine hang or fall over, and none boots without a kernel.
func FuzzScript(f *testing.F) {
	for _, s := range []string{"kernel http://h/k a\nboot", ":a\ngoto a", "chain http://h/boot/v1/bootscript?mac=x", "${${}}", "a || b && c ; #", "\\\n\\", "goto", ": :"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := web{"http://h/boot/v1/bootscript?mac=x": "#!ipxe\n" + s, "http://h/k": ""}
		got := Walk(n, Machine{MAC: mac("52:54:00:00:00:01"), IPXE: true})
		if got.Booted && !strings.Contains(s, "kernel") && !strings.Contains(s, "img") {
			t.Errorf("boots without a kernel: %+v", got)
		}
		if !got.Booted && got.Reason == "" {
			t.Error("neither booted nor a reason")
		}
	})
}

// FuzzPXELinux is the same for configurations of pxelinux.
func FuzzPXELinux(f *testing.F) {
	for _, s := range []string{"DEFAULT a\nLABEL a\n KERNEL http://h/k\n APPEND initrd=http://h/i x", "DEFAULT a", "LABEL", "APPEND -", "DEFAULT a\nLABEL a\n LOCALBOOT -1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w := walker{net: web{"http://h/k": "", "http://h/i": ""}}
		w.ended(w.pxelinuxConfig(s))
		if !w.t.Booted && w.t.Reason == "" {
			t.Error("neither booted nor a reason")
		}
	})
}

// FuzzKernelArgument: whatever Render lets through arrives at the kernel byte for byte, through iPXE's splitting and
// expanding, and through the kernel's own quoting.
func FuzzKernelArgument(f *testing.F) {
	for _, s := range []string{"ttyS0,115200n8", "a b", "a  b", "a #b", "#", "${x}", "${x", "a ${ b}", "||", "a || b", "a ; b", "-- x", `\`, `a"b`, "a=b&c+d%20", " a", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, "\x00\"") || len(value) > 1000 { // spec.Parse refuses quotes, and NUL marks late values
			return
		}
		fleet := lab()
		args := &fleet.Profiles[0].Settings.KernelArgs
		*args = (*args)[:0:0]
		fleet.Nodes = fleet.Nodes[:1]
		(*args) = append(*args, kernelArg("x", value))
		s, _ := render.Render(fleet, artifacts(fleet), render.Assignments{})
		if s == nil {
			return
		}
		m := Machine{MAC: node(s, "bios1")}
		want := "initrd=initrd x=" + value + " hostler.boot=<boot>"
		if strings.ContainsAny(value, " \t\v\f") {
			want = `initrd=initrd x="` + value + `" hostler.boot=<boot>`
		}
		if got := Walk(Offline(s, m.MAC), m); got.Cmdline != mask(want) {
			t.Errorf("%q arrives as %q, reason %q", value, got.Cmdline, got.Reason)
		}
	})
}

// silent is a network on which one step fails.
type silent struct {
	Network
	message      fact.Message
	tftp, nak    bool
	reply        func(*Reply)
	failing, err string
}

func (n silent) DHCP(f fact.Facts) ([]Reply, error) {
	if f.Message == n.message {
		if n.nak {
			return []Reply{{Message: fact.Nak}}, nil
		}
		return nil, errSilence
	}
	rs, err := n.Network.DHCP(f)
	for i := range rs {
		if n.reply != nil {
			n.reply(&rs[i])
		}
	}
	return rs, err
}

func (n silent) TFTP(a netip.Addr, name string, probe bool) (File, error) {
	if n.tftp {
		return File{}, errNotFound
	}
	return n.Network.TFTP(a, name, probe)
}

func (n silent) HTTP(url string) (File, error) {
	if n.failing != "" && strings.Contains(url, n.failing) {
		return File{}, errors.New(n.err)
	}
	return n.Network.HTTP(url)
}

// TestBrokenSteps breaks one step at a time, and wants to be told which.
func TestBrokenSteps(t *testing.T) {
	s := snapshot(t, lab())
	bios, http := Machine{MAC: node(s, "bios1")}, Machine{MAC: node(s, "uefi1"), Arch: 16}
	for _, x := range []struct {
		name string
		m    Machine
		n    silent
		want string
	}{
		{"no offer", bios, silent{message: fact.Discover}, "no DHCP offer: no server answers this machine"},
		{"no ack", bios, silent{message: fact.Request}, "no DHCP ACK: the server does not answer the request"},
		{"nak", bios, silent{message: fact.Request, nak: true}, "the server refuses the address 10.77.0.11 that it offered"},
		{"no loader", bios, silent{tftp: true}, "boot file undionly.kpxe: not found"},
		{"no script", bios, silent{failing: "bootscript", err: "500"}, "http://10.77.0.1:8080/boot/v1/bootscript?mac=52:54:00:77:00:01: 500"},
		{"a URL for PXE", bios, silent{reply: func(r *Reply) { r.BootFile = "http://h/x" }}, "boot file http://h/x: PXE firmware loads by TFTP only"},
		{"a name for HTTP boot", http, silent{reply: func(r *Reply) { r.BootFile = "ipxe.efi" }}, "boot file ipxe.efi: UEFI HTTP boot needs a URL"},
		{"no HTTPClient", http, silent{reply: func(r *Reply) { r.Options = nil }}, "UEFI HTTP boot takes only replies with option 60 HTTPClient"},
		{"no URL for iPXE", Machine{MAC: bios.MAC, IPXE: true}, silent{reply: func(r *Reply) { r.BootFile = "undionly.kpxe" }}, "more than 4 loaders load each other"},
		{"no initrd for pxelinux", Machine{MAC: node(s, "pxe1")}, silent{failing: "initrd.gz", err: "gone"}, "gone"},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.n.Network = Offline(s, x.m.MAC)
			got := Walk(x.n, x.m)
			if got.Booted || !strings.HasSuffix(got.Reason, x.want) {
				t.Errorf("booted %t, reason %q, want %q", got.Booted, got.Reason, x.want)
			}
		})
	}
}

// TestConfigNames is the order of pxelinux when no option says otherwise.
func TestConfigNames(t *testing.T) {
	w := walker{machine: Machine{MAC: mac("88:99:aa:bb:cc:dd")}, lease: Reply{YIAddr: netip.MustParseAddr("192.168.2.91")}}
	want := strings.Fields(`pxelinux.cfg/01-88-99-aa-bb-cc-dd pxelinux.cfg/C0A8025B pxelinux.cfg/C0A8025 pxelinux.cfg/C0A802
		pxelinux.cfg/C0A80 pxelinux.cfg/C0A8 pxelinux.cfg/C0A pxelinux.cfg/C0 pxelinux.cfg/C pxelinux.cfg/default`)
	if d := cmp.Diff(want, w.configNames("")); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestMask(t *testing.T) {
	for in, want := range map[string]string{
		"x hostler.boot=01JD0123456789ABCDEFGHJKMN.abcdefghijklmnopqrstuvwxyz y": "x hostler.boot=<boot> y",
		"hostler.boot=none": "hostler.boot=<boot>",
		"http://h/config/motd?boot=01JD0123456789ABCDEFGHJKMN.ABCDEFGHIJKLMNOPQRSTUVWXYZ": "http://h/config/motd?boot=<boot>",
		"reboot=warm": "reboot=warm",
	} {
		if got := mask(in); got != want {
			t.Errorf("mask(%q) = %q, want %q", in, got, want)
		}
	}
}
