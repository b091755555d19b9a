package bootsim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// params are the options that PXE firmware asks for (PXE 2.1 table 2-1, and 66 and 67).
const params = "\x01\x02\x03\x04\x05\x06\x0c\x0d\x0f\x11\x12\x16\x17\x1c\x28\x29\x2a\x2b\x32\x33\x36\x3a\x3b\x3c\x42\x43\x61\x80\x81\x82\x83\x84\x85\x86\x87"

// blockSize is what ROMs ask for: the largest block in an Ethernet frame with room for tunnels.
const blockSize = 1456

// firmware boots until a kernel runs; it returns why none does.
func (w *walker) firmware() string {
	if w.machine.IPXE {
		return w.runIPXE()
	}
	if reason := w.dora(w.romFacts()); reason != "" {
		return reason
	}
	if w.machine.Arch == archRPi {
		return w.runRPi()
	}
	file := w.lease.BootFile
	switch {
	case w.bootsDisk():
		w.row("-", "firmware", "%s", nextEntry)
		return nextEntry
	case file == "":
		return "the DHCP reply names no boot file"
	case strings.HasPrefix(file, "http://"):
		if !w.machine.Arch.HTTPBoot() {
			return fmt.Sprintf("boot file %s: PXE firmware loads by TFTP only", file)
		}
		if !w.echoes("HTTPClient") {
			return "UEFI HTTP boot takes only replies with option 60 HTTPClient"
		}
		if _, err := w.get(file); err != nil {
			return err.Error()
		}
	case w.machine.Arch.HTTPBoot():
		return fmt.Sprintf("boot file %s: UEFI HTTP boot needs a URL", file)
	default:
		if reason := w.download(file); reason != "" {
			return reason
		}
	}
	return w.runLoader(file)
}

// maxLoaders bounds loaders that load each other.
const maxLoaders = 4

// runLoader starts the program that was loaded.
func (w *walker) runLoader(file string) string {
	if w.loaders++; w.loaders > maxLoaders {
		return fmt.Sprintf("more than %d loaders load each other", maxLoaders)
	}
	switch w.machine.program(file) {
	case spec.LoaderPXELinux:
		if w.machine.Arch.UEFI() {
			return fmt.Sprintf("boot file %s: pxelinux is a program for a BIOS", file)
		}
		config, _ := w.option(209)
		return w.runPXELinux(string(config))
	case spec.LoaderGRUB:
		return w.runGRUB(file)
	}
	if slices.Contains([]string{"undionly.kpxe", "ipxe.efi", "snp.efi"}, path.Base(file)) {
		w.userClass = "Tinkerbell" // which the embedded script sets
	}
	return w.runIPXE()
}

// nextEntry is how a boot from the disk ends for the network.
const nextEntry = "leaves the network: firmware goes on to its next boot entry"

// bootsDisk says whether the reply holds PXE's boot menu (sub-option 9 of option 43) with the local disk, type 0, as its first entry, or
// sends UEFI HTTP boot to where nothing is.
func (w *walker) bootsDisk() bool {
	b, _ := w.option(43)
	return bytes.HasPrefix(b, []byte{9, 7, 0, 0}) || strings.HasSuffix(w.lease.BootFile, render.DiskURLPath)
}

func (w *walker) romFacts() fact.Facts {
	if w.machine.Arch == archRPi {
		return w.rpiFacts()
	}
	class := "PXEClient:Arch:%05d:UNDI:002001"
	switch {
	case w.machine.Arch.HTTPBoot():
		class = "HTTPClient:Arch:%05d:UNDI:003001"
	case w.machine.Arch.UEFI():
		class = "PXEClient:Arch:%05d:UNDI:003016"
	}
	return fact.Facts{
		MAC: w.machine.MAC, Arch: w.machine.Arch, VendorClass: fmt.Sprintf(class, w.machine.Arch),
		Params: params, MaxSize: 1260, Broadcast: !w.machine.Arch.UEFI(),
	}
}

// ipxeFacts is the second round: the same machine, another program.
func (w *walker) ipxeFacts() fact.Facts {
	f := w.romFacts()
	f.UserClass, f.IPXE, f.Broadcast = cmp.Or(w.userClass, "iPXE"), true, false
	return f
}

// dora does a four-way exchange; it returns why there is no lease.
func (w *walker) dora(f fact.Facts) string {
	f.Message = fact.Discover
	who := f.Arch.String() + " firmware"
	if f.IPXE {
		who = "iPXE"
	}
	if !f.IPXE && w.machine.Arch == archRPi {
		who = "the boot ROM of a Raspberry Pi,"
	}
	w.client("DHCP Discover", "%s of %s asks for an address", who, f.MAC)
	offers, err := w.net.DHCP(f)
	if err != nil || len(offers) == 0 {
		return "no DHCP offer: no server answers this machine"
	}
	offer, proxy := sortOffers(offers)
	if offer == nil {
		w.server("DHCP Offer", "%s", describe(*proxy))
		return "no DHCP offer with an address: the site's own DHCP server does not answer this machine"
	}
	told := w.teller(offer, proxy)
	told("DHCP Offer", offer)
	if proxy != nil {
		w.server("DHCP Offer", "%s", describe(*proxy))
	}
	if reason := w.take(f, offer, told); reason != "" || proxy == nil {
		return reason
	}
	return w.takeProxy(f, proxy)
}

// take asks for the address that was offered.
func (w *walker) take(f fact.Facts, offer *Reply, told func(string, *Reply)) string {
	f.Message, f.Requested, f.ServerID = fact.Request, offer.YIAddr, offer.ServerID
	if w.machine.Arch == archRPi {
		f.VendorClass = "" // it does not say it again
	}
	w.client("DHCP Request", "takes %s from %s", f.Requested, f.ServerID)
	acks, err := w.net.DHCP(f)
	switch {
	case err != nil || len(acks) == 0:
		return "no DHCP ACK: the server does not answer the request"
	case acks[0].Message == fact.Nak:
		w.server("DHCP NAK", "refuses %s", f.Requested)
		return fmt.Sprintf("the server refuses the address %s that it offered", f.Requested)
	}
	told("DHCP ACK", &acks[0])
	w.lease = acks[0]
	return ""
}

// describe gives what matters of a DHCP reply for the boot.
func describe(r Reply) string {
	parts := []string{r.YIAddr.String()}
	if !r.YIAddr.IsValid() {
		parts[0] = "no address"
	}
	for _, o := range r.Options {
		switch {
		case o.Code == 12:
			parts = append(parts, "host name "+string(o.Data))
		case o.Code == 51 && len(o.Data) == 4:
			parts = append(parts, fmt.Sprintf("for %d s", binary.BigEndian.Uint32(o.Data)))
		}
	}
	if r.SIAddr.IsValid() {
		parts = append(parts, "next-server "+r.SIAddr.String())
	}
	if r.BootFile != "" {
		parts = append(parts, "boot file "+r.BootFile)
	}
	return strings.Join(parts, ", ")
}

func (w *walker) option(code uint8) ([]byte, bool) { return w.lease.option(code) }

func (w *walker) echoes(class string) bool { return w.lease.echoes(class) }

func (r *Reply) option(code uint8) ([]byte, bool) {
	for _, o := range r.Options {
		if o.Code == code {
			return o.Data, true
		}
	}
	return nil, false
}

func (r *Reply) echoes(class string) bool {
	b, _ := r.option(60)
	return strings.HasPrefix(string(b), class)
}

// download loads a boot file as PXE firmware does: it asks for the size, aborts, and asks again (EDK2 PxeBcDxe; the
// same in every BIOS ROM). It returns why it has none.
func (w *walker) download(name string) string {
	w.client("Read Request File: "+name+" tsize=0", "asks for the size")
	f, err := w.net.TFTP(w.lease.SIAddr, name, true)
	if err != nil {
		w.server("Error Code, Code: File not found", "has no such file")
		return fmt.Sprintf("boot file %s: %v", name, err)
	}
	w.server("Option Acknowledgement", "size%s", size(f))
	w.client("Error Code, Code: Option negotiation failed", "User aborted the transfer: it knows the size")
	_, err = w.tftp(name)
	if err != nil {
		return fmt.Sprintf("boot file %s: %v", name, err)
	}
	return ""
}

// tftp reads a whole file.
func (w *walker) tftp(name string) (File, error) {
	w.client(fmt.Sprintf("Read Request File: %s blksize=%d", name, blockSize), "asks for the file")
	f, err := w.net.TFTP(w.lease.SIAddr, name, false)
	if err != nil {
		w.server("Error Code, Code: File not found", "has no such file")
		return f, err
	}
	w.server("Option Acknowledgement", "agrees on the block size")
	w.client("Acknowledgement, Block: 0", "is ready")
	w.server("Data Packet, Block: 1", "sends %s%s", name, contents(f))
	w.client("Acknowledgement, Block: 1", "has block 1, and so on")
	w.server("Data Packet, Block: (Last)", "ends with a block that is not full")
	return f, nil
}

// get fetches a URL.
func (w *walker) get(url string) (File, error) {
	w.client("HTTP GET", "%s", url)
	f, err := w.net.HTTP(url)
	if err != nil {
		w.server("HTTP error", "%v", err)
		return f, fmt.Errorf("%s: %w", mask(url), err)
	}
	w.server("HTTP 200 OK", "sends%s", contents(f))
	return f, nil
}

// contents says what both a snapshot and a machine know of a file. A generated text holds the boot's token, so
// neither its size nor its digest says anything.
func contents(f File) string {
	switch {
	case f.Text != "":
		return " a text made for this machine"
	case f.Digest == "":
		return " the file (digest unknown here)"
	}
	return fmt.Sprintf("%s, sha256 %.12s", size(f), f.Digest)
}

func size(f File) string {
	if f.Text != "" || f.Size == 0 {
		return " known"
	}
	return fmt.Sprintf(" %d bytes", f.Size)
}
