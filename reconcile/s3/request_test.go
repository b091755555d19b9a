package s3_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/reconcile/s3"
	"hostler/reconcile/s3/s3test"
	"hostler/render/fact"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// What we sign, a real server opens: any key, and nothing but that object.
func TestRealServer(t *testing.T) {
	srv := s3test.New(t, "boot-images", "other")
	service := srv.Service()
	for _, key := range []string{"kernel", "29c2cc23/a b+c=d&e%f;g,h@i(j)'k*l!m~n", "ä/ö", "x:y", "a$b{c}"} {
		srv.Put("boot-images", key, []byte("content of "+key))
		o := srv.Object("boot-images", key)
		url, err := service.Presign(o.String())
		if err != nil {
			t.Fatal(err)
		}
		if status, body := get(t, url); status != 200 || body != "content of "+key {
			t.Errorf("%s: %d %s", key, status, body)
		}
		if status, _ := get(t, strings.Replace(url, "X-Amz-Expires=900", "X-Amz-Expires=901", 1)); status != 403 {
			t.Errorf("%s: a URL that was changed is answered with %d", key, status)
		}
		f, err := service.Stat(context.Background(), o)
		if err != nil || f.Size != int64(len("content of "+key)) || len(f.ETag) != 32 {
			t.Errorf("%s: %+v, %v", key, f, err)
		}
	}
	srv.Put("other", "empty", nil)
	if f, err := service.Stat(context.Background(), srv.Object("other", "empty")); err != nil || f.Size != 0 {
		t.Errorf("an empty object: %+v, %v", f, err)
	}
}

// What S3 says of an object that cannot be had, in words that tell an operator what to do.
func TestRefusals(t *testing.T) {
	srv := s3test.New(t, "boot-images")
	srv.Put("boot-images", "kernel", []byte("kernel"))
	wrong := func(name string) string {
		return strings.NewReplacer(s3test.Access, "SOMEBODYELSE", s3test.Secret, "wrong").Replace(s3test.Getenv(name))
	}
	account := srv.Account()
	for _, tt := range []struct {
		what   string
		o      fact.Object
		getenv func(string) string
		want   string
	}{
		{"no object", srv.Object("boot-images", "kernal"), s3test.Getenv, "there is no such object (S3: 404 NoSuchKey)"},
		{"no bucket", srv.Object("boot-image", "kernel"), s3test.Getenv, "there is no such bucket (S3: 404 NoSuchBucket)"},
		{"unknown key", srv.Object("boot-images", "kernel"), func(n string) string {
			if n == s3test.AccessEnv {
				return wrong(n)
			}
			return s3test.Getenv(n)
		}, "S3: 404 XAdminUserNotFound"}, // this server's own word
		{"wrong secret", srv.Object("boot-images", "kernel"), func(n string) string {
			if n == s3test.SecretEnv {
				return wrong(n)
			}
			return s3test.Getenv(n)
		}, "the secret key, or the region, is not the right one (S3: 403 SignatureDoesNotMatch)"},
	} {
		service, err := s3.New([]s3.Account{account}, tt.getenv, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = service.Stat(context.Background(), tt.o)
		if refused := (*s3.Refused)(nil); !errors.As(err, &refused) || err.Error() != tt.want {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	none, err := s3.New(nil, s3test.Getenv, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := none.Stat(context.Background(), srv.Object("boot-images", "kernel")); err == nil || err.Error() != "the keys do not open this object (S3: 403 AccessDenied)" {
		t.Errorf("without keys: %v", err)
	}
	srv.Stop()
	_, err = srv.Service().Stat(context.Background(), srv.Object("boot-images", "kernel"))
	if refused := (*s3.Refused)(nil); err == nil || errors.As(err, &refused) || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "Signature") {
		t.Errorf("a server that is down: %v", err)
	}
}

// The endpoint's clock counts. This host's may be wrong by hours: the first answer says so, and both what we ask and what machines are
// given is right from then on.
func TestSkewedClock(t *testing.T) {
	srv := s3test.New(t, "boot-images")
	srv.Put("boot-images", "kernel", []byte("kernel"))
	o := srv.Object("boot-images", "kernel")
	for _, skew := range []time.Duration{-26 * time.Hour, -40 * time.Minute, 40 * time.Minute, 26 * time.Hour} {
		now := func() time.Time { return time.Now().Add(skew) }
		service, err := s3.New([]s3.Account{srv.Account()}, s3test.Getenv, now)
		if err != nil {
			t.Fatal(err)
		}
		url, err := service.Presign(o.String())
		if err != nil {
			t.Fatal(err)
		}
		if status, _ := get(t, url); skew < 0 && status != 403 {
			t.Errorf("%s: a URL that has expired by the real server's clock is answered with %d", skew, status)
		}
		if f, err := service.Stat(context.Background(), o); err != nil || f.Size != 6 {
			t.Fatalf("%s: %+v, %v", skew, f, err)
		}
		if url, err = service.Presign(o.String()); err != nil {
			t.Fatal(err)
		}
		if status, body := get(t, url); status != 200 || body != "kernel" {
			t.Errorf("%s: %d %s", skew, status, body)
		}
		want := []s3.Clock{{Name: "test", Endpoint: srv.Endpoint, Ahead: -skew.Round(time.Minute)}}
		got := service.Clocks()
		for i := range got {
			got[i].Ahead = got[i].Ahead.Round(time.Minute)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}

// selfSigned makes a certificate for loopback that no system trusts.
func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = dir+"/cert.pem", dir+"/key.pem"
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// A private authority is trusted where the configuration names it, and the error says so where it does not.
func TestPrivateAuthority(t *testing.T) {
	srv := s3test.Prepare(t, "boot-images")
	srv.CertFile, srv.KeyFile = selfSigned(t)
	srv.Start()
	srv.Put("boot-images", "kernel", []byte("kernel"))
	o := srv.Object("boot-images", "kernel")
	if f, err := srv.Service().Stat(context.Background(), o); err != nil || f.Size != 6 {
		t.Errorf("%+v, %v", f, err)
	}
	account := srv.Account()
	account.CAFile = ""
	service, err := s3.New([]s3.Account{account}, s3test.Getenv, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = service.Stat(context.Background(), o)
	if err == nil || !strings.HasPrefix(err.Error(), "asking "+srv.Endpoint+": ") || !strings.HasSuffix(err.Error(), ": name its authority with ca_file in the s3 block of the server's configuration") {
		t.Error(err)
	}
}

// A server that is no S3 server, or lies, is an error and nothing worse.
func TestOddAnswers(t *testing.T) {
	for _, tt := range []struct {
		what  string
		write func(http.ResponseWriter)
		want  string
	}{
		{"no etag", func(w http.ResponseWriter) { fmt.Fprint(w, "x") }, "the answer has no ETag, or no length"},
		{"a long etag", func(w http.ResponseWriter) { w.Header().Set("ETag", strings.Repeat("x", 200)); fmt.Fprint(w, "x") }, "the answer has no ETag, or no length"},
		{"an etag with a space", func(w http.ResponseWriter) { w.Header().Set("ETag", `"a b"`); fmt.Fprint(w, "x") }, "the answer has no ETag, or no length"},
		{"an odd range", func(w http.ResponseWriter) {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Range", "bytes 0-0/*")
			w.WriteHeader(206)
		}, `reading Content-Range "bytes 0-0/*": expected integer`},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", "http://127.0.0.1:1/"); w.WriteHeader(307) }, "S3: 307 Temporary Redirect"},
		{"busy", func(w http.ResponseWriter) { w.WriteHeader(503); fmt.Fprint(w, "<Error><Code>SlowDown</Code></Error>") }, "the endpoint answers: S3: 503 SlowDown"},
		{"an unknown key", func(w http.ResponseWriter) {
			w.WriteHeader(403)
			fmt.Fprint(w, "<Error><Code>InvalidAccessKeyId</Code></Error>")
		}, "the endpoint does not know the access key (S3: 403 InvalidAccessKeyId)"},
		{"no document", func(w http.ResponseWriter) { w.WriteHeader(403); fmt.Fprint(w, "\x00<") }, "S3: 403 Forbidden"},
		{"a code for terminals", func(w http.ResponseWriter) { w.WriteHeader(403); fmt.Fprint(w, "<Error><Code>a\u009bm</Code></Error>") }, "S3: 403 a?m"},
		{"an endless document", func(w http.ResponseWriter) {
			w.WriteHeader(400)
			fmt.Fprint(w, "<Error><Code>", strings.Repeat("x", 1<<20))
		}, "S3: 400 Bad Request"},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tt.write(w) }))
		service, err := s3.New([]s3.Account{{Endpoint: srv.URL, AccessKeyEnv: s3test.AccessEnv, SecretKeyEnv: s3test.SecretEnv}}, s3test.Getenv, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		_, err = service.Stat(context.Background(), fact.Object{Endpoint: srv.URL, Bucket: "b", Key: "k", PathStyle: true})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s: %v", tt.what, err)
		}
		srv.Close()
	}
}

// TestNobodyIsFollowed: an endpoint does not choose what else this host asks, without keys either.
func TestNobodyIsFollowed(t *testing.T) {
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s was asked for", r.URL)
	}))
	defer inside.Close()
	outside := httptest.NewServer(http.RedirectHandler(inside.URL+"/latest/meta-data", http.StatusTemporaryRedirect))
	defer outside.Close()
	s, err := s3.New(nil, os.Getenv, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), fact.Object{Endpoint: outside.URL, Bucket: "b", Key: "k", PathStyle: true})
	if refused := (*s3.Refused)(nil); !errors.As(err, &refused) || refused.Status != http.StatusTemporaryRedirect {
		t.Error(err)
	}
}
