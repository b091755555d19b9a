package httpd

import (
	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// bootscript answers the URL that BSS clients know: /boot/v1/bootscript?mac=...&retry=N.
func (x *exchange) bootscript() {
	x.event.Stage, x.event.File = fact.StageScript, "bootscript"
	q, retry, problem := parseQuery(x.r.URL.RawQuery)
	if problem == "" && q == (render.Query{}) {
		q.MAC = x.lease.MAC
		if !x.held {
			problem = "the boot script request names no machine: mac, name or nid is needed"
		}
	}
	if problem != "" {
		x.event.Result, x.event.Detail = fact.Refused, problem
		x.text(waitScript(problem, x.values().Base))
		return
	}
	x.script(q, retry)
}

// bootIPXE gives a machine that is known by its address its script, and asks any other who it is. netX is the
// interface that iPXE used last; net0 need not be the one that has a link.
func (x *exchange) bootIPXE() {
	x.event.Stage, x.event.File = fact.StageScript, "boot.ipxe"
	if !x.held {
		x.text("#!ipxe\n:hostler\nchain --replace " + x.values().Base + "/boot/v1/bootscript?mac=${netX/mac} ||\nsleep 10\ngoto hostler\n")
		return
	}
	_, retry, _ := parseQuery(x.r.URL.RawQuery)
	x.script(render.Query{MAC: x.lease.MAC}, retry)
}

// script sends the script for a machine, filled in.
func (x *exchange) script(q render.Query, retry int) {
	v := x.values()
	snap, rev := x.Current()
	if snap == nil {
		x.event.Result, x.event.Detail = fact.Refused, "no revision is in force yet"
		x.text(waitScript("the server has no configuration yet", v.Base))
		return
	}
	q.Addr = x.peer
	sc := snap.Script(q, retry)
	x.event.Revision, x.event.Detail = rev, sc.Reason
	v.Retries = retry
	x.identify(snap, sc, rev, &v)
	x.text(late.Fill(sc.Text, v))
}

// identify decides whose boot this is. Anybody may read a script by naming a machine, as operators do; the boot's
// token goes only to the machine itself, and only that continues its boot. A machine with a lease of ours is recognised by
// it; one whose address another server gave, by the address that it was declared with.
func (x *exchange) identify(snap *render.Snapshot, sc render.Script, rev fact.Revision, v *late.Values) {
	own := x.held && (x.lease.MAC == sc.MAC || sc.Node != "" && x.lease.Node == sc.Node)
	if !x.held {
		x.event.MAC, x.event.Node = sc.MAC, sc.Node
		n, ok := snap.Node(string(sc.Node))
		own = sc.Node != "" && ok && n.IP == x.peer
	}
	if !own {
		x.event.Detail = join(x.event.Detail, "without a token: the address is not known to be the machine's")
		return
	}
	if sc.Node != "" { // declared since the lease was made
		x.event.Node = sc.Node
	}
	boot, token, err := x.Boots.Script(x.event.MAC, x.event.Node, x.peer, rev)
	if err != nil { // the machine boots nevertheless; it only cannot report
		x.Log.Warn("naming a boot", "mac", x.event.MAC, "node", x.event.Node, "err", err)
		x.event.Detail = join(x.event.Detail, "without a token: see the log")
		return
	}
	v.Boot, v.Token, x.event.Boot = boot, token, boot
}

func join(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// waitScript tells a machine's console what is wrong and lets it come back.
func waitScript(problem, base string) string {
	return "#!ipxe\necho hostler: " + problem + "\n:hostler\necho hostler: asking again in 30 seconds\nsleep 30\n" +
		"chain --replace " + base + "/boot.ipxe ||\ngoto hostler\n"
}
