package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/admin"
	"hostler/servers/late"
)

func bootscriptCommand() command {
	return command{
		name: "bootscript", args: "-mac=MAC|-name=NAME|-nid=NID [DIR]", synopsis: "Print the boot script that a machine gets",
		long: "Prints the boot script that the running server gives a machine, or with DIR the one of the spec there, without any server. What only the\n" +
			"machine may have is not in it: the token of its boot, and the signatures of URLs. Exits with 3 when the script boots nothing.",
		setup: func(fs *flag.FlagSet) func(context.Context, *environment, []string) int {
			load := loadOptions(fs)
			socket := socketFlag(fs)
			var q scriptQuestion
			fs.StringVar(&q.mac, "mac", "", "The `MAC` of one of the machine's interfaces, in any form.")
			fs.StringVar(&q.name, "name", "", "The node's `name`, or its id of the kind xname.")
			fs.StringVar(&q.nid, "nid", "", "Its `id` of the kind nid.")
			fs.IntVar(&q.retry, "retry", 0, "As if the machine had asked `N` times before.")
			asJSON := fs.Bool("json", false, "Print as JSON, with what is to be said of the script.")
			return func(ctx context.Context, env *environment, args []string) int {
				if err := q.check(); err != nil {
					return env.fail("bootscript: %v", err)
				}
				var a scriptAnswer
				if len(args) == 0 {
					c := admin.NewClient(socketPath(*socket))
					if err := c.Get(ctx, "/v1/bootscript?"+q.values().Encode(), &a); err != nil {
						return env.serverError(err)
					}
					return env.bootscript(&a, *asJSON)
				}
				dir, ok := env.oneDir("bootscript", args)
				if !ok {
					return exitError
				}
				loaded, code := env.load(ctx, dir, "", load, false)
				if loaded == nil {
					return code
				}
				query, err := q.query()
				if err != nil {
					return env.fail("bootscript: %v", err)
				}
				sc := loaded.Snapshot.Script(query, q.retry)
				a = newScriptAnswer(&sc, loaded.Revision)
				a.Script = sc.Text.String()
				return env.bootscript(&a, *asJSON)
			}
		},
	}
}

func (env *environment) bootscript(a *scriptAnswer, asJSON bool) int {
	if asJSON {
		env.json(a)
	} else {
		fmt.Fprint(env.stdout, a.Script)
	}
	if !a.Boots {
		return exitNo
	}
	return exitOK
}

// scriptQuestion says which machine's script is wanted.
type scriptQuestion struct {
	mac, name, nid string
	retry          int
}

func (q *scriptQuestion) check() error {
	named := 0
	for _, s := range []string{q.mac, q.name, q.nid} {
		if s != "" {
			named++
		}
	}
	if named != 1 {
		return fmt.Errorf("name the machine by one of -mac, -name and -nid")
	}
	_, err := q.query()
	return err
}

func (q *scriptQuestion) query() (render.Query, error) {
	out := render.Query{Name: q.name, NID: q.nid}
	if q.mac == "" {
		return out, nil
	}
	var err error
	out.MAC, err = fact.ParseMAC(q.mac)
	return out, err
}

func (q *scriptQuestion) values() url.Values {
	return url.Values{"mac": {q.mac}, "name": {q.name}, "nid": {q.nid}, "retry": {strconv.Itoa(q.retry)}}
}

// scriptAnswer is a script with what is to be said of it.
type scriptAnswer struct {
	Node     fact.NodeName `json:"node,omitempty"` // empty: nobody declared the machine
	MAC      fact.MAC      `json:"mac"`
	Revision fact.Revision `json:"revision,omitempty"`
	Boots    bool          `json:"boots"`
	Reason   string        `json:"reason,omitempty"` // why it does not boot
	Note     string        `json:"note,omitempty"`
	Script   string        `json:"script"`
}

func newScriptAnswer(sc *render.Script, rev fact.Revision) scriptAnswer {
	return scriptAnswer{Node: sc.Node, MAC: sc.MAC, Revision: rev, Boots: sc.Boots, Reason: sc.Reason, Note: sc.Note}
}

// Script implements admin.Backend.
func (s *server) Script(q render.Query, retry int) any {
	snapshot, rev := s.recon.Current()
	sc := render.Wait(q, retry, "the server has no configuration yet")
	if snapshot != nil {
		sc = snapshot.Script(q, retry)
	}
	a := newScriptAnswer(&sc, rev)
	base := s.base()
	server := s.towards(snapshot, sc.Node)
	values := late.Values{Server: server, Base: base.URL(server), Secure: base.Secure(server), Retries: retry, Signer: unsigned{}}
	a.Script = late.Fill(sc.Text, values)
	return a
}

// unsigned gives the URLs of objects as they are before they are signed: a signature is a key to them.
type unsigned struct{}

// Presign implements late.Signer.
func (unsigned) Presign(object string) (string, error) {
	o, err := fact.ParseObject(object)
	return o.URL(), err
}

// towards is the address of this host by which a node would reach it: the one in its subnet, or else the first.
func (s *server) towards(snapshot *render.Snapshot, node fact.NodeName) netip.Addr {
	var own []netip.Prefix
	for _, name := range s.config.Interfaces {
		i, err := net.InterfaceByName(name)
		if err != nil {
			continue
		}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
				own = append(own, p)
			}
		}
	}
	if snapshot != nil {
		if info, ok := snapshot.Node(string(node)); ok && node != "" {
			for _, sn := range snapshot.Fleet().Subnets {
				for _, p := range own {
					if sn.Name == info.Subnet && sn.CIDR.Contains(p.Addr()) {
						return p.Addr()
					}
				}
			}
		}
	}
	if len(own) == 0 {
		return netip.IPv4Unspecified()
	}
	return own[0].Addr()
}
