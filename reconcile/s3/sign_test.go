package s3

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// The example of the S3 API reference, "Authenticating Requests: Using Query Parameters (AWS Signature Version 4)".
func TestPresignAsDocumented(t *testing.T) {
	k := keys{access: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	o := fact.Object{Endpoint: "https://s3.amazonaws.com", Region: "us-east-1", Bucket: "examplebucket", Key: "test.txt", TTL: 24 * time.Hour}
	want := "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400" +
		"&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	if d := cmp.Diff(want, presign(k, "GET", o, time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))); d != "" {
		t.Error(d)
	}
}

func service(t *testing.T, accounts ...Account) *Service {
	t.Helper()
	s, err := New(accounts, func(name string) string { return name + "-value" }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signedFor(t *testing.T, s *Service, o fact.Object) url.Values {
	t.Helper()
	text, err := s.Presign(o.String())
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

var object = fact.Object{Endpoint: "https://s3.example.net", Region: "eu-west-1", Bucket: "boot-images", Key: "a/kernel", PathStyle: true, TTL: 10 * time.Minute}

// A URL is shared for a tenth of its time, and never given out with less than nine tenths left, whatever the clocks say of each other.
func TestURLsAreSharedForATenth(t *testing.T) {
	for _, skew := range []time.Duration{0, 3 * time.Hour, -47 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := service(t, Account{Endpoint: object.Endpoint, AccessKeyEnv: "A", SecretKeyEnv: "S"})
				s.accounts[0].learn(time.Now().Add(skew).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"), time.Now(), time.Now())
				dates := map[string]bool{}
				for range 600 {
					date := signedFor(t, s, object).Get("X-Amz-Date")
					at, err := time.Parse(stamp, date)
					if err != nil {
						t.Fatal(err)
					}
					if age := time.Now().Add(skew).Sub(at); age < -time.Second || age > time.Minute+time.Second {
						t.Fatalf("after %s by S3's clock, a URL of %s is given out", age, date)
					}
					dates[date] = true
					time.Sleep(time.Second)
				}
				if n := len(dates); n < 10 || n > 11 {
					t.Errorf("%d URLs in the time that one holds, want 10", n)
				}
			})
		})
	}
}

// Each bucket is opened by its own keys, of several accounts at one endpoint too.
func TestAccountOfABucket(t *testing.T) {
	s := service(t,
		Account{Name: "any", Endpoint: "https://s3.example.net", AccessKeyEnv: "ANY", SecretKeyEnv: "S"},
		Account{Name: "boot", Endpoint: "https://s3.example.net", Buckets: []string{"boot-images"}, AccessKeyEnv: "BOOT", SecretKeyEnv: "S"},
		Account{Name: "lab", Endpoint: "http://10.0.0.9:7480", Buckets: []string{"lab"}, AccessKeyEnv: "LAB", SecretKeyEnv: "S", SessionTokenEnv: "T"},
	)
	for _, tt := range []struct{ endpoint, bucket, want string }{
		{"https://s3.example.net", "boot-images", "BOOT-value"},
		{"https://s3.example.net", "other", "ANY-value"},
		{"http://10.0.0.9:7480", "lab", "LAB-value"},
		{"http://10.0.0.9:7480", "boot-images", ""},
		{"http://s3.example.net", "boot-images", ""},
		{"https://evil.example.net", "boot-images", ""},
	} {
		o := object
		o.Endpoint, o.Bucket = tt.endpoint, tt.bucket
		text, err := s.Presign(o.String())
		if tt.want == "" {
			want := fmt.Sprintf("signing a URL of bucket %s at %s: the server's configuration has no s3 block for this endpoint and bucket", tt.bucket, tt.endpoint)
			if text != "" || !errors.Is(err, ErrNoAccount) || err.Error() != want {
				t.Errorf("%s of %s: %q, %v", tt.bucket, tt.endpoint, text, err)
			}
			continue
		}
		q := signedFor(t, s, o)
		if key, _, _ := strings.Cut(q.Get("X-Amz-Credential"), "/"); key != tt.want || !strings.HasPrefix(text, tt.endpoint+"/"+tt.bucket+"/a/kernel?") {
			t.Errorf("%s of %s is signed with %s: %s", tt.bucket, tt.endpoint, key, text)
		}
		if token := q.Get("X-Amz-Security-Token"); (token == "T-value") != (tt.want == "LAB-value") {
			t.Errorf("%s of %s: the token is %q", tt.bucket, tt.endpoint, token)
		}
	}
}

// Keys that are replaced sign the next URL; those that cannot be read leave the old ones in use.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	a := Account{Name: "x", Endpoint: object.Endpoint, AccessKeyFile: write("access", "one\n"), SecretKeyFile: write("secret", "s")}
	s := service(t, a)
	signer := func() string {
		key, _, _ := strings.Cut(signedFor(t, s, object).Get("X-Amz-Credential"), "/")
		return key
	}
	if got := signer(); got != "one" {
		t.Errorf("signed with %q", got)
	}
	write("access", "two")
	if err := s.Reload(); err != nil || signer() != "two" {
		t.Errorf("signed with %q, %v", signer(), err)
	}
	write("access", " ")
	want := `s3 "x": reading a key: ` + dir + `/access: is empty or too large`
	if err := s.Reload(); err == nil || err.Error() != want || signer() != "two" {
		t.Errorf("signed with %q, %v", signer(), err)
	}
	if _, err := New([]Account{a}, os.Getenv, time.Now); err == nil || err.Error() != want {
		t.Error(err)
	}
	for _, a := range []Account{{Name: "x"}, {Name: "x", AccessKeyEnv: "HOSTLER_TEST_UNSET"}, {Name: "x", AccessKeyFile: dir + "/none"}, {Name: "x", CAFile: a.SecretKeyFile}} {
		if _, err := New([]Account{a}, os.Getenv, time.Now); err == nil {
			t.Errorf("%+v is good", a)
		}
	}
}

// What is remembered is bounded.
func TestPresignForgets(t *testing.T) {
	s := service(t, Account{Endpoint: object.Endpoint, AccessKeyEnv: "A", SecretKeyEnv: "S"})
	o := object
	for i := range 3*maxSigned + 7 {
		o.Key = fmt.Sprint("k", i)
		signedFor(t, s, o)
	}
	n := 0
	s.signed.Range(func(any, any) bool { n++; return true })
	if n > maxSigned {
		t.Errorf("%d URLs are remembered", n)
	}
}

func BenchmarkPresign(b *testing.B) {
	s, err := New([]Account{{Endpoint: object.Endpoint, AccessKeyEnv: "A", SecretKeyEnv: "S"}}, func(string) string { return "x" }, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	argument := object.String()
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Presign(argument); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.forget()
			if _, err := s.Presign(argument); err != nil {
				b.Fatal(err)
			}
		}
	})
}
