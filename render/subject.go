package render

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hostler/spec"
)

// subject is something other than a node that is served.
type subject struct {
	name   string // subnet.lab
	place  *spec.Place
	leaves leaves
	used   bool // by nodes, whose leaves tell of its changes
}

// subjects are the subnets, loaders and images, in this order.
func (s *Snapshot) subjects() []subject {
	var xs []subject
	for i := range s.fleet.Subnets {
		sn := &s.fleet.Subnets[i]
		xs = append(xs, subject{name: "subnet." + sn.Name, place: &sn.Place, leaves: s.subnetLeaves(sn)})
	}
	for i := range s.fleet.Loaders {
		l := &s.fleet.Loaders[i]
		xs = append(xs, subject{name: "loader." + l.Name, place: &l.Place, leaves: s.loaderLeaves(l)})
	}
	used := s.usedImages()
	for i := range s.fleet.Images {
		m := &s.fleet.Images[i]
		ls := leaves{}
		ls.add("version", m.Version, "image."+m.Name, &m.Place)
		ls.addFiles(s, "file.", m)
		xs = append(xs, subject{"image." + m.Name, &m.Place, ls.sorted(), used[m.Name]})
	}
	return xs
}

// usedImages are the images that the leaves of some node or subnet tell of.
func (s *Snapshot) usedImages() map[string]bool {
	used := map[string]bool{}
	mark := func(profile int) {
		if profile >= 0 && profile < len(s.fleet.Profiles) {
			p := &s.fleet.Profiles[profile]
			used[p.Image] = true
			used[p.Settings.Retry.Fallback] = true
		}
	}
	for _, i := range s.inUse {
		mark(i)
	}
	for i := range s.fleet.Subnets {
		mark(s.fleet.Subnets[i].Unknown)
		for _, d := range s.fleet.Subnets[i].Discovery {
			mark(d.Profile)
		}
	}
	return used
}

func (s *Snapshot) subnetLeaves(sn *spec.Subnet) leaves {
	var ls leaves
	layer := "subnet." + sn.Name
	add := func(path, raw string) { ls.add(path, raw, layer, &sn.Place) }
	add("cidr", sn.CIDR.String())
	if sn.Gateway.IsValid() {
		add("gateway", sn.Gateway.String())
	}
	add("relays", list(sn.Relays))
	add("boot_servers", list(sn.BootServers))
	add("dhcp", sn.DHCP)
	add("authoritative", strconv.FormatBool(sn.Authoritative))
	add("conflict_check", sn.ConflictCheck)
	if sn.Quarantine != 0 {
		add("quarantine", duration(sn.Quarantine))
	}
	add("exclude", list(sn.Exclude))
	for i := range sn.Pools {
		p := &sn.Pools[i]
		prefix := "pool." + p.Name + "."
		ls.add(prefix+"range", list(p.Ranges), layer, &p.Place)
		ls.add(prefix+"serves", string(p.Serves), layer, &p.Place)
		for _, t := range []struct {
			name string
			d    time.Duration
		}{{"default", p.Lease.Default}, {"max", p.Lease.Max}, {"min", p.Lease.Min}} {
			if t.d != 0 {
				ls.add(prefix+"lease."+t.name, duration(t.d), layer, &p.Place)
			}
		}
	}
	for _, x := range given(sn) {
		if x.profile < 0 || x.profile >= len(s.profiles) {
			continue
		}
		if x.group != "" {
			add(strings.TrimSuffix(x.prefix, "."), x.group)
			if m := s.image(x.profile); m != nil { // decides who boots it
				ls.add(x.prefix+"arch", m.Arch, "image."+m.Name, &m.Place)
			}
		}
		for _, l := range s.profiles[x.profile].leaves {
			if x.prefix == "default." && classOf(l.path) != ClassNextRenew { // it decides DHCP options only
				continue
			}
			l.path = x.prefix + l.path
			ls = append(ls, l)
		}
	}
	return ls.sorted()
}

// gift is a profile that a subnet gives to machines.
type gift struct {
	prefix, group string
	profile       int
}

// given are the profiles that a subnet gives to machines that are not nodes of it.
func given(sn *spec.Subnet) []gift {
	gs := []gift{{"default.", "", sn.Default}}
	if len(sn.Discovery) == 0 {
		return append(gs, gift{"unknown.", cmp.Or(sn.UnknownGroup, "true"), sn.Unknown})
	}
	for i := range sn.Discovery {
		d := &sn.Discovery[i]
		gs = append(gs, gift{fmt.Sprintf("unknown[%q].", d.Arch), d.Group, d.Profile})
	}
	return gs
}

func (s *Snapshot) loaderLeaves(l *spec.Loader) leaves {
	var ls leaves
	layer := "loader." + l.Name
	ls.add("kind", string(l.Kind), layer, &l.Place)
	if l.Autoexec {
		ls.add("embedded_script", "false", layer, &l.Place)
	}
	ls.add("transport", string(l.Transport), layer, &l.Place)
	ls.add("client_arch", list(l.ClientArch), layer, &l.Place)
	if l.Builtin {
		ls.add("builtin", "true", layer, &l.Place)
	}
	ls.addFile("file", s.file(l.File, l.FileName), layer, &l.File.Place)
	for i := range l.Extra {
		ls.addFile("extra."+l.Extra[i].Name, s.file(l.Extra[i].File, l.Extra[i].Name), layer, &l.Extra[i].File.Place)
	}
	return ls.sorted()
}
