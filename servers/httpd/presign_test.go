package httpd

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// signer signs, or fails.
type signer struct{ err error }

func (s signer) Presign(object string) (string, error) {
	o, err := fact.ParseObject(object)
	if err != nil || s.err != nil {
		return "", errors.Join(err, s.err)
	}
	return o.URL() + "?signature", nil
}

// signedSnapshot boots c0001 from S3, and has a configuration with the URL of a file there.
func signedSnapshot(t *testing.T) *render.Snapshot {
	t.Helper()
	f, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"lab.boot.hcl": {Data: []byte(`
spec {
  language = 1
}
store "images" {
  s3 {
    endpoint = "http://s3.example.net"
    bucket   = "boot"
  }
}
image "rocky9" {
  file "kernel" {
    store = store.images
    key   = "vmlinuz"
  }
}
template "setup" {
  content = "curl {{ url \"kernel\" }}\n"
}
subnet "lab" {
  cidr = "127.0.0.0/24"
}
node "c0001" {
  mac     = "52:54:00:00:00:01"
  address = "127.0.0.1"
  subnet  = subnet.lab
  image   = image.rocky9
  config  = template.setup
}
`)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	ref := f.Images[0].Files[0].File
	as := render.Artifacts{ref.ID(): {Digest: digest([]byte("x")), Size: 1, ETag: "aa", URL: string(fact.NewLate(fact.LatePresign, f.Stores[0].S3.Object(ref.Key).String()))}}
	s, ds := render.Render(f, as, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	return s
}

// URLs are signed for whoever asks for a script or a configuration. When they cannot be, no machine is given a text with a hole: it is told
// why it waits, and comes back.
func TestSignedURLs(t *testing.T) {
	snap := signedSnapshot(t)
	for _, broken := range []bool{false, true} {
		f := start(t, func(c *Config) {
			c.Current = func() (*render.Snapshot, fact.Revision) { return snap, "r1" }
			c.Signer = signer{}
			if broken {
				c.Signer = signer{errors.New("the keys are gone")}
			}
		})
		_, script := f.get(t, "/boot/v1/bootscript?mac=52:54:00:00:00:01")
		status, config := f.get(t, "/config/setup?boot="+string(bootID)+"."+string(token))
		const url = "http://s3.example.net/boot/vmlinuz?signature"
		if !broken {
			if !strings.Contains(script, "kernel --name kernel "+url+" ") || status != 200 || config != "curl "+url+"\n" {
				t.Errorf("%s\n%s", script, config)
			}
			continue
		}
		if !strings.Contains(script, "the server cannot sign the URLs of its image: see its log") || !strings.Contains(script, "chain --replace") ||
			strings.Contains(script, "kernel --name") || strings.Contains(script, "keys are gone") {
			t.Errorf("%s", script)
		}
		if status != 503 || config != "the configuration cannot be put together now: see the server's log\n" {
			t.Errorf("%d %s", status, config)
		}
		for range 2 {
			if e := <-f.events; e.Result != fact.Failed || e.Detail != "the keys are gone" {
				t.Errorf("%+v", e)
			}
		}
	}
}
