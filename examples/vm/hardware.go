package vm

import (
	"fmt"
	"os"
	"path/filepath"
)

// Firmware is what a machine starts with.
type Firmware string

// The kinds of firmware.
const (
	BIOS       Firmware = "bios"        // SeaBIOS and, as the network card's ROM, QEMU's iPXE
	UEFI       Firmware = "uefi"        // OVMF, whose own PXE client fetches a loader
	UEFIHTTP   Firmware = "uefi-http"   // OVMF without PXE, whose HTTP boot client fetches a loader by its URL
	SecureBoot Firmware = "secure-boot" // OVMF with Microsoft's keys: it runs what they signed and nothing else
	ARM64      Firmware = "arm64"       // UEFI for 64-bit ARM
)

// hardware is a kind of computer: what QEMU is told.
type hardware struct {
	program string
	args    []string
	nic     string // the network card's properties
	code    string // of UEFI, in flash memory
	vars    string // the variable store, of which each machine has a copy
}

const (
	ovmf  = "/usr/share/OVMF/"
	aavmf = "/usr/share/AAVMF/"
	// noROM leaves the card's own boot code out, so that UEFI's driver and network client are what boots.
	noROM = ",romfile="
)

// hardwareOf is the table of computers. They run without hardware virtualisation on purpose: it works everywhere, and the
// timing of the firmware is the same everywhere.
func hardwareOf(f Firmware) (hardware, bool) {
	// Or OVMF would try IPv6 for two minutes, before HTTP boot as before it goes on to the disk.
	noIPv6 := []string{"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6Support,string=n"}
	h, ok := map[Firmware]hardware{
		BIOS: {program: "qemu-system-x86_64", args: []string{"-m", "512"}},
		UEFI: {
			program: "qemu-system-x86_64", nic: noROM,
			args: append([]string{"-machine", "q35", "-m", "1024"}, noIPv6...),
			code: ovmf + "OVMF_CODE_4M.fd", vars: ovmf + "OVMF_VARS_4M.fd",
		},
		UEFIHTTP: {
			program: "qemu-system-x86_64", nic: noROM,
			// Or the firmware would try PXE first.
			args: append([]string{"-machine", "q35", "-m", "1024", "-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"}, noIPv6...),
			code: ovmf + "OVMF_CODE_4M.fd", vars: ovmf + "OVMF_VARS_4M.fd",
		},
		SecureBoot: {
			program: "qemu-system-x86_64", nic: noROM,
			// The variables can be changed in system management mode only, or the keys would protect nothing.
			args: []string{"-machine", "q35,smm=on", "-m", "1024", "-global", "driver=cfi.pflash01,property=secure,value=on"},
			code: ovmf + "OVMF_CODE_4M.secboot.fd", vars: ovmf + "OVMF_VARS_4M.ms.fd",
		},
		ARM64: {
			program: "qemu-system-aarch64", args: []string{"-machine", "virt", "-cpu", "cortex-a57", "-m", "1024"}, nic: noROM,
			code: aavmf + "AAVMF_CODE.fd", vars: aavmf + "AAVMF_VARS.fd",
		},
	}[f]
	return h, ok
}

// command is QEMU's command line for a machine whose cable ends in the interface tap.
func (n *Network) command(m Machine, tap string) (program string, args []string, err error) {
	h, ok := hardwareOf(m.Firmware)
	if !ok {
		return "", nil, fmt.Errorf("no such firmware: %q", m.Firmware)
	}
	args = append([]string{"-accel", "tcg", "-display", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot",
		"-netdev", "tap,id=n0,script=no,downscript=no,ifname=" + tap,
		"-device", "virtio-net-pci,bootindex=1,netdev=n0,mac=" + m.MAC + h.nic}, h.args...)
	if m.Disk != "" { // tried after the network
		args = append(args, "-drive", "if=none,id=d0,format=raw,readonly=on,file="+m.Disk, "-device", "virtio-blk-pci,bootindex=2,drive=d0")
	}
	if h.code != "" {
		vars := filepath.Join(n.dir, tap+".vars")
		initial, err := os.ReadFile(h.vars)
		if err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(vars, initial, 0o600); err != nil {
			return "", nil, err
		}
		args = append(args, "-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+h.code, "-drive", "if=pflash,format=raw,unit=1,file="+vars)
	}
	return h.program, args, nil
}
