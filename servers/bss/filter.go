package bss

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hostler/render"
	"hostler/render/fact"
)

// Filter says which nodes are meant; none: all.
type Filter struct{ Queries []render.Query }

func (f *Filter) empty() bool { return len(f.Queries) == 0 }

// mostNames bounds what one request may ask for.
const mostNames = 10_000

// ParseFilter reads the query of a request and its body, which may hold the same as JSON: name, mac and nid, repeated or with
// commas, and hosts, macs and nids.
func ParseFilter(query string, body []byte) (f Filter, problem *Problem) {
	v, err := url.ParseQuery(query)
	if err != nil {
		return f, Refuse(http.StatusBadRequest, "Bad Request - the query cannot be read.")
	}
	var in struct {
		Hosts []string      `json:"hosts"`
		MACs  []string      `json:"macs"`
		NIDs  []json.Number `json:"nids"`
	}
	if len(body) > 0 && json.Unmarshal(body, &in) != nil {
		return f, Refuse(http.StatusBadRequest, "Bad Request - the body is not boot parameters in JSON.")
	}
	hosts, macs, nids := append(in.Hosts, list(v["name"])...), append(in.MACs, list(v["mac"])...), list(v["nid"])
	for _, n := range in.NIDs {
		nids = append(nids, n.String())
	}
	if len(hosts)+len(macs)+len(nids) > mostNames {
		return f, Refuse(http.StatusBadRequest, "Bad Request - more than 10000 nodes are named.")
	}
	for _, h := range hosts {
		f.Queries = append(f.Queries, render.Query{Name: h})
	}
	for _, m := range macs {
		mac, err := fact.ParseMAC(m)
		if err != nil || mac.IsZero() {
			return Filter{}, Refuse(http.StatusBadRequest, "Bad Request - Invalid mac "+strconv.QuoteToASCII(m))
		}
		f.Queries = append(f.Queries, render.Query{MAC: mac})
	}
	for _, n := range nids {
		if _, err := strconv.ParseInt(n, 10, 64); err != nil {
			return Filter{}, Refuse(http.StatusBadRequest, "Bad Request - Invalid nid "+strconv.QuoteToASCII(n))
		}
		f.Queries = append(f.Queries, render.Query{NID: n})
	}
	return f, nil
}

// list takes comma lists apart, and drops what is empty.
func list(values []string) []string {
	return strings.FieldsFunc(strings.Join(values, ","), func(r rune) bool { return r == ',' })
}
