package httpd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/google/go-cmp/cmp"

	"hostler/render"
	"hostler/render/fact"
	"hostler/servers/bss"
)

// described are requests of each kind that the OpenAPI document describes, with what each is answered. Between them they have
// every address, method, parameter and status; a test holds them to that.
var described = []struct {
	name   string
	on     string // "": machine c0001 asks a server with a revision; empty: of a server without one; stranger, reader, token, broken
	method string
	path   string
	header string
	body   string
	status int
}{
	{"a script", "", "GET", "/boot/v1/bootscript?mac=52-54-00-00-00-01&retry=1&tried=00000000&arch=x86_64&ts=1", "", "", 200},
	{"a script by nid", "", "GET", "/boot/v1/bootscript?nid=1", "", "", 200},
	{"a script for nobody", "stranger", "GET", "/boot/v1/bootscript?name=nobody", "", "", 200},
	{"no script yet", "empty", "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:01", "", "", 200},
	{"what the script is made of", "", "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:01&json=1", "", "", 200},
	{"another's", "", "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:02&json=1", "", "", 403},
	{"nobody's", "reader", "GET", "/boot/v1/bootscript?mac=52:54:00:00:00:99&json=1", "", "", 404},
	{"whose", "", "GET", "/boot/v1/bootscript?json=1", "", "", 400},
	{"too early", "empty", "GET", "/boot/v1/bootscript?name=c0001&json=1", "", "", 503},
	{"whoever asks", "", "GET", "/boot.ipxe?retry=2", "", "", 200},
	{"a stranger", "stranger", "GET", "/boot.ipxe", "", "", 200},

	{"its own", "", "GET", "/boot/v1/bootparameters", "", "", 200},
	{"everybody's", "reader", "GET", "/boot/v1/bootparameters", "", "", 200},
	{"by token", "token", "GET", "/boot/v1/bootparameters?name=c0002,x3000c0s17b4n0&mac=5254.0000.0002&nid=1", "", "", 200},
	{"by a body", "reader", "GET", "/boot/v1/bootparameters", "Content-Type: application/json", `{"hosts": ["c0001"], "nids": [1]}`, 200},
	{"a wrong token", "", "GET", "/boot/v1/bootparameters?name=c0002", "Authorization: Bearer guess", "", 403},
	{"a stranger", "stranger", "GET", "/boot/v1/bootparameters", "", "", 403},
	{"nobody", "reader", "GET", "/boot/v1/bootparameters?name=nobody", "", "", 404},
	{"no nid", "reader", "GET", "/boot/v1/bootparameters?nid=x", "", "", 400},
	{"too early", "empty", "GET", "/boot/v1/bootparameters", "", "", 503},
	{"put", "reader", "PUT", "/boot/v1/bootparameters", "", `{}`, 405},
	{"post", "reader", "POST", "/boot/v1/bootparameters", "", `{}`, 405},
	{"patch", "reader", "PATCH", "/boot/v1/bootparameters", "", `{}`, 405},
	{"delete", "reader", "DELETE", "/boot/v1/bootparameters", "", `{}`, 405},

	{"itself", "", "GET", "/boot/v1/hosts", "", "", 200},
	{"everybody", "reader", "GET", "/boot/v1/hosts", "", "", 200},
	{"some", "reader", "GET", "/boot/v1/hosts?name=c0002&mac=52:54:00:00:00:01&nid=1", "", "", 200},
	{"another", "", "GET", "/boot/v1/hosts?name=c0002", "", "", 403},
	{"nobody", "reader", "GET", "/boot/v1/hosts?nid=99", "", "", 404},
	{"no MAC", "reader", "GET", "/boot/v1/hosts?mac=x", "", "", 400},
	{"too early", "empty", "GET", "/boot/v1/hosts", "", "", 503},
	{"again", "", "POST", "/boot/v1/hosts", "", "", 204},

	{"its own", "", "GET", "/boot/v1/endpoint-history?name=c0001&endpoint=bootscript", "", "", 200},
	{"everybody's", "reader", "GET", "/boot/v1/endpoint-history", "", "", 200},
	{"another's", "", "GET", "/boot/v1/endpoint-history?name=c0002", "", "", 403},
	{"nobody's", "reader", "GET", "/boot/v1/endpoint-history?name=nobody", "", "", 404},
	{"no endpoint", "reader", "GET", "/boot/v1/endpoint-history?endpoint=kernel", "", "", 400},
	{"too early", "empty", "GET", "/boot/v1/endpoint-history", "", "", 503},

	{"it runs", "", "GET", "/boot/v1/service/status", "", "", 200},
	{"all", "", "GET", "/boot/v1/service/status/all", "", "", 200},
	{"all, too early", "empty", "GET", "/boot/v1/service/status/all", "", "", 500},
	{"version", "empty", "GET", "/boot/v1/service/version", "", "", 200},
	{"inventory", "", "GET", "/boot/v1/service/hsm", "", "", 200},
	{"none", "empty", "GET", "/boot/v1/service/hsm", "", "", 500},
	{"etcd", "", "GET", "/boot/v1/service/etcd", "", "", 200},
	{"none", "empty", "GET", "/boot/v1/service/etcd", "", "", 500},
	{"storage", "", "GET", "/boot/v1/service/storage/status", "", "", 200},
	{"none", "empty", "GET", "/boot/v1/service/storage/status", "", "", 500},
	{"this", "", "GET", "/boot/v1/openapi.yaml", "", "", 200},

	{"meta-data", "", "GET", "/meta-data", "", "", 200},
	{"a part", "", "GET", "/meta-data?key=ids.nid", "", "", 200},
	{"no part", "", "GET", "/meta-data?key=ids.x", "", "", 404},
	{"an undeclared machine's", "guest", "GET", "/meta-data", "", "", 200},
	{"a stranger's", "stranger", "GET", "/meta-data", "", "", 404},
	{"too early", "empty", "GET", "/meta-data", "", "", 503},
	{"user-data", "", "GET", "/user-data", "", "", 200},
	{"an undeclared machine's", "guest", "GET", "/user-data", "", "", 200},
	{"a secret", "secret", "GET", "/user-data", "", "", 403},
	{"a secret", "secret", "GET", "/vendor-data", "", "", 403},
	{"a secret", "secret", "GET", "/network-config", "", "", 403},
	{"a stranger's", "stranger", "GET", "/user-data", "", "", 404},
	{"too early", "empty", "GET", "/user-data", "", "", 503},
	{"vendor-data", "", "GET", "/vendor-data", "", "", 200},
	{"a stranger's", "stranger", "GET", "/vendor-data", "", "", 404},
	{"too early", "empty", "GET", "/vendor-data", "", "", 503},
	{"network", "", "GET", "/network-config", "", "", 200},
	{"an undeclared machine's", "guest", "GET", "/network-config", "", "", 404},
	{"too early", "empty", "GET", "/network-config", "", "", 503},
	{"a proven part", "", "GET", "/cloud-init/boot=" + proof + "/meta-data?key=name", "", "", 200},
	{"a proven configuration", "", "GET", "/cloud-init/boot=" + proof + "/user-data", "", "", 200},
	{"a proven report", "", "GET", "/cloud-init/boot=" + proof + "/vendor-data", "", "", 200},
	{"a proven network", "", "GET", "/cloud-init/boot=" + proof + "/network-config", "", "", 200},
	{"no such key", "", "GET", "/cloud-init/boot=" + proof + "/meta-data?key=x", "", "", 404},
	{"no proof", "", "GET", "/cloud-init/boot=none/user-data", "", "", 403},
	{"another's proof", "stranger", "GET", "/cloud-init/boot=" + proof + "/user-data", "", "", 403},
	{"an old boot", "old", "GET", "/cloud-init/boot=" + proof + "/user-data", "", "", 410},

	{"an object that cannot be signed", "unsigned", "GET", "/cloud-init/boot=" + proof + "/user-data", "", "", 503},
	{"an object that cannot be signed", "unsigned", "GET", "/config/setup?boot=" + proof, "", "", 503},

	{"in the query", "", "POST", "/phone-home?boot=" + proof, "", "", 200},
	{"in a form", "", "POST", "/phone-home", "Content-Type: application/x-www-form-urlencoded", "boot=" + proof, 200},
	{"in JSON", "", "POST", "/phone-home", "Content-Type: application/json", `{"boot": "` + proof + `"}`, 200},
	{"by its address", "", "POST", "/phone-home", "Content-Type: application/x-www-form-urlencoded", "hostname=c0001", 200},
	{"a stranger", "stranger", "POST", "/phone-home", "", "", 400},
	{"a wrong token", "", "POST", "/phone-home?boot=a.b", "", "", 403},
	{"too much", "", "POST", "/phone-home", "", strings.Repeat("x", maxReport+1), 413},
	{"cannot be noted", "broken", "POST", "/phone-home?boot=" + proof, "", "", 503},
	{"configuration", "", "GET", "/config/setup?boot=" + proof, "", "", 200},
	{"no token", "", "GET", "/config/setup?boot=none", "", "", 403},
	{"no template", "", "GET", "/config/none?boot=" + proof, "", "", 404},
	{"an old boot", "old", "GET", "/config/setup?boot=" + proof, "", "", 410},
	{"a file", "", "GET", "/files/{{vmlinuz-1}}/k", "", "", 200},
	{"a part", "", "GET", "/files/{{vmlinuz-1}}/k", "Range: bytes=0-1", "", 206},
	{"the same", "", "GET", "/files/{{vmlinuz-1}}/k", `If-None-Match: "{{vmlinuz-1}}"`, "", 304},
	{"no such file", "", "GET", "/files/x/k", "", "", 404},
	{"another", "", "GET", "/files/{{vmlinuz-1}}/k", `If-Match: "x"`, "", 412},
	{"no such part", "", "GET", "/files/{{vmlinuz-1}}/k", "Range: bytes=99-", "", 416},
	{"broken", "broken", "GET", "/files/{{vmlinuz-1}}/k", "", "", 500},
	{"healthy", "", "GET", "/healthz", "", "", 200},
}

const proof = string(bootID) + "." + string(token)

// TestOpenAPI holds the OpenAPI document against the handlers, both ways: each answer is one that it describes, and each
// address, method, parameter and status that it describes is among the answers; each address that is served is described.
func TestOpenAPI(t *testing.T) {
	doc, router := document(t)
	servers := map[string]fixture{}
	seen := map[string]bool{}
	for _, t := range []string{"text/yaml", "text/x-shellscript"} {
		openapi3filter.RegisterBodyDecoder(t, openapi3filter.FileBodyDecoder)
	}
	for _, tt := range described {
		if _, ok := servers[tt.on]; !ok {
			servers[tt.on] = startDescribed(t, tt.on)
		}
		t.Run(tt.method+" "+strings.SplitN(tt.path, "?", 2)[0]+" "+tt.name, func(t *testing.T) {
			f := servers[tt.on]
			req := f.request(t, tt.method, tt.path, tt.header, tt.body, tt.on)
			resp := f.answerTo(t, req, tt.on)
			if resp.StatusCode != tt.status {
				t.Fatalf("status %d, want %d:\n%s", resp.StatusCode, tt.status, resp.body)
			}
			where, params, err := router.FindRoute(req)
			if err != nil {
				t.Fatal(err)
			}
			in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: where}
			err = openapi3filter.ValidateResponse(context.Background(), (&openapi3filter.ResponseValidationInput{
				RequestValidationInput: in, Status: resp.StatusCode, Header: resp.Header, Options: &openapi3filter.Options{IncludeResponseStatus: true},
			}).SetBodyBytes(resp.body))
			if err != nil {
				t.Errorf("not as described: %v", err)
			}
			key := tt.method + " " + where.Path
			seen[fmt.Sprintf("%s %d", key, tt.status)] = true
			for name := range req.URL.Query() {
				seen[key+" query "+name] = true
			}
			for name := range params {
				seen[key+" path "+name] = true
			}
		})
	}
	want := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			for status := range op.Responses.Map() {
				want[method+" "+path+" "+status] = true
			}
			for _, p := range op.Parameters {
				want[method+" "+path+" "+p.Value.In+" "+p.Value.Name] = true
			}
		}
	}
	if d := cmp.Diff(want, seen); d != "" {
		t.Errorf("-described +served:\n%s", d)
	}
}

// TestEveryAddressIsDescribed finds addresses that the document does not have, and methods that one of the two does not have.
func TestEveryAddressIsDescribed(t *testing.T) {
	doc, _ := document(t)
	want, got := map[string]string{}, map[string]string{}
	for path, item := range doc.Paths.Map() {
		below, _, _ := strings.Cut(path, "{")
		var methods []string
		for m, op := range item.Operations() {
			if op.Responses.Value("405") == nil {
				methods = append(methods, m)
			}
		}
		slices.Sort(methods)
		want[below] = strings.Join(methods, ", ")
	}
	for _, r := range addresses() {
		got[r.path] = strings.ReplaceAll(r.methods, "HEAD, ", "")
		got[r.path] = strings.TrimSuffix(strings.ReplaceAll(got[r.path], ", HEAD", ""), ", ")
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-described +served:\n%s", d)
	}
}

func document(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(bss.OpenAPI)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil // whatever the host and the prefix
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return doc, router
}

// startDescribed starts a server in the state that a request needs.
func startDescribed(t *testing.T, on string) fixture {
	t.Helper()
	f := start(t, func(c *Config) {
		c.Base.Prefix = ""
		c.BSS = BSS{Version: "1.2.3", Token: func() string { return "shown" }, Seen: func(fact.MAC) bss.Seen {
			return bss.Seen{Script: time.Unix(1635284155, 0), Ready: true}
		}}
		switch on {
		case "reader":
			c.BSS.Readers = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		case "empty":
			c.Current = func() (*render.Snapshot, fact.Revision) { return nil, "" }
		case "old":
			c.At = func(fact.Revision) (*render.Snapshot, bool) { return nil, false }
		case "secret":
			two := snapshotOf(t, strings.ReplaceAll(fleet, "config = template.setup", "config = { user-data = template.vault, vendor-data = template.vault, network-config = template.vault }"))
			c.Current = func() (*render.Snapshot, fact.Revision) { return two, "r2" }
		case "unsigned":
			c.At = func(fact.Revision) (*render.Snapshot, bool) {
				return snapshotOf(t, strings.NewReplacer(`local {`, `s3 {`, `path = "/srv/images"`, "endpoint = \"https://s3.example.net\"\n    bucket = \"images\"",
					`# revision VERSION`, "{{ url `kernel` }}").Replace(fleet)), true
			}
		case "broken":
			c.Blobs = blobsFunc(func(fact.Digest) (io.ReadSeekCloser, error) { return nil, io.ErrUnexpectedEOF })
		}
	})
	if on == "broken" {
		f.boots.fail = io.ErrShortWrite
	}
	return f
}

func (f fixture) request(t *testing.T, method, path, header, body, on string) *http.Request {
	t.Helper()
	for key, b := range contents {
		path, header = expand(path, "{{"+key+"}}", string(digest(b))), expand(header, "{{"+key+"}}", string(digest(b)))
	}
	req, err := http.NewRequest(method, f.url(path), bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	if k, v, ok := strings.Cut(header, ": "); ok {
		req.Header.Set(k, v)
	}
	if on == "token" {
		req.Header.Set("Authorization", "Bearer shown")
	}
	return req
}

type answered struct {
	*http.Response
	body []byte
}

// answerTo sends a request from the address of the machine that asks.
func (f fixture) answerTo(t *testing.T, req *http.Request, on string) answered {
	t.Helper()
	from := "127.0.0.1"
	switch on {
	case "stranger":
		from = "127.0.0.200"
	case "guest":
		from = "127.0.1.77"
	}
	tr := &http.Transport{DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answered{resp, body}
}
