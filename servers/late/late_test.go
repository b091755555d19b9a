package late

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

func TestFill(t *testing.T) {
	all := Values{
		Server: netip.MustParseAddr("10.0.0.1"), Base: "http://10.0.0.1:8080/apis/bss",
		Boot: "01JD8ZQ4W7X0000000000000AA", Token: "ABCD", Retries: 3,
	}
	secure := all
	secure.Secure = "https://10.0.0.1:8443"
	unnamed := all
	unnamed.Boot, unnamed.Token = "", "ABCD"
	for _, tt := range []struct {
		why  string
		text fact.Text
		v    Values
		want string
	}{
		{"no late value", "kernel a=b&c=%20+$", all, "kernel a=b&c=%20+$"},
		{"the server's address", "log=" + fact.NewLate(fact.LateServer, "") + ":514", all, "log=10.0.0.1:514"},
		{"the base", fact.NewLate(fact.LateBase, "") + "/boot.ipxe", all, "http://10.0.0.1:8080/apis/bss/boot.ipxe"},
		{"the base over TLS", fact.NewLate(fact.LateSecure, "") + "/x", secure, "https://10.0.0.1:8443/x"},
		{"the base where TLS is not offered", fact.NewLate(fact.LateSecure, "") + "/x", all, "http://10.0.0.1:8080/apis/bss/x"},
		{"the boot", "hostler.boot=" + fact.NewLate(fact.LateBoot, ""), all, "hostler.boot=01JD8ZQ4W7X0000000000000AA.ABCD"},
		{"a boot that is not named has no token", "hostler.boot=" + fact.NewLate(fact.LateBoot, ""), unnamed, "hostler.boot=none"},
		{"retries", "&retry=" + fact.NewLate(fact.LateRetries, ""), all, "&retry=3"},
		{
			"a configuration", fact.NewLate(fact.LateConfig, "setup"), all,
			"http://10.0.0.1:8080/apis/bss/config/setup?boot=01JD8ZQ4W7X0000000000000AA.ABCD",
		},
		{
			"a configuration whose name is no path", fact.NewLate(fact.LateConfig, "a/b c?"), unnamed,
			"http://10.0.0.1:8080/apis/bss/config/a%2Fb%20c%3F?boot=none",
		},
		{"two side by side", fact.NewLate(fact.LateRetries, "") + fact.NewLate(fact.LateRetries, ""), all, "33"},
		{"a URL that nobody can sign", "a=" + fact.NewLate(fact.LatePresign, "s3://b/k?ttl=1h") + " b", all, "a= b"},
		{"one of a newer kind", "x=" + fact.NewLate("vault", "db") + " y", all, "x=<vault:db> y"},
		{"one of a newer kind without argument", fact.NewLate("clock", ""), all, "<clock>"},
	} {
		if diff := cmp.Diff(tt.want, Fill(tt.text, tt.v)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.why, diff)
		}
	}
}

type signer map[string]string

func (s signer) Presign(object string) (string, error) {
	if s[object] == "" {
		return "", errors.New("no keys")
	}
	return s[object], nil
}

// A URL that cannot be signed makes the whole text unusable, and says so.
func TestAppendSigned(t *testing.T) {
	text := "kernel " + fact.NewLate(fact.LatePresign, "a") + " x\ninitrd " + fact.NewLate(fact.LatePresign, "b") + "\n"
	v := Values{Signer: signer{"a": "http://a?1", "b": "http://b?2"}}
	if got := string(Append(nil, text, &v)); got != "kernel http://a?1 x\ninitrd http://b?2\n" || v.Failed != nil {
		t.Errorf("%q, %v", got, v.Failed)
	}
	for _, s := range []Signer{nil, signer{"a": "http://a?1"}} {
		v := Values{Signer: s}
		if got := string(Append(nil, text, &v)); v.Failed == nil {
			t.Errorf("%q", got)
		}
	}
}

func TestBase(t *testing.T) {
	local := netip.MustParseAddr("10.0.0.1")
	for _, tt := range []struct {
		base Base
		want string
	}{
		{Base{}, "http://10.0.0.1"},
		{Base{Port: 80}, "http://10.0.0.1"},
		{Base{Port: 8080}, "http://10.0.0.1:8080"},
		{Base{Port: 8080, Prefix: "/apis/bss"}, "http://10.0.0.1:8080/apis/bss"},
		{Base{Port: 80, Prefix: "apis/bss/"}, "http://10.0.0.1/apis/bss"},
		{Base{Port: 80, Prefix: "/"}, "http://10.0.0.1"},
		{Base{Port: 8080, Prefix: "/x", Advertised: "https://boot.example.org/y/"}, "https://boot.example.org/y"},
	} {
		if got := tt.base.URL(local); got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.base, got, tt.want)
		}
	}
	for _, tt := range []struct {
		base Base
		want string
	}{
		{Base{Port: 8080}, ""},
		{Base{Port: 8080, SecurePort: 8443, Prefix: "/x"}, "https://10.0.0.1:8443/x"},
		{Base{Port: 8080, SecurePort: 443}, "https://10.0.0.1"},
		{Base{SecurePort: 8443, Advertised: "https://boot.example.org/y/"}, "https://boot.example.org/y"},
	} {
		if got := tt.base.Secure(local); got != tt.want {
			t.Errorf("%+v over TLS: got %q, want %q", tt.base, got, tt.want)
		}
	}
	if got, want := (Base{Port: 8080}).URL(netip.MustParseAddr("::ffff:10.0.0.1")), "http://10.0.0.1:8080"; got != want {
		t.Errorf("an address from a socket for both versions: got %s, want %s", got, want)
	}
}

func FuzzFill(f *testing.F) {
	f.Add("plain", "base", "x")
	f.Add("\x00base:\x00", "config", "a\x00b")
	f.Fuzz(func(t *testing.T, text, kind, arg string) {
		got := Fill(fact.Text(text)+fact.NewLate(fact.Late(kind), arg), Values{Base: "http://h", Boot: "B", Token: "T"})
		if !strings.ContainsRune(text+kind+arg, 0) && strings.ContainsRune(got, 0) {
			t.Errorf("a late value is left in %q", got)
		}
	})
}

// TestSecrets writes secrets as the quotes around them want it. What may not be given out leaves nothing that could be used.
func TestSecrets(t *testing.T) {
	v := Values{Secrets: map[string][]byte{"plain": []byte("pass\n"), "odd": []byte("a\"b'c\\\n\n"), "key": {0xff, 0, '\n'}}}
	for _, x := range []struct{ arg, want, failed string }{
		{"plain", "pass", ""},
		{"odd", "a\"b'c\\\n", ""},
		{"json:odd", `a\"b'c\\\n`, ""},
		{"json:json:odd", `a\\\"b'c\\\\\\n`, ""},
		{"shell:odd", "a\"b'\\''c\\\n", ""},
		{"json:shell:odd", `a\"b'\\''c\\\n`, ""},
		{"base64:key", "/wAK", ""},
		{"key", "", `secret "key": it is not text: use secret("key", "base64")`},
		{"hex:plain", "", `secret "plain": this server does not know the encoding "hex"`},
		{"other", "", `secret "other": it may not be given out here`},
	} {
		v := v
		got := string(Append(nil, fact.NewLate(fact.LateSecret, x.arg), &v))
		failed := ""
		if v.Failed != nil {
			failed = v.Failed.Error()
		}
		if got != x.want || failed != x.failed {
			t.Errorf("%s: got %q, %q; want %q, %q", x.arg, got, failed, x.want, x.failed)
		}
	}
	bare := Values{Boot: "B", Token: "T"}
	if got := string(Append(nil, fact.NewLate(fact.LateSecret, "plain"), &bare)); got != "" || bare.Failed == nil {
		t.Errorf("without secrets: %q, %v", got, bare.Failed)
	}
}
