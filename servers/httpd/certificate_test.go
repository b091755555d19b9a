package httpd

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"hostler/render/fact"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

// issue makes a certificate under another one; a zero parent signs itself.
func issue(t testing.TB, name string, parent issued, key crypto.Signer) issued {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
		IsCA: !strings.HasPrefix(name, "boot"), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	above := parent
	if parent.Certificate == nil {
		above = issued{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, above.Certificate, key.Public(), above.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return issued{made, key}
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// site is a chain of three, and the files that hold it.
type site struct {
	root, middle, leaf issued
	chain, key         string
}

func newSite(t testing.TB) site {
	t.Helper()
	s := site{chain: filepath.Join(t.TempDir(), "chain.pem"), key: filepath.Join(t.TempDir(), "key.pem")}
	s.root = issue(t, "Site Root", issued{}, rsaKey(t))
	s.middle = issue(t, "Site Issuing", s.root, rsaKey(t))
	s.leaf = issue(t, "boot", s.middle, rsaKey(t))
	s.write(t, s.leaf, s.leaf, s.middle, s.root)
	return s
}

// write puts the certificates into the one file, and the key of the first argument into the other.
func (s site) write(t testing.TB, key issued, chain ...issued) {
	t.Helper()
	var b bytes.Buffer
	for _, c := range chain {
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.key)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{s.chain: b.Bytes(), s.key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		if err := os.WriteFile(name+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil { // as certbot and Kubernetes do
			t.Fatal(err)
		}
	}
}

func sumOf(c issued) fact.Digest {
	sum := sha256.Sum256(c.Raw)
	return fact.Digest(hex.EncodeToString(sum[:]))
}

// TestTLS asks over TLS as three ages of iPXE would, and sees that a machine that came over TLS stays there.
func TestTLS(t *testing.T) {
	s := newSite(t)
	cert, err := LoadCertificate(s.chain, s.key, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if cert.Trust() != sumOf(s.root) {
		t.Errorf("loaders are told to trust %s, want the root", cert.Trust())
	}
	srv := start(t, func(c *Config) { c.Secure, c.TLS = netip.MustParseAddrPort("127.0.0.1:0"), cert })
	at := srv.Addrs()[1].String()
	roots := x509.NewCertPool()
	roots.AddCert(s.root.Certificate)
	for _, tt := range []struct {
		who     string
		suites  []uint16
		version uint16
		refused bool
	}{
		{"iPXE of today", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}, tls.VersionTLS12, false},
		{"iPXE of 2022", []uint16{tls.TLS_RSA_WITH_AES_256_GCM_SHA384}, tls.VersionTLS12, false},
		{"iPXE of 2015", []uint16{tls.TLS_RSA_WITH_AES_256_CBC_SHA}, tls.VersionTLS12, false},
		{"curl", nil, tls.VersionTLS13, false},
		{"what is out of use", nil, tls.VersionTLS11, true},
	} {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: roots, CipherSuites: tt.suites, MinVersion: tls.VersionTLS10, MaxVersion: tt.version}}}
		defer client.CloseIdleConnections()
		resp, err := client.Get("https://" + at + "/boot/v1/bootscript?mac=52:54:00:00:00:01")
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.who, err)
		}
		if err != nil {
			continue
		}
		script, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if base := "kernel --name kernel https://" + at + "/apis/bss/files/"; !strings.Contains(string(script), base) || strings.Contains(string(script), "http://") {
			t.Errorf("%s got, not with %s:\n%s", tt.who, base, script)
		}
		if resp.TLS.Version != tt.version {
			t.Errorf("%s speaks %s", tt.who, tls.VersionName(resp.TLS.Version))
		}
		resp, err = client.Get("https://" + at + "/files/" + string(digest(contents["initrd-2"])) + "/initrd")
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(b, contents["initrd-2"]) {
			t.Errorf("%s got a file of %d bytes, %v", tt.who, len(b), err)
		}
		resp.Body.Close()
	}
	if _, script := srv.get(t, "/boot/v1/bootscript?mac=52:54:00:00:00:01"); strings.Contains(script, "https://") {
		t.Errorf("without TLS a machine is sent to it:\n%s", script)
	}
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	s := newSite(t)
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c, err := LoadCertificate(s.chain, s.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		go c.follow(t.Context())
		later := func() { time.Sleep(lookAgain); synctest.Wait() }
		said := func(texts ...string) {
			t.Helper()
			for _, text := range texts {
				if strings.Count(log.String(), text) != 1 {
					t.Errorf("the log says %q not once:\n%s", text, &log)
				}
			}
			log.Reset()
		}
		renewed := issue(t, "boot renewed", s.middle, s.leaf.key)
		s.write(t, renewed, renewed, s.middle, s.root)
		later()
		if c.Leaf().Subject.CommonName != "boot renewed" || c.Trust() != sumOf(s.root) {
			t.Errorf("%s is shown", c.Leaf().Subject)
		}
		said(`msg="the TLS certificate changed" subject="CN=boot renewed"`)

		if err := os.WriteFile(s.chain, []byte("half a certif"), 0o600); err != nil {
			t.Fatal(err)
		}
		later()
		later()
		if c.Leaf().Subject.CommonName != "boot renewed" {
			t.Errorf("%s is shown", c.Leaf().Subject)
		}
		said(`msg="the TLS certificate changed, and the last good one stays"`)

		root := issue(t, "New Root", issued{}, s.root.key)
		leaf := issue(t, "boot again", root, s.leaf.key)
		s.write(t, leaf, leaf, root)
		later()
		if c.Leaf().Subject.CommonName != "boot again" || c.Trust() != sumOf(root) {
			t.Errorf("%s is shown, and %s trusted", c.Leaf().Subject, c.Trust())
		}
		said("has another root", `subject="CN=boot again"`)
	})
}

func TestBadCertificates(t *testing.T) {
	s := newSite(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := issue(t, "boot", s.root, ec)
	for _, tt := range []struct {
		why   string
		key   issued
		chain []issued
		want  string // after "reading the TLS certificate: CHAIN"
	}{
		{"the order is wrong", s.leaf, []issued{s.leaf, s.root, s.middle},
			": certificate 2 is not signed by certificate 3: write the server's own first, and each one's issuer after it"},
		{"one is missing", s.leaf, []issued{s.leaf, s.root},
			": certificate 1 is not signed by certificate 2: write the server's own first, and each one's issuer after it"},
		{"iPXE cannot check it", curve, []issued{curve, s.root}, ": certificate 1 has a key of type ECDSA: iPXE checks RSA only"},
		{"the key is another's", s.middle, []issued{s.leaf, s.middle, s.root}, ", " + s.key + ": tls: private key does not match public key"},
		{"a root is not needed when its issuer is to be trusted", s.leaf, []issued{s.leaf, s.middle}, ""},
		{"it signed itself", s.root, []issued{s.root}, ""},
	} {
		s.write(t, tt.key, tt.chain...)
		got, want := "", ""
		if _, err := LoadCertificate(s.chain, s.key, nil); err != nil {
			got = err.Error()
		}
		if tt.want != "" {
			want = "reading the TLS certificate: " + s.chain + tt.want
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.why, got, want)
		}
	}
}
