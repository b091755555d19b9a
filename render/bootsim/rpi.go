package bootsim

import (
	"bytes"
	"fmt"
	"path"
	"strings"

	"hostler/render/fact"
)

// archRPi is what a Raspberry Pi is among the machines.
const archRPi fact.Arch = 41

// rpiFacts are what the boot ROM of a Raspberry Pi 4 says: it calls itself a BIOS, and is known by option 97 (and by its card).
func (w *walker) rpiFacts() fact.Facts {
	m := w.machine.MAC
	return fact.Facts{
		MAC: m, Arch: 0, VendorClass: "PXEClient:Arch:00000:UNDI:002001", Params: "\x01\x03\x2b\x3c\x42\x43\x80\x81\x82\x83\x84\x85\x86\x87",
		UUID: "\x00RPi4" + string(m[:]) + string(m[:]), Broadcast: true,
	}
}

// runRPi plays a Raspberry Pi from its ACK on: what it looks for in option 43, its folder, config.txt, and what that names.
func (w *walker) runRPi() string {
	if b, _ := w.lease.option(43); !bytes.Contains(b, []byte("Raspberry Pi Boot")) {
		return "the DHCP reply has no option 43 with Raspberry Pi Boot"
	}
	if !w.lease.SIAddr.IsValid() {
		return "the DHCP reply names no TFTP server"
	}
	folder := w.serial() + "/"
	first := path.Base(w.lease.BootFile) // what a reply names, and a Raspberry Pi knows without
	if first == "." {
		first = "start4.elf"
	}
	if err := w.load(folder + first); err != nil {
		folder = ""
		if err := w.load(first); err != nil {
			return err.Error()
		}
	}
	f, err := w.tftp(folder + "config.txt")
	if err != nil {
		return fmt.Sprintf("%sconfig.txt: %v", folder, err)
	}
	return w.rpiConfig(folder, f.Text)
}

// serial is the serial number that names the machine's folder; of a machine that declares none it is made of its MAC.
func (w *walker) serial() string {
	m := w.machine.MAC
	if w.machine.Loaders != nil {
		if info, ok := w.machine.Loaders.Node(m.String()); ok {
			for _, n := range w.machine.Loaders.Fleet().Nodes {
				for _, id := range n.IDs {
					if n.Name == info.Name && id.Name == "serial" {
						return id.Value
					}
				}
			}
		}
	}
	return fmt.Sprintf("%x", m[2:])
}

func (w *walker) rpiConfig(folder, text string) string {
	set := map[string]string{}
	var names []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if len(line) > 98 {
			return "config.txt has a line of more than 98 characters, which a Raspberry Pi cuts off"
		}
		if files, ok := strings.CutPrefix(line, "initramfs "); ok {
			files, _, _ = strings.Cut(files, " ")
			names = strings.Split(files, ",")
		} else if key, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			set[key] = value
		}
	}
	if set["kernel"] == "" || set["cmdline"] == "" {
		return "config.txt names no kernel, or no command line"
	}
	f, err := w.tftp(folder + set["cmdline"])
	if err != nil {
		return fmt.Sprintf("%s: %v", set["cmdline"], err)
	}
	for _, name := range append([]string{set["kernel"]}, names...) {
		if err := w.load(folder + name); err != nil {
			return err.Error()
		}
	}
	w.boot(strings.TrimSpace(f.Text))
	return ""
}
