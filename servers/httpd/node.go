package httpd

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/late"
)

// config sends a node the template of the revision that its boot is pinned to.
func (x *exchange) config(template string) {
	x.event.Stage, x.event.File = fact.StageConfig, "config/"+shown(template)
	boot, token, ok := parseBoot(x.r.URL.Query().Get("boot"))
	snap, node, ok := x.proven(boot, token, ok)
	if !ok {
		return
	}
	v := x.values
	v.Boot, v.Token = boot, token
	x.template(snap, node, template, v)
}

// template sends a node's template, filled in.
func (x *exchange) template(snap *render.Snapshot, node fact.NodeName, template string, v late.Values) {
	f, err := snap.Config(node, template)
	if err != nil {
		x.refuse(http.StatusNotFound, "there is no such configuration", shown(err.Error()))
		return
	}
	if !x.unlock(snap, &f, &v) {
		return
	}
	text := late.Append(nil, f.Text, &v)
	if v.Failed != nil {
		x.Log.Error("filling in a configuration", "node", node, "boot", v.Boot, "revision", x.event.Revision, "err", v.Failed)
		x.event.Result, x.event.Detail = fact.Failed, shown(v.Failed.Error())
		x.w.Header().Set("Retry-After", "30")
		x.error(http.StatusServiceUnavailable, "the configuration cannot be put together now: see the server's log")
		return
	}
	x.send(contentType(snap, template), text)
}

// contentType is what the spec says that a template makes.
func contentType(snap *render.Snapshot, template string) string {
	for _, t := range snap.Fleet().Templates {
		if t.Name == template && t.ContentType != "" {
			return t.ContentType
		}
	}
	return plainText
}

// maxReport bounds a phone-home body: cloud-init sends host keys along, some 3 KiB.
const maxReport = 64 << 10

// phoneHome notes that a machine has arrived. Machines repeat it when an answer is lost, so a repetition is fine.
func (x *exchange) phoneHome() {
	x.event.Stage, x.event.File = fact.StageReady, "phone-home"
	sent, status := x.reported()
	if status != 0 {
		x.refuse(status, "the report cannot be read", "the report cannot be read")
		return
	}
	boot, token, ok := parseBoot(sent)
	if sent == "" && x.known && x.event.Node != "" { // as a Boot Script Service's clients do
		x.event.Stage, x.event.Detail = fact.StageConfig, "without the boot's token: it proves nothing"
		x.text("noted, but without boot=BOOTID.TOKEN it proves nothing\n")
		return
	}
	if !ok {
		x.refuse(http.StatusBadRequest, "boot=BOOTID.TOKEN is missing", "no boot in the report")
		return
	}
	node, err := x.Boots.Ready(boot, token, x.peer)
	if err == nil {
		x.event.Boot, x.event.Node = boot, node
		x.Log.Debug("ready", "node", node, "boot", boot, "peer", x.peer)
		x.text("ok\n")
		return
	}
	if _, _, known := x.Boots.Check(boot, token, x.peer); !known {
		x.refuse(http.StatusForbidden, "this boot is not known, or not from here", "no running boot has this token and address")
		return
	}
	// The machine is right and we could not write it down: it shall come back.
	x.Log.Error("noting that a machine is ready", "boot", boot, "err", err)
	x.event.Boot, x.event.Result, x.event.Detail = boot, fact.Failed, "noting it: see the log"
	x.w.Header().Set("Retry-After", "5")
	x.error(http.StatusServiceUnavailable, "try again")
}

// reported finds BOOTID.TOKEN in the query, a form or a JSON object; a status other than 0 says that the body is unfit.
func (x *exchange) reported() (boot string, status int) {
	body, err := io.ReadAll(http.MaxBytesReader(&x.w, x.r.Body, maxReport))
	x.w.extend() // the body may have taken all the time
	if _, ok := err.(*http.MaxBytesError); ok {
		return "", http.StatusRequestEntityTooLarge
	}
	if err != nil {
		return "", http.StatusBadRequest
	}
	if boot := x.r.URL.Query().Get("boot"); boot != "" {
		return boot, 0
	}
	media, _, _ := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if media == "application/json" {
		var report struct {
			Boot string `json:"boot"`
		}
		if json.Unmarshal(body, &report) != nil {
			return "", http.StatusBadRequest
		}
		return report.Boot, 0
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", http.StatusBadRequest
	}
	return form.Get("boot"), 0
}
