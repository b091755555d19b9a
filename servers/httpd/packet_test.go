package httpd

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"hostler/render/fact"
)

func TestAppendMasked(t *testing.T) {
	for uri, want := range map[string]string{
		"/boot.ipxe":                      "/boot.ipxe",
		"/config/a?boot=ID.SECRET":        "/config/a?boot=<boot>",
		"/config/a?boot=ID.SECRET&x=1":    "/config/a?boot=<boot>&x=1",
		"/a?x=boot=1&boot=ID.SECRET&y=2":  "/a?x=boot=<boot>&boot=<boot>&y=2",
		"/boot/v1/bootscript?mac=1&boot=": "/boot/v1/bootscript?mac=1&boot=<boot>",
		"/config/a%3Fboot%3DID.SECRET&x":  "/config/a%3Fboot=<boot>&x",
	} {
		if got := string(appendMasked(nil, uri)); got != want {
			t.Errorf("%s: got %s, want %s", uri, got, want)
		}
	}
}

// TestSecretInPath holds that a machine that quotes a URL, question mark and all, does not write its secret into logs and events.
func TestSecretInPath(t *testing.T) {
	var event fact.Event
	srv := start(t, func(c *Config) { c.Event = func(e fact.Event) { event = e } })
	for _, path := range []string{"/config/setup?boot=ID.SECRET", "/files/x?boot=ID.SECRET", "/boot=ID.SECRET"} {
		srv.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", (&url.URL{Path: path}).String(), nil))
		if event.File == "" || strings.Contains(event.File+event.Detail, "SECRET") {
			t.Errorf("%s: %q %q", path, event.File, event.Detail)
		}
	}
}

// TestHeadIsBounded: a machine chooses how much it says, and how much of it is repeated is ours to choose.
func TestHeadIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<14)
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", RequestURI: "/" + long, Host: long, Header: http.Header{"User-Agent": {long}, "Range": {long}}}
	if n := len(appendRequest(nil, r)); n > 2*mostHead {
		t.Errorf("%d bytes", n)
	}
}
