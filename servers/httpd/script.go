package httpd

import (
	"cmp"
	"net/http"
	"strings"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// bootscript answers the URL that BSS clients know: /boot/v1/bootscript?mac=...&retry=N.
func (x *exchange) bootscript() {
	x.event.Stage, x.event.File = fact.StageScript, "bootscript"
	if strings.Contains(x.r.URL.RawQuery, "json=") {
		x.scriptRecord()
		return
	}
	q, retry, problem := parseQuery(x.r.URL.RawQuery)
	if problem == "" && q.MAC.IsZero() && q.Name == "" && q.NID == "" {
		q.MAC = x.event.MAC
		if !x.known {
			problem = "the boot script request names no machine: mac, name or nid is needed"
		}
	}
	if problem != "" {
		x.wait(q, retry, problem)
		return
	}
	x.script(q, retry)
}

// bootIPXE gives a machine that is known by its address its script, and asks any other who it is. netX is the
// interface that iPXE used last; net0 need not be the one that has a link.
func (x *exchange) bootIPXE() {
	x.event.Stage, x.event.File = fact.StageScript, "boot.ipxe"
	if !x.known {
		x.text("#!ipxe\n:hostler\nchain --replace " + x.values.Base + "/boot/v1/bootscript?mac=${netX/mac} ||\nsleep 10\ngoto hostler\n")
		return
	}
	_, retry, _ := parseQuery(x.r.URL.RawQuery)
	x.script(render.Query{MAC: x.event.MAC}, retry)
}

// autoexec sends a machine whose iPXE has no script of its own to its script.
func (x *exchange) autoexec(name string) {
	snap, rev := x.Current()
	if snap != nil && x.known {
		if f, ok := snap.File(name, x.event.MAC); ok {
			x.event.Stage, x.event.File, x.event.Revision = f.Stage, name, rev
			x.text(late.Fill(f.Text, x.values))
			return
		}
	}
	x.refuse(http.StatusNotFound, "there is no such file", "its loader has a script of its own, or is not known")
}

// script sends the script for a machine, filled in.
func (x *exchange) script(q render.Query, retry int) {
	v := x.values
	snap, rev := x.Current()
	if snap == nil {
		x.wait(q, retry, "the server has no configuration yet")
		return
	}
	q.Addr = x.peer
	sc := snap.Script(q, retry)
	x.event.Revision, x.event.Detail = rev, cmp.Or(sc.Reason, sc.Note)
	v.Retries = retry
	x.identify(sc, rev, &v)
	b := x.buffers.Get().(*[]byte)
	*b = late.Append((*b)[:0], sc.Text, &v)
	if v.Failed != nil { // never a script with a hole: the machine says so, and comes back
		x.Log.Error("filling in a boot script", "mac", sc.MAC, "node", sc.Node, "revision", rev, "err", v.Failed)
		x.buffers.Put(b)
		x.wait(q, retry, "the server cannot sign the URLs of its image: see its log")
		x.event.Result, x.event.Detail = fact.Failed, shown(v.Failed.Error())
		return
	}
	x.send(plainText, *b)
	x.buffers.Put(b) // net/http has copied it
}

// identify decides whose boot this is. Anybody may read a script by naming a machine; the boot's token goes only to the
// machine itself, and only that continues its boot. What else asks from an unknown address is a step of the named
// machine's boot if it is a boot loader, and an operator who looks at a script if it is not.
func (x *exchange) identify(sc render.Script, rev fact.Revision, v *late.Values) {
	if !x.known {
		x.event.MAC, x.event.Node = sc.MAC, sc.Node
		if x.event.Client == fact.ClientUnknown {
			x.event.Stage = fact.StageNone
		}
	}
	if !x.known || x.event.MAC != sc.MAC && (sc.Node == "" || x.event.Node != sc.Node) {
		x.event.Detail = join(x.event.Detail, "without a token: the address is not known to be the machine's")
		return
	}
	if sc.Node != "" { // declared since the lease was made
		x.event.Node = sc.Node
	}
	terms := sc.Terms
	terms.Revision = rev
	boot, token, err := x.Boots.Script(x.event.MAC, x.event.Node, x.peer, terms)
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

// wait tells a machine's console what is wrong, and lets it come back.
func (x *exchange) wait(q render.Query, retry int, problem string) {
	x.event.Result, x.event.Detail = fact.Refused, problem
	x.text(late.Fill(render.Wait(q, retry, problem).Text, x.values))
}
