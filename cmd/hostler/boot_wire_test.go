package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const pxelinuxSpec = `
loader "pxelinux" {
  path = "lpxelinux.0"
  file "ldlinux.c32" {
    path = "ldlinux.c32"
  }
}

node "old1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:03"
  address = "10.77.0.13"
  groups  = [group.compute]
  loader  = loader.pxelinux
}

loader "shim" {
  path = "shimx64.efi"
  file "grubx64.efi" {
    path = "grubx64.efi"
  }
}

loader "grub" {
  path      = "grubnet.efi"
  transport = "http"
}

loader "rpi" {
  client_arch = ["arm-rpiboot"]
  path        = "start4.elf"
}

node "secure1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:04"
  address = "10.77.0.14"
  groups  = [group.compute]
  loader  = loader.shim
}

node "grub1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:05"
  address = "10.77.0.15"
  groups  = [group.compute]
  loader  = loader.grub
}

node "pi1" {
  subnet   = subnet.lab
  mac      = "dc:a6:32:77:00:06"
  address  = "10.77.0.16"
  firmware = "rpi"
  groups   = [group.compute]
  ids      = { serial = "9ffefdef" }
}
`

// TestWire holds the simulator against running servers: a boot played in memory and one played on a network have equal
// transcripts, from the first Discover to the kernel's command line.
func TestWire(t *testing.T) {
	l := newLab(t)
	must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:fe") // two cards on one wire have two MACs
	repo, files := l.repository(), l.files()
	if err := os.WriteFile(filepath.Join(repo, "old.boot.hcl"), []byte(pxelinuxSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, size := range map[string]int{"lpxelinux.0": 90_000, "ldlinux.c32": 2 * 1456, "shimx64.efi": 9000, "grubx64.efi": 10_000,
		"grubnet.efi": 11_000, "start4.elf": 12_000} {
		if err := os.WriteFile(filepath.Join(repo, name), make([]byte, size), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l.commit(repo, "an old machine")
	s := l.serve("-var", "files="+files, repo)
	for _, c := range []struct{ name, machine, firmware string }{
		{"BIOS PXE, then iPXE", "bios1", "bios"},
		{"UEFI PXE, then iPXE, address from a pool", "uefi1", "uefi"},
		{"UEFI HTTP boot", "uefi1", "uefi-http"},
		{"a ROM that is iPXE", "bios1", "ipxe"},
		{"pxelinux", "old1", "bios"},
		{"pxelinux, by a ROM that is iPXE", "old1", "ipxe"},
		{"shim and GRUB, kernel by TFTP", "secure1", "uefi"},
		{"GRUB, kernel by HTTP", "grub1", "uefi"},
		{"Raspberry Pi", "pi1", "rpi"},
		{"nobody declared it", "52:54:00:00:00:99", "bios"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"boot", "-var", "files=" + files, "-firmware=" + c.firmware, repo, c.machine}
			inMemory, code := s.hostler(args...)
			onWire, err := l.inMachine("hostler", append(args, "-wire", "-interface=eth0")...)
			if (code == exitOK) != (err == nil) {
				t.Errorf("in memory it exits with %d, on the wire: %v", code, err)
			}
			if c.name == "nobody declared it" { // a machine on the network cannot know why it is met with silence
				inMemory = inMemory[:len(onWire)]
			}
			if diff := cmp.Diff(inMemory, onWire); diff != "" {
				t.Errorf("the transcripts differ (-memory +wire):\n%s", diff)
			}
			if out, _ := s.hostler("boots", c.machine); c.machine != "52:54:00:00:00:99" && strings.Contains(out, "  Cause  ") {
				t.Errorf("a boot that is well is explained:\n%s", out)
			}
		})
	}
	t.Run("a live machine's MAC is refused", func(t *testing.T) {
		out, code := s.hostler("boot", "-var", "files="+files, repo, "bios1", "-wire", "-interface=eth0")
		want := "hostler: boot: 52:54:00:77:00:01 holds the lease of 10.77.0.11 until "
		if code != exitError || len(out) < len(want) || out[:len(want)] != want {
			t.Errorf("exit %d: %s", code, out)
		}
	})
}
