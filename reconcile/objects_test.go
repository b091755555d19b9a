package reconcile

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/reconcile/s3"
	"hostler/reconcile/s3/s3test"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// s3Spec has one file for each way of delivery.
func s3Spec(endpoint, mark string) string {
	store := func(name, deliver string) string {
		return fmt.Sprintf("store %q {\n  s3 {\n    endpoint = %q\n    region   = %q\n    bucket   = \"boot-images\"\n    prefix   = \"cray/\"\n  }\n  deliver = %q\n}\n",
			name, endpoint, s3test.Region, deliver)
	}
	file := func(role, store string) string {
		return fmt.Sprintf("  file %q {\n    store = store.%s\n    key   = %q\n  }\n", role, store, role)
	}
	return "spec {\n  language = 1\n}\n" + store("signed", "presign") + store("passed", "proxy") + store("kept", "mirror") +
		"image \"cray\" {\n" + file("kernel", "signed") + file("initrd", "kept") + file("rootfs", "passed") +
		fmt.Sprintf("  kernel_args = {\n    mark = %q\n    root = \"craycps-s3:${s3uri(\"rootfs\")}:${etag(\"rootfs\")}:dvs\"\n  }\n}\n", mark) + `
subnet "lab" {
  cidr = "10.77.0.0/24"
}
node "n1" {
  subnet  = subnet.lab
  mac     = "52:54:00:77:00:01"
  address = "10.77.0.11"
  image   = image.cray
}
`
}

// s3Rig is a reconciler whose image is in S3.
func s3Rig(t *testing.T) (*rig, *s3test.Server) {
	srv := s3test.New(t, "boot-images")
	for _, name := range []string{"kernel", "initrd", "rootfs"} {
		srv.Put("boot-images", "cray/"+name, []byte(name))
	}
	g := newRig(t, "git", func(c *Config) { c.S3 = srv.Service() })
	g.save("spec.boot.hcl", s3Spec(srv.Endpoint, "one"), "in S3")
	return g, srv
}

func (g *rig) artifact(role string) render.Artifact {
	for id, a := range g.r.Artifacts() {
		if strings.HasSuffix(id, ":"+role) {
			return a
		}
	}
	return render.Artifact{}
}

// content opens what hostler itself serves for a role.
func (g *rig) content(role string) (string, error) {
	f, err := g.r.Open(g.artifact(role).Digest)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err
}

func (g *rig) wantServed(role, want string) {
	g.t.Helper()
	if got, err := g.content(role); err != nil || got != want {
		g.t.Errorf("%s: %q, %v", role, got, err)
	}
}

// Each file of an image is delivered as its store says: by a URL, from S3 through us, or from our disk.
func TestS3Stores(t *testing.T) {
	g, srv := s3Rig(t)
	g.start()
	g.await()
	kernel := g.artifact("kernel")
	if !strings.HasPrefix(kernel.URL, "\x00presign:s3://boot-images/cray/kernel?") || kernel.Size != 6 || !kernel.ByETag || len(kernel.ETag) != 32 {
		t.Errorf("%+v", kernel)
	}
	if _, err := g.content("kernel"); err == nil {
		t.Error("what is presigned is served as well")
	}
	g.wantServed("rootfs", "rootfs")
	g.wantServed("initrd", "initrd")
	if a := g.artifact("initrd"); a.Digest != digestOf([]byte("initrd")).digest || a.ByETag {
		t.Errorf("%+v", a)
	}
	snapshot, _ := g.r.Current()
	n, _ := snapshot.Node("n1")
	if want := "root=craycps-s3:s3://boot-images/cray/rootfs:" + g.artifact("rootfs").ETag + ":dvs"; !strings.Contains(n.KernelArgs, want) {
		t.Errorf("%s has no %s", n.KernelArgs, want)
	}

	t.Run("a file that is passed on can be read from any place", func(t *testing.T) {
		f, err := g.r.Open(g.artifact("rootfs").Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		size, err := f.Seek(0, io.SeekEnd)
		if err != nil || size != 6 {
			t.Error(size, err)
		}
		b := make([]byte, 2)
		for _, at := range []int64{4, 0, 2, 3} {
			if _, err := f.Seek(at, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(f, b); err != nil || string(b) != "rootfs"[at:at+2] {
				t.Errorf("at %d: %q %v", at, b, err)
			}
		}
	})
	t.Run("firmware asks for its size, for parts, and whether it changed", func(t *testing.T) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			f, err := g.r.Open(g.artifact("rootfs").Digest)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("ETag", `"x"`)
			http.ServeContent(w, r, "", time.Time{}, f)
		}))
		defer srv.Close()
		for _, tt := range []struct{ method, header, value, want string }{
			{"GET", "", "", "200 6 rootfs"},
			{"HEAD", "", "", "200 6 "},
			{"GET", "Range", "bytes=4-", "206 2 fs"},
			{"GET", "Range", "bytes=1-2", "206 2 oo"},
			{"GET", "Range", "bytes=9-", "416 "},
			{"GET", "If-None-Match", `"x"`, "304 "},
		} {
			req, err := http.NewRequest(tt.method, srv.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			if tt.header != "" {
				req.Header.Set(tt.header, tt.value)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := fmt.Sprintf("%d %d %s", resp.StatusCode, resp.ContentLength, body); err != nil || got != tt.want && !strings.HasPrefix(got, tt.want+fmt.Sprint(resp.ContentLength)) {
				t.Errorf("%s %s: %s: %s, %v", tt.method, tt.header, tt.value, got, err)
			}
		}
	})
	t.Run("a new object is a new revision of the same commit", func(t *testing.T) {
		before, digest := *snapshot, g.artifact("rootfs").Digest
		for _, name := range []string{"kernel", "initrd", "rootfs"} {
			srv.Put("boot-images", "cray/"+name, []byte("new "+name))
		}
		if _, err := g.r.Open(digest); err == nil || !strings.Contains(err.Error(), "changed since it was observed") {
			t.Errorf("a machine half-way through is given other content: %v", err)
		}
		g.await() // being asked is a hint
		g.wantServed("rootfs", "new rootfs")
		g.wantServed("initrd", "new initrd")
		after, _ := g.r.Current()
		var paths []string
		for _, c := range render.Diff(&before, after) {
			paths = append(paths, c.Path)
			if !strings.Contains(c.New, g.artifact(strings.TrimPrefix(c.Path, "file.")).ETag) {
				t.Errorf("%+v does not show the etag", c)
			}
		}
		if d := cmp.Diff([]string{"file.initrd", "file.kernel", "file.rootfs"}, paths); d != "" {
			t.Error(d)
		}
	})
}

// until waits for a mark, without asking for a cycle: the next one looks at S3 again.
func (g *rig) until(mark string) {
	g.t.Helper()
	for g.mark() != mark {
		g.await()
	}
}

// Whatever goes wrong in S3, the last good state is served, and the status says what is wrong.
func TestS3Failures(t *testing.T) {
	g, srv := s3Rig(t)
	g.start()
	g.await()
	file := filepath.Join(srv.Dir, "buckets", "boot-images", "cray", "kernel")

	srv.Remove("boot-images", "cray/kernel")
	g.wantRefused(RenderFailed, `The file "kernel" of image.cray cannot be served: kernel in store.signed cannot be had: there is no such object (S3: 404 NoSuchKey)`, "one")
	srv.Put("boot-images", "cray/kernel", []byte("kernel"))
	g.reconcile()

	if err := os.Rename(filepath.Dir(filepath.Dir(file)), srv.Dir+"/away"); err != nil {
		t.Fatal(err)
	}
	g.wantRefused(RenderFailed, "there is no such bucket (S3: 404 NoSuchBucket)", "one")
	if err := os.Rename(srv.Dir+"/away", filepath.Dir(filepath.Dir(file))); err != nil {
		t.Fatal(err)
	}

	srv.Stop()
	g.wantRefused(ArtifactFailed, "asking "+srv.Endpoint+": ", "one")
	g.wantServed("initrd", "initrd")
	if _, err := g.content("rootfs"); err == nil {
		t.Error("a file is passed on from a server that is down")
	}
	g.save("spec.boot.hcl", s3Spec(srv.Endpoint, "two"), "S3 has no part in it")
	g.until("two")
	g.save("spec.boot.hcl", strings.ReplaceAll(s3Spec(srv.Endpoint, "three"), "cray/", "other/"), "S3 has a part in it")
	g.wantRefused(ArtifactFailed, "asking "+srv.Endpoint+": ", "two")
	g.save("spec.boot.hcl", s3Spec(srv.Endpoint, "two"), "back")
	g.stop()

	g.start() // with S3 still down: what was seen is remembered
	g.save("spec.boot.hcl", s3Spec(srv.Endpoint, "four"), "after a restart")
	g.until("four")
	g.wantServed("initrd", "initrd")
	srv.Start()
	g.reconcile()
	g.wantServed("rootfs", "rootfs")
	if log := g.log.String(); strings.Contains(log, s3test.Secret) || strings.Contains(log, "X-Amz-") || strings.Contains(log, s3test.Access) {
		t.Error("the log holds keys or signatures")
	}
}

// Keys are in nothing that is kept or shown: the state directory, the status, the snapshot, its digest and the log.
func TestS3KeysStaySecret(t *testing.T) {
	g, srv := s3Rig(t)
	g.start()
	g.await()
	first := g.r.Status().Digest
	snapshot, _ := g.r.Current()
	url, err := g.r.c.S3.Presign(strings.Trim(strings.TrimPrefix(g.artifact("kernel").URL, "\x00presign:"), "\x00"))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.Get(url); err != nil || resp.StatusCode != 200 {
		t.Errorf("%v %v", resp, err)
	}
	all := g.log.String() + fmt.Sprintf("%+v %+v %+v", g.r.Status(), g.r.History(), snapshot.Script(render.Query{Name: "n1"}, 0))
	err = filepath.WalkDir(g.state, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			b, rerr := os.ReadFile(path)
			all, err = all+string(b), rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{s3test.Secret, s3test.Access, "X-Amz-Signature"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q is somewhere", secret)
		}
	}
	g.stop()
	rotated, err := s3.New([]s3.Account{srv.Account()}, func(string) string { return "others" }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	g.config = func(c *Config) { c.S3 = rotated }
	g.start()
	if d := g.r.Status().Digest; d != first {
		t.Errorf("the digest is %s with other keys, and was %s", d, first)
	}
}

// A mirror has what was reviewed, or nothing.
func TestS3Mirror(t *testing.T) {
	srv := s3test.New(t, "bucket")
	content := strings.Repeat("squashfs", 1<<15)
	srv.Put("bucket", "k", []byte(content))
	store := spec.Store{Name: "s", Deliver: spec.DeliverMirror, S3: &spec.S3{Endpoint: srv.Endpoint, Region: s3test.Region, Bucket: "bucket", PathStyle: true, TTL: time.Minute}}
	b := &blobs{t.TempDir()}
	newObserver := func() *observer {
		o := newObserver(b, time.Now)
		o.s3 = srv.Service()
		return o
	}
	observe := func(o *observer, ref spec.FileRef) (render.Artifact, error) {
		as, _, err := o.observe(context.Background(), one(ref, store), nil, nil, nil)
		return as[ref.ID()], err
	}
	good := digestOf([]byte(content)).digest
	o := newObserver()
	a, err := observe(o, spec.FileRef{Store: "s", Key: "k", SHA256: good})
	if want := (render.Artifact{Digest: good, Size: int64(len(content)), ETag: a.ETag}); err != nil || a != want || a.ETag == "" {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = observe(o, spec.FileRef{Store: "s", Key: "k", SHA256: fact.Digest(strings.Repeat("0", 64))}); err != nil || !strings.Contains(a.Problem, "has sha256 "+string(good)+", but 000") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err = observe(o, spec.FileRef{Store: "s", Key: "none"}); err != nil || a.Problem != "cannot be had: there is no such object (S3: 404 NoSuchKey)" {
		t.Errorf("%+v, %v", a, err)
	}
	if len(a.Digest) != 0 {
		t.Errorf("%+v", a)
	}
	huge := filepath.Join(srv.Dir, "buckets", "bucket", "huge")
	sparse(t, huge, 1<<30+1)
	if a, err = observe(o, spec.FileRef{Store: "s", Key: "huge"}); err == nil && a.Problem == "" {
		t.Errorf("%+v", a)
	}
}
