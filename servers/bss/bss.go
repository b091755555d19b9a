// Package bss answers what clients of HPE's and OpenCHAMI's Boot Script Service ask besides the boot script: boot parameters, hosts, when
// which node asked last, and what cloud-init reads. It is compatible in the shape of answers, not in defects, and read-only: the
// repository says what nodes boot. It knows nothing of sockets; who asks, and what that one may see, is in its View.
package bss

import (
	_ "embed"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
	"hostler/spec"
)

// OpenAPI describes every address of the boot HTTP server. A test holds it against what is served.
//
//go:embed openapi.yaml
var OpenAPI []byte

// View is a snapshot as one client may see it.
type View struct {
	Snapshot *render.Snapshot
	Values   late.Values         // for URLs; without a boot
	Own      fact.NodeName       // the client is this node; empty: it is none
	All      bool                // it may see every node
	Seen     func(fact.MAC) Seen // by the MAC of an interface
}

// Seen is what is known of a machine's boots.
type Seen struct {
	Script time.Time // when it last asked for its boot script; zero: never
	Config time.Time // for its user-data or configuration
	Ready  bool      // its newest boot is done
	Stuck  bool      // nothing was heard of that for long
}

// Problem is a refusal in the form of RFC 7807.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// Error gives the detail.
func (p *Problem) Error() string { return p.Detail }

// Refuse makes a problem of an HTTP status.
func Refuse(status int, detail string) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail}
}

// mostOwnNames is how often a machine may name itself in one request: each is answered.
const mostOwnNames = 100

const notYours = "A machine may see its own parameters only. The server's configuration says who may see all: readers and token_file of its bss block."

// Params are the boot parameters of a node, in the shape of a Boot Script Service.
type Params struct {
	Hosts     []string  `json:"hosts,omitempty"`
	MACs      []string  `json:"macs,omitempty"`
	NIDs      []int64   `json:"nids,omitempty"`
	Params    string    `json:"params,omitempty"`
	Kernel    string    `json:"kernel,omitempty"`
	Initrd    string    `json:"initrd,omitempty"`
	Initrds   []string  `json:"initrds,omitempty"` // ours: when there are several
	CloudInit CloudInit `json:"cloud-init"`
}

// CloudInit is what a Boot Script Service says with them. User-data is never in it.
type CloudInit struct {
	MetaData  map[string]any `json:"meta-data"`
	UserData  map[string]any `json:"user-data"`
	PhoneHome PhoneHome      `json:"phone-home"`
}

// PhoneHome is always empty: what a machine reports is in the timeline.
type PhoneHome struct {
	DSA        string `json:"pub_key_dsa"`
	RSA        string `json:"pub_key_rsa"`
	ECDSA      string `json:"pub_key_ecdsa"`
	InstanceID string `json:"instance_id"`
	Hostname   string `json:"hostname"`
	FQDN       string `json:"fqdn"`
}

// BootParameters lists the parameters of the nodes that a filter names, each once for each name; without one, of all.
func (v *View) BootParameters(f Filter) ([]Params, *Problem) {
	nodes, problem := v.nodes(f, "Cannot find boot parameters for requested %s")
	if problem != nil {
		return nil, problem
	}
	list := make([]Params, 0, len(nodes))
	for _, n := range nodes {
		list = append(list, v.params(n))
	}
	return list, nil
}

func (v *View) params(n *spec.Node) Params {
	p, _ := v.Snapshot.Parameters(n.Name)
	out := Params{
		Hosts: []string{ID(n)}, MACs: macs(n), Params: v.fill(p.Args), Kernel: v.fill(p.Kernel),
		CloudInit: CloudInit{MetaData: v.MetaData(n)},
	}
	if nid, err := strconv.ParseInt(id(n, "nid"), 10, 32); err == nil {
		out.NIDs = []int64{nid}
	}
	for _, t := range p.Initrds {
		out.Initrds = append(out.Initrds, v.fill(t))
	}
	if len(out.Initrds) > 0 {
		out.Initrd = out.Initrds[0]
	}
	if len(out.Initrds) == 1 {
		out.Initrds = nil
	}
	return out
}

// fill writes URLs out, but none that is signed: it would open an object to whoever reads the list.
func (v *View) fill(t fact.Text) string {
	var out fact.Text
	for _, p := range t.Parts() {
		switch {
		case p.Kind == "":
			out += fact.Text(p.Value)
		case p.Kind != fact.LatePresign:
			out += fact.NewLate(p.Kind, p.Value)
		default:
			if o, err := fact.ParseObject(p.Value); err == nil {
				out += fact.Text(o.URI())
			}
		}
	}
	return late.Fill(out, v.Values)
}

// nodes gives those that the client may see and asks for.
func (v *View) nodes(f Filter, missing string) ([]*spec.Node, *Problem) {
	if v.Snapshot == nil {
		return nil, Refuse(http.StatusServiceUnavailable, "The server has no configuration yet.")
	}
	own, _ := v.Snapshot.Whose(render.Query{Name: string(v.Own)})
	if !v.All && (v.Own == "" || own == nil) {
		return nil, Refuse(http.StatusForbidden, notYours)
	}
	if f.empty() && !v.All {
		return []*spec.Node{own}, nil
	}
	if f.empty() {
		fleet := v.Snapshot.Fleet()
		all := make([]*spec.Node, len(fleet.Nodes))
		for i := range fleet.Nodes {
			all[i] = &fleet.Nodes[i]
		}
		return all, nil
	}
	if !v.All && len(f.Queries) > mostOwnNames {
		return nil, Refuse(http.StatusBadRequest, "Bad Request - no machine has so many names.")
	}
	var nodes []*spec.Node
	for _, q := range f.Queries {
		n, ok := v.Snapshot.Whose(q)
		switch {
		case !v.All && n != own: // whether there is such a node is not said either
			return nil, Refuse(http.StatusForbidden, notYours)
		case !ok:
			return nil, Refuse(http.StatusNotFound, fmt.Sprintf(missing, kind(q)))
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

func kind(q render.Query) string {
	switch {
	case !q.MAC.IsZero():
		return "MACs"
	case q.Name != "":
		return "Hosts"
	}
	return "NIDs"
}

// ID is what a node is called: its xname where it has one.
func ID(n *spec.Node) string {
	if x := id(n, "xname"); x != "" {
		return x
	}
	return string(n.Name)
}

func id(n *spec.Node, name string) string { return label(n.IDs, name) }

func label(ls []spec.Label, name string) string {
	if i := slices.IndexFunc(ls, func(l spec.Label) bool { return l.Name == name }); i >= 0 {
		return ls[i].Value
	}
	return ""
}

func macs(n *spec.Node) []string {
	var list []string
	for _, x := range n.Interfaces {
		if !x.MAC.IsZero() {
			list = append(list, x.MAC.String())
		}
	}
	return list
}
