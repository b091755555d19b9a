package examples

import (
	"os"
	"path/filepath"
	"testing"

	"hostler/examples/vm"
)

// Machines with boot = "disk": the network is first in their boot order, and after hostler's answer they boot from the disk.
func TestFirmwareBootsDisk(t *testing.T) {
	t.Parallel() // while a machine of one waits for its firmware's timers, one of the other has the processor
	lab := runningFleet(t, "firmware")
	for _, c := range []struct{ machine, disk string }{
		{"disk-bios", biosDisk(t)},
		{"disk-pxelinux", biosDisk(t)},
		{"disk-uefi", uefiDisk(t)},
		{"disk-http", uefiDisk(t)},
	} {
		t.Run(c.machine, func(t *testing.T) {
			t.Parallel()
			ctx := oneBoot(t)
			m := machines[c.machine]
			m.Disk = c.disk
			g, err := lab.Network.Boot(ctx, m)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.Line(ctx, "DISK BOOTED"); err != nil {
				t.Fatal(err)
			}
			if err := g.PoweredOff(ctx); err != nil {
				t.Error(err)
			}
			newestBoot(t, lab, c.machine) // or it would not have asked
		})
	}
}

// A machine with boot = "install" boots from the network until it has reported that it is ready, and from its disk from then on.
func TestInstallsOnce(t *testing.T) {
	t.Parallel()
	lab := runningFleet(t, "lab")
	ctx := oneBoot(t)
	if err := lab.Edit("  image = image.busybox\n", "  image = image.busybox\n  boot  = \"install\"\n"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Commit(ctx, "install"); err != nil {
		t.Fatal(err)
	}
	if err := lab.Served(ctx); err != nil {
		t.Fatal(err)
	}
	m := machines["bios1"]
	m.Disk = biosDisk(t)
	for _, line := range []string{"GUEST READY", "DISK BOOTED"} {
		ctx := oneBoot(t)
		g, err := lab.Network.Boot(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.Line(ctx, line); err != nil {
			t.Fatal(err)
		}
		if err := g.PoweredOff(ctx); err != nil {
			t.Error(err)
		}
	}
}

// biosDisk is a disk whose boot sector says so, on the serial port, and restarts the machine.
func biosDisk(t *testing.T) string {
	t.Helper()
	const program = "\xfa\x31\xc0\x8e\xd8" + // cli; xor ax, ax; mov ds, ax
		"\xbe\x1a\x7c" + // mov si, text
		"\xac\x84\xc0\x74\x08" + // next: lodsb; test al, al; jz end
		"\xb4\x01\x31\xd2\xcd\x14" + // mov ah, 1; xor dx, dx; int 14h: sends al by the first serial port
		"\xeb\xf3" + // jmp next
		"\xb0\xfe\xe6\x64\xf4" + // end: mov al, 0feh; out 64h, al; hlt: the keyboard controller restarts the machine
		"\r\nDISK BOOTED\r\n"
	sector := make([]byte, 1<<20)
	copy(sector, program)
	copy(sector[510:], "\x55\xaa")
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, sector, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// uefiDisk is a disk with GRUB as the program that firmware starts when it knows nothing else of the disk.
func uefiDisk(t *testing.T) string {
	t.Helper()
	guest, err := vm.GuestFiles()
	if err != nil {
		t.Fatal(err)
	}
	grub, err := os.ReadFile(filepath.Join(guest, "loaders", "grub-disk.efi"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI": grub,
		"EFI/debian/grub.cfg":  []byte("serial --unit=0 --speed=115200\nterminal_output serial\necho DISK BOOTED\nhalt\n"),
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return "fat:" + dir
}
