package examples

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler/examples/vm"
)

// A machine with UEFI boots over TLS with the certificate of a site that nobody else trusts: the loader inside hostler is told of it.
// The machine with BIOS, whose loader cannot be told, boots beside it as ever.
func TestBootOverTLS(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), vm.BootDeadline)
	defer cancel()
	l, err := NewLab(ctx, built(t, "hostler"), "lab", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	config := filepath.Join(l.Files, "server.hcl")
	text := fmt.Sprintf("listen {\n  https = \":8443\"\n}\ntls {\n  cert_file = %q\n  key_file = %q\n  machines = true\n}\n",
		filepath.Join(l.Files, "chain.pem"), filepath.Join(l.Files, "key.pem"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	writeSite(t, l.Files)
	if err := l.Serve(ctx, "-config="+config, "-debug"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"uefi1", "bios1"} {
		g, err := l.Boot(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := CheckCommandLine(ctx, g, name, "first"); err != nil {
			t.Errorf("%v; the log of hostler:\n%s", err, l.Log)
		}
		if err := g.PoweredOff(ctx); err != nil {
			t.Error(err)
		}
		if name == "bios1" { // its ROM says nothing on the serial port
			continue
		}
		for _, path := range []string{"boot/v1/bootscript", "files/"} {
			if !strings.Contains(g.Console.String(), "https://10.77.0.1:8443/"+path) {
				t.Errorf("%s did not fetch %s over TLS:\n%s", name, path, g.Console)
			}
		}
	}
}

// writeSite makes a chain as a site has it: a root, an authority that signs for servers, and the server.
func writeSite(t *testing.T, dir string) {
	t.Helper()
	var chain []byte
	var above *x509.Certificate
	var signer *rsa.PrivateKey
	for i, c := range []*x509.Certificate{
		{Subject: pkix.Name{CommonName: "Site Root"}, IsCA: true},
		{Subject: pkix.Name{CommonName: "Site Servers"}, IsCA: true},
		{Subject: pkix.Name{CommonName: "boot"}, IPAddresses: []net.IP{net.IPv4(10, 77, 0, 1)}},
	} {
		key, err := rsa.GenerateKey(rand.Reader, 3072)
		if err != nil {
			t.Fatal(err)
		}
		c.SerialNumber, c.BasicConstraintsValid = big.NewInt(int64(i+1)), true
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		if above == nil {
			above, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, above, key.Public(), signer)
		if err != nil {
			t.Fatal(err)
		}
		above, signer = c, key
		chain = bytes.Join([][]byte{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), chain}, nil)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(signer)})
	for name, text := range map[string][]byte{"chain.pem": chain, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
