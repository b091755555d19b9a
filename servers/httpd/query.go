package httpd

import (
	"cmp"
	"errors"
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
	var mac, retried string
	err := pairs(raw, func(name, value string) {
		switch name {
		case "mac":
			mac = cmp.Or(mac, value)
		case "name":
			q.Name = cmp.Or(q.Name, value)
		case "nid":
			q.NID = cmp.Or(q.NID, value)
		case "arch":
			q.Arch = cmp.Or(q.Arch, value, "unknown") // an iPXE that does not know it
		case "tried":
			q.Tried = cmp.Or(q.Tried, value)
		case "retry":
			retried = cmp.Or(retried, value)
		}
	})
	if err != nil {
		return render.Query{}, 0, "the query of the boot script request cannot be read"
	}
	if mac != "" {
		if q.MAC, err = fact.ParseMAC(mac); err != nil {
			return render.Query{}, 0, "the mac in the boot script request is not a MAC address"
		}
	}
	if !plain(q.Name) || !plain(q.NID) || !plain(q.Tried) || !plain(q.Arch) {
		return render.Query{}, 0, "the name or nid in the boot script request has characters that no name has"
	}
	if n, err := strconv.Atoi(cmp.Or(retried, "0")); err == nil {
		retry = min(max(n, 0), maxRetry)
	}
	return q, retry, ""
}

// pairs is url.ParseQuery without the map, which costs more than the script that is looked up with it.
func pairs(raw string, f func(name, value string)) error {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if strings.Contains(pair, ";") {
			return errors.New("a semicolon in a query")
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return err
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return err
		}
		f(name, value)
	}
	return nil
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
