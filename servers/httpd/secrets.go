package httpd

import (
	"net/http"
	"slices"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// unlock puts the secrets of a node's text into v, if whoever asks has proved to be in a running boot of the node, and was not given the
// text too often in it. If not, it refuses and gives false. That a delivery was counted is on disk before the machine gets a byte.
func (x *exchange) unlock(snap *render.Snapshot, f *render.File, v *late.Values) bool {
	if v.Boot == "" && !public(f.Text) {
		x.refuse(http.StatusForbidden, "this configuration holds a secret, which takes the proof of a boot: see seed_url()", "the configuration holds a secret")
		return false
	}
	names := f.Text.Secrets()
	if len(names) == 0 {
		return true
	}
	if x.Secrets == nil || x.Deliveries == nil {
		x.lacking("this server has no secrets")
		return false
	}
	v.Secrets = make(map[string][]byte, len(names))
	for _, name := range names {
		b, err := x.Secrets.Read(name)
		if err != nil {
			x.lacking(err.Error())
			return false
		}
		v.Secrets[name] = b
	}
	if x.r.Method == http.MethodHead { // it is told a length
		return true
	}
	ok, err := x.Deliveries.Deliver(x.r.Context(), f.Node, v.Boot, f.Name, deliveries(snap, f.Name))
	switch {
	case err != nil:
		x.lacking("counting a delivery: " + err.Error())
	case !ok:
		x.refuse(http.StatusForbidden, "this boot was given its secrets as often as the spec allows: boot again", "it was given its secrets as often as its template allows")
	default:
		return true
	}
	return false
}

// public reports whether a text has no late values but those that anybody may read. A kind that is not known here counts as a secret.
func public(t fact.Text) bool {
	known := []fact.Late{"", fact.LateServer, fact.LateBase, fact.LateSecure, fact.LateGRUB, fact.LateURL, fact.LatePresign, fact.LateBootIF, fact.LateRetries,
		fact.LateConfig, fact.LateSeed, fact.LateBoot} // the last three are "none" without a boot
	return !slices.ContainsFunc(t.Parts(), func(p fact.Part) bool { return !slices.Contains(known, p.Kind) })
}

// lacking sends a machine away that is right to ask, and shall come back. Why is for the operator.
func (x *exchange) lacking(why string) {
	x.Log.Error("giving out a secret", "node", x.event.Node, "boot", x.event.Boot, "revision", x.event.Revision, "err", why)
	x.event.Result, x.event.Detail = fact.Failed, fact.Printable(why)
	x.w.Header().Set("Retry-After", "10")
	x.error(http.StatusServiceUnavailable, "a secret of this configuration is not available now: try again")
}

// deliveries is how often a template with secrets is given out in one boot.
func deliveries(snap *render.Snapshot, template string) int {
	for _, t := range snap.Fleet().Templates {
		if t.Name == template {
			return t.Deliveries
		}
	}
	return 0
}
