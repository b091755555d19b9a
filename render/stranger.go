package render

import (
	"fmt"

	"hostler/render/fact"
	"hostler/spec"
)

// stranger says what a subnet gives to a machine that nobody declared, by its processor: a profile, and why that profile's image is
// not for it. The processor may be unknown.
func (s *Snapshot) stranger(sn *subnet, cpu string) (profile int, why string) {
	profile = sn.Unknown
	if len(sn.Discovery) > 0 {
		if cpu == "" {
			return profile, "its processor is not known, and subnet " + sn.Name + " has images by processor"
		}
		for i := range sn.Discovery {
			if sn.Discovery[i].Arch == cpu {
				return sn.Discovery[i].Profile, ""
			}
		}
		return profile, "nobody declared it, and subnet " + sn.Name + " has no image for " + cpu
	}
	if m := s.image(profile); m != nil && cpu != "" && !runs(cpu, m.Arch) {
		why = fmt.Sprintf("image %s is for %s, and not for %s", m.Name, m.Arch, cpu)
	}
	return profile, why
}

// runs reports whether a processor runs an image. Firmware of 32 bits says nothing of the processor.
func runs(cpu, image string) bool {
	return cpu == image || cpu == "x86" && image == "x86_64" || image == ""
}

// processorName is the processor that a boot loader calls by its own name: iPXE's buildarch and GRUB's grub_cpu. Both call a BIOS's i386,
// whatever it is.
func processorName(name string) string {
	switch name {
	case "i386":
		return "x86_64"
	case "aarch64":
		return "arm64"
	case "arm":
		return "arm32"
	}
	return name
}

// targetUnknown is what a subnet gives to machines that nobody declared. Values that are evaluated for each node have none for them.
func (s *Snapshot) targetUnknown(sn *subnet, mac fact.MAC, cpu string) (t target, profile int, why string) {
	profile, why = s.stranger(sn, cpu)
	st := s.fleet.Effective(&spec.Node{Profile: profile})
	t = target{settings: &st, mac: mac}
	if why == "" {
		t.image = s.image(profile)
		t.own = t.image
	}
	return t, profile, why
}

// askArch has iPXE say which processor it is built for, since what the machine boots depends on it.
func (w *scriptWriter) askArch() fact.Text {
	return fact.Text(w.header("which processor does it have?") + ":ask\nchain --replace " + string(fact.NewLate(fact.LateBase, "")) + "/boot/v1/bootscript?mac=" +
		w.target.mac.String() + "&arch=${buildarch} ||\nsleep 10\ngoto ask\n")
}
