package httpd

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hostler/render/fact"
)

// FuzzRequest asks for anything. There is always an answer of a known length, never a redirect, and never the token of a machine that
// asks from elsewhere, nor a line that the question put into a script.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][4]string{
		{"GET", "/boot/v1/bootscript", "mac=52:54:00:00:00:01&retry=3", ""},
		{"GET", "//apis/bss//boot.ipxe", "", ""},
		{"HEAD", "/files/" + string(digest(contents["vmlinuz-1"])) + "/vmlinuz", "", "bytes=0-1,3-4"},
		{"GET", "/files/../../etc/passwd", "", "bytes=-1"},
		{"GET", "/config/setup", "boot=" + string(bootID) + "." + string(token), ""},
		{"POST", "/phone-home", "boot=a.b", ""},
		{"GET", "/boot/v1/bootparameters", "mac=52-54-00-00-00-01,x&nid=1", ""},
		{"GET", "/boot/v1/endpoint-history", "name=c0001&endpoint=bootscript", ""},
		{"GET", "/boot/v1/bootscript", "name=c0001&json=1", ""},
		{"GET", "/meta-data", "key=ids.nid", ""},
		{"GET", "/cloud-init/boot=" + string(bootID) + "." + string(token) + "/user-data", "", ""},
		{"GET", "/cloud-init//boot=none/../meta-data", "", ""},
		{"GET", "/boot/v1/bootscript", "name=%0Areboot&nid=${x}", "bytes=9-1"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	srv := start(f, func(c *Config) { c.Event = func(fact.Event) {} })
	f.Fuzz(func(t *testing.T, method, path, query, ranges string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Range": {ranges}},
			Body: http.NoBody, RemoteAddr: "192.0.2.1:1", RequestURI: path}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code >= 300 && w.Code < 400 || w.Code >= 500 {
			t.Errorf("%s %q?%q: status %d", method, path, query, w.Code)
		}
		if w.Code < 300 && w.Header().Get("Content-Length") == "" { // to the others net/http adds it
			t.Errorf("%s %q?%q: an answer without a length", method, path, query)
		}
		if strings.Contains(body, string(token)) && !strings.Contains(path+query, string(token)) || strings.Contains(body, "\nreboot") || strings.Contains(body, "root:") {
			t.Errorf("%s %q?%q:\n%s", method, path, query, body)
		}
	})
}
