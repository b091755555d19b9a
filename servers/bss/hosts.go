package bss

import (
	"net/http"
	"strconv"
	"time"

	"hostler/render"
	"hostler/spec"
)

// Host is a node in the shape of HPE's inventory.
type Host struct {
	ID              string   `json:"ID"`
	Type            string   `json:"Type"`
	State           string   `json:"State"` // Ready when its newest boot is done, On when it is not, Unknown when there is none
	Flag            string   `json:"Flag"`  // OK; Warning when that boot is stuck
	Enabled         bool     `json:"Enabled"`
	Role            string   `json:"Role,omitempty"`    // its label role, else the last of its groups
	SubRole         string   `json:"SubRole,omitempty"` // its label subrole
	NID             int64    `json:"NID,omitempty"`
	NetType         string   `json:"NetType"`
	Arch            string   `json:"Arch"`
	FQDN            string   `json:"FQDN"`
	MAC             []string `json:"MAC"`
	EndpointEnabled bool     `json:"EndpointEnabled"`
}

// Hosts lists the nodes that a filter names, each once for each name; without one, all.
func (v *View) Hosts(f Filter) ([]Host, *Problem) {
	nodes, problem := v.nodes(f, "Not Found - none of the requested %s")
	if problem != nil {
		return nil, problem
	}
	hosts := make([]Host, 0, len(nodes))
	for _, n := range nodes {
		hosts = append(hosts, v.host(n))
	}
	return hosts, nil
}

func (v *View) host(n *spec.Node) Host {
	nid, _ := strconv.ParseInt(id(n, "nid"), 10, 32)
	h := Host{
		ID: ID(n), Type: "Node", State: "Unknown", Flag: "OK", Enabled: !n.Disabled, Role: v.role(n), SubRole: label(n.Labels, "subrole"),
		NID: nid, NetType: "Ethernet", Arch: arch(n), FQDN: v.fqdn(n), MAC: macs(n), EndpointEnabled: !n.Disabled,
	}
	switch s := v.seen(n); {
	case s.Ready:
		h.State = "Ready"
	case s.Stuck:
		h.State, h.Flag = "On", "Warning"
	case !s.Script.IsZero():
		h.State = "On"
	}
	return h
}

// role is what stands for a role: HPE's inventory has one for each node, and a spec groups, of which the last is the strongest.
func (v *View) role(n *spec.Node) string {
	if r := label(n.Labels, "role"); r != "" {
		return r
	}
	if groups := v.Snapshot.Fleet().Profiles[n.Profile].Groups; len(groups) > 0 {
		return groups[len(groups)-1]
	}
	return ""
}

// arch is HPE's word for an architecture.
func arch(n *spec.Node) string {
	switch n.Arch {
	case "", "x86_64":
		return "X86"
	case "arm64", "aarch64":
		return "ARM"
	}
	return "Other"
}

func (v *View) fqdn(n *spec.Node) string {
	host := v.Snapshot.Hostname(n)
	if d := v.Snapshot.Domain(n); d != "" {
		return host + "." + d
	}
	return host
}

// seen is what is known of the interface that was heard of last.
func (v *View) seen(n *spec.Node) (s Seen) {
	for _, x := range n.Interfaces {
		o := v.Seen(x.MAC)
		if o.Script.After(s.Script) {
			s.Ready, s.Stuck = o.Ready, o.Stuck
		}
		s.Script, s.Config = later(s.Script, o.Script), later(s.Config, o.Config)
	}
	return s
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Access is when a node last asked for something.
type Access struct {
	Name      string `json:"name"`
	Endpoint  string `json:"endpoint"`
	LastEpoch int64  `json:"last_epoch"` // in seconds; 0: never
}

// The endpoints whose accesses are listed.
const (
	EndpointScript = "bootscript"
	EndpointConfig = "user-data"
)

// History lists when nodes last asked for their boot script and their user-data. With a name, that has never asked is said too.
func (v *View) History(name, endpoint string) ([]Access, *Problem) {
	switch endpoint {
	case "", EndpointScript, EndpointConfig:
	default:
		return nil, Refuse(http.StatusBadRequest, "Bad Request - the endpoint is bootscript or user-data.")
	}
	var f Filter
	if name != "" {
		f.Queries = []render.Query{{Name: name}}
	}
	nodes, problem := v.nodes(f, "Not Found - none of the requested %s")
	if problem != nil {
		return nil, problem
	}
	list := []Access{}
	for _, n := range nodes {
		s := v.seen(n)
		for _, a := range []struct {
			endpoint string
			at       time.Time
		}{{EndpointScript, s.Script}, {EndpointConfig, s.Config}} {
			if endpoint != "" && endpoint != a.endpoint || a.at.IsZero() && name == "" {
				continue
			}
			access := Access{Name: ID(n), Endpoint: a.endpoint}
			if !a.at.IsZero() {
				access.LastEpoch = a.at.Unix()
			}
			list = append(list, access)
		}
	}
	return list, nil
}
