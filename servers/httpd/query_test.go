package httpd

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
)

func TestParseQuery(t *testing.T) {
	mac := fact.MAC{0xa4, 0xbf, 0x01, 0x3e, 0xc0, 0xa2}
	for _, tt := range []struct {
		raw     string
		q       render.Query
		retry   int
		problem string
	}{
		{raw: ""},
		{raw: "mac=a4:bf:01:3e:c0:a2", q: render.Query{MAC: mac}},
		{raw: "mac=A4-BF-01-3E-C0-A2&retry=1", q: render.Query{MAC: mac}, retry: 1},
		{raw: "mac=01-a4-bf-01-3e-c0-a2", q: render.Query{MAC: mac}}, // BOOTIF
		{raw: "mac=&name=&nid=", q: render.Query{}},                  // iPXE's unset settings expand to nothing
		{raw: "mac=&nid=4", q: render.Query{NID: "4"}},
		{raw: "name=x3000c0s17b4n0&arch=x86_64&ts=1", q: render.Query{Name: "x3000c0s17b4n0", Arch: "x86_64"}}, // what else BSS clients send
		{raw: "nid=4&retry=-1", q: render.Query{NID: "4"}},
		{raw: "nid=4&retry=99999999999999999999", q: render.Query{NID: "4"}},
		{raw: "nid=4&retry=99999999", q: render.Query{NID: "4"}, retry: maxRetry},
		{raw: "nid=4&retry=7&tried=0badcafe", q: render.Query{NID: "4", Tried: "0badcafe"}, retry: 7},
		{raw: "nid=4&arch=", q: render.Query{NID: "4", Arch: "unknown"}},
		{raw: "nid=4&tried=a/b", problem: "the name or nid in the boot script request has characters that no name has"},
		{raw: "mac=a4:bf:01:3e:c0", problem: "the mac in the boot script request is not a MAC address"},
		{raw: "mac=%", problem: "the query of the boot script request cannot be read"},
		{raw: "name=a;b", problem: "the query of the boot script request cannot be read"},
		{raw: "name=a%20b", problem: "the name or nid in the boot script request has characters that no name has"},
		{raw: "name=" + strings.Repeat("a", 256), problem: "the name or nid in the boot script request has characters that no name has"},
	} {
		q, retry, problem := parseQuery(tt.raw)
		if q != tt.q || retry != tt.retry || problem != tt.problem {
			t.Errorf("parseQuery(%q) = %+v, %d, %q\nwant %+v, %d, %q", tt.raw, q, retry, problem, tt.q, tt.retry, tt.problem)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{"", "mac=a4:bf:01:3e:c0:a2&retry=1", "name=x3000c0s17b4n0", "nid=4", "mac=%zz", "name=${net0/mac}", "a=b;c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got := url.Values{}
		err := pairs(raw, got.Add)
		want, wantErr := url.ParseQuery(raw)
		delete(got, "") // of an empty pair
		delete(want, "")
		if (err == nil) != (wantErr == nil) || err == nil && !cmp.Equal(got, want) {
			t.Errorf("%q is read as %v, %v; net/url reads %v, %v", raw, got, err, want, wantErr)
		}
		q, retry, problem := parseQuery(raw)
		if retry < 0 || retry > maxRetry {
			t.Errorf("retry %d", retry)
		}
		if problem != "" && q != (render.Query{}) {
			t.Errorf("%q is a problem and asks for %+v", raw, q)
		}
		if strings.ContainsAny(q.Name+q.NID+q.Tried, "${}|&; \n\r\\\"'") {
			t.Errorf("%q asks for %+v", raw, q)
		}
	})
}

func TestParseBoot(t *testing.T) {
	for raw, want := range map[string][2]string{
		"01JD8ZQ4W7X0000000000000AA.ABC": {"01JD8ZQ4W7X0000000000000AA", "ABC"},
		"":                               {}, "none": {}, ".": {}, "a.": {}, ".b": {}, "a.b c": {}, "a.b\n": {},
		strings.Repeat("a", 100) + "." + strings.Repeat("b", 100): {},
	} {
		boot, token, ok := parseBoot(raw)
		if ok != (want[0] != "") || ok && cmp.Diff(want, [2]string{string(boot), string(token)}) != "" {
			t.Errorf("parseBoot(%q) = %q, %q, %v", raw, boot, token, ok)
		}
	}
}
