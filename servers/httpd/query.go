package httpd

import (
	"net/url"
	"strconv"
	"strings"

	"hostler/render"
	"hostler/render/fact"
)

// maxRetry bounds the counter of a script that asks again and again: more than a year of minutes.
const maxRetry = 1 << 20

// parseQuery reads the query of a boot script request. The problem is a sentence for a machine's console, made of our words
// only: a console is iPXE's, which would run what a client put into an echo. A retry counter that is no number is
// no reason not to boot, and is 0. No identity at all is no problem: the address may tell.
func parseQuery(raw string) (q render.Query, retry int, problem string) {
	vs, err := url.ParseQuery(raw)
	if err != nil {
		return q, 0, "the query of the boot script request cannot be read"
	}
	if mac := vs.Get("mac"); mac != "" {
		if q.MAC, err = fact.ParseMAC(mac); err != nil {
			return render.Query{}, 0, "the mac in the boot script request is not a MAC address"
		}
	}
	q.Name, q.NID = vs.Get("name"), vs.Get("nid")
	if !plain(q.Name) || !plain(q.NID) {
		return render.Query{}, 0, "the name or nid in the boot script request has characters that no name has"
	}
	if n, err := strconv.Atoi(vs.Get("retry")); err == nil {
		retry = min(max(n, 0), maxRetry)
	}
	return q, retry, ""
}

// plain reports whether s could be a name: scripts repeat names, so nothing that iPXE would expand or execute may pass.
func plain(s string) bool {
	if len(s) > 255 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._:-", r)
	}) < 0
}

// parseBoot takes BOOTID.TOKEN apart.
func parseBoot(s string) (fact.BootID, fact.Token, bool) {
	if len(s) > 128 || !plain(s) {
		return "", "", false
	}
	boot, token, ok := strings.Cut(s, ".")
	return fact.BootID(boot), fact.Token(token), ok && boot != "" && token != ""
}
