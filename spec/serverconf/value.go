package serverconf

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

type (
	duration64 = time.Duration
	addrPort   = netip.AddrPort
)

const (
	second = time.Second
	hour   = time.Hour
	day    = 24 * time.Hour
)

// text sets a string after a check, which may also put it into its plain form.
func text(field func(*Config) *string, check func(string) (string, error)) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf("a string in quotes is required, not %s", v.Type().FriendlyName())
		}
		s, err := check(v.AsString())
		if err == nil {
			*field(c) = s
		}
		return err
	}
}

// texts is a list of strings, each of which passes the check.
func texts(field func(*Config) *[]string, check func(string) (string, error)) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if t := v.Type(); !t.IsTupleType() && !t.IsListType() {
			return fmt.Errorf("a list of strings is required, not %s", t.FriendlyName())
		}
		var list []string
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			if e.IsNull() || e.Type() != cty.String {
				return fmt.Errorf("a list of strings is required, and one of its elements is none")
			}
			s, err := check(e.AsString())
			if err != nil {
				return err
			}
			list = append(list, s)
		}
		*field(c) = list
		return nil
	}
}

func boolean(field func(*Config) *bool) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if v.Type() != cty.Bool {
			return fmt.Errorf("true or false is required, not %s", v.Type().FriendlyName())
		}
		*field(c) = v.True()
		return nil
	}
}

func duration(field func(*Config) *duration64, low, high time.Duration) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf(`a duration in quotes is required, as "90s" or "5m", not %s`, v.Type().FriendlyName())
		}
		d, err := time.ParseDuration(v.AsString())
		if err != nil {
			return fmt.Errorf(`%q is not a duration, as "90s" or "5m" is`, v.AsString())
		}
		if d < low || d > high {
			return fmt.Errorf("%s is not between %s and %s", v.AsString(), plain(low), plain(high))
		}
		*field(c) = d
		return nil
	}
}

// plain is a duration without zeros at its end.
func plain(d time.Duration) string {
	if d%time.Hour == 0 {
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return d.String()
}

func count(field func(*Config) *int, low, high int64) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		n, err := whole(v, low, high)
		if err == nil {
			*field(c) = int(n)
		}
		return err
	}
}

func whole(v cty.Value, low, high int64) (int64, error) {
	if v.Type() != cty.Number {
		return 0, fmt.Errorf("a number is required, not %s", v.Type().FriendlyName())
	}
	f, _ := v.AsBigFloat().Float64()
	if f != math.Trunc(f) {
		return 0, fmt.Errorf("a whole number is required, not %v", f)
	}
	if f < float64(low) || f > float64(high) {
		return 0, fmt.Errorf("%.0f is not between %d and %d", f, low, high)
	}
	return int64(f), nil
}

// size sets a number of bytes: a number, or text with a unit of 1024.
func size(field func(*Config) *int64, low, high int64) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if v.Type() == cty.String {
			n, err := bytesOf(v.AsString())
			if err != nil {
				return err
			}
			v = cty.NumberIntVal(n)
		}
		n, err := whole(v, low, high)
		if err == nil {
			*field(c) = n
		}
		return err
	}
}

func bytesOf(s string) (int64, error) {
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 24)
			if err == nil && n >= 0 {
				return n << (10 * (i + 1)), nil
			}
		}
	}
	return 0, fmt.Errorf(`%q is not a size, as "512MiB" or "2GiB" is`, s)
}

// address sets an address to listen on: "ADDRESS:PORT", or ":PORT" for every address.
func address(field func(*Config) *addrPort) func(*Config, cty.Value) error {
	return func(c *Config, v cty.Value) error {
		if v.Type() != cty.String {
			return fmt.Errorf(`an address in quotes is required, as "0.0.0.0:8080", not %s`, v.Type().FriendlyName())
		}
		s := v.AsString()
		if strings.HasPrefix(s, ":") {
			s = "0.0.0.0" + s
		}
		a, err := netip.ParseAddrPort(s)
		switch {
		case err != nil || a.Port() == 0:
			return fmt.Errorf("%q is not an address with a port, as 0.0.0.0:8080 is", v.AsString())
		case !a.Addr().Is4():
			return fmt.Errorf("%q is not IPv4, which is all that is served", v.AsString())
		}
		*field(c) = a
		return nil
	}
}

// readers takes networks, and addresses as networks of one.
func readers(c *Config, v cty.Value) error {
	var list []string
	if err := texts(func(*Config) *[]string { return &list }, oneWord)(c, v); err != nil {
		return err
	}
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, aerr := netip.ParseAddr(s); aerr == nil {
			p, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err != nil || !p.Addr().Is4() {
			return fmt.Errorf("%q is not an IPv4 network such as 10.1.0.0/24", s)
		}
		c.BSS.Readers = append(c.BSS.Readers, p.Masked())
	}
	return nil
}

func absolute(s string) (string, error) {
	if !strings.HasPrefix(s, "/") || strings.IndexByte(s, 0) >= 0 {
		return "", fmt.Errorf("%q is not an absolute path", s)
	}
	return path.Clean(s), nil
}

// socketPath is an absolute path that fits into an address of a unix socket, 108 bytes with the NUL at its end (unix(7)).
func socketPath(s string) (string, error) {
	s, err := absolute(s)
	if err == nil && len(s) > 107 {
		return "", fmt.Errorf("the path has %d bytes, and a socket's has at most 107", len(s))
	}
	return s, err
}

func oneWord(s string) (string, error) {
	if s == "" || strings.ContainsAny(s, " \t\r\n\x00") {
		return "", fmt.Errorf("%q is not one word", s)
	}
	return s, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is not one of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}

// inside is a folder of the source.
func inside(s string) (string, error) {
	if strings.HasPrefix(s, "/") || slices.Contains(strings.Split(s, "/"), "..") || strings.IndexByte(s, 0) >= 0 {
		return "", fmt.Errorf("%q is not a folder inside the source", s)
	}
	if s = path.Clean(s); s == "." {
		s = ""
	}
	return s, nil
}

var errPassword = errors.New("the URL holds a password: put it into a file and name the file with auth.token_file")

// location is an absolute path, a URL, or user@host:path.
func location(s string) (string, error) {
	scheme, _, isURL := strings.Cut(s, "://")
	switch {
	case s == "" || strings.ContainsAny(s, " \t\r\n\x00"):
		return "", fmt.Errorf("%q is neither a path nor a URL", s)
	case strings.HasPrefix(s, "/"):
		return s, nil
	case isURL:
		u, err := url.Parse(s)
		if err != nil {
			return "", errors.New("the URL cannot be read")
		}
		if _, has := u.User.Password(); has {
			return "", errPassword
		}
		if !slices.Contains([]string{"https", "http", "ssh", "file"}, scheme) {
			return "", fmt.Errorf("the scheme %q is none of https, http, ssh and file", scheme)
		}
		return s, nil
	case strings.Contains(s, "@") && strings.Contains(s, ":"):
		return s, nil
	}
	return "", fmt.Errorf("%q is neither an absolute path nor a URL: a server has no directory of its own to begin from", s)
}

func pathPrefix(s string) (string, error) {
	clean := path.Clean("/" + s)
	if strings.Trim(clean, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-") != "" {
		return "", fmt.Errorf("%q has other characters than letters, digits and / . _ -", s)
	}
	return strings.TrimSuffix(clean, "/"), nil
}

// baseURL is what machines are given in front of a path.
func baseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", fmt.Errorf("%q is not a URL, as http://boot.example.net:8080 is", s)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return "", fmt.Errorf("%q has more than scheme, host, port and path", s)
	}
	return strings.TrimRight(s, "/"), nil
}

func addInterface(c *Config, name string) error {
	switch {
	case name == "" || len(name) > 15 || strings.ContainsAny(name, "/ \t\r\n\x00"):
		return fmt.Errorf("%q cannot be the name of an interface", name)
	case slices.Contains(c.Interfaces, name):
		return fmt.Errorf("%q is there already", name)
	}
	c.Interfaces = append(c.Interfaces, name)
	return nil
}

// addPlugin begins a plugin. What it changes must be seen after ours has answered, if nothing else is said.
func addPlugin(c *Config, name string) error {
	if _, err := oneWord(name); err != nil {
		return err
	}
	c.Plugins = append(c.Plugins, Plugin{Name: name, Place: "after"})
	return nil
}

func lastPlugin(c *Config) *Plugin {
	if len(c.Plugins) == 0 { // its label was refused
		return &Plugin{}
	}
	return &c.Plugins[len(c.Plugins)-1]
}

func addS3(c *Config, name string) error {
	c.S3 = append(c.S3, S3{Name: name})
	return nil
}

func lastS3(c *Config) *S3 { return &c.S3[len(c.S3)-1] }

// envPrefix begins the names of environment variables, none of which is one that every process has.
func envPrefix(s string) (string, error) {
	if len(s) < 3 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || !strings.HasSuffix(s, "_") || s[0] < 'A' {
		return "", fmt.Errorf("%q is not capital letters, digits and underscores, ending in an underscore, such as HOSTLER_SECRET_", s)
	}
	return s, nil
}

// endS3 makes sure that each key comes from one place.
func endS3(c *Config) error {
	s := lastS3(c)
	for _, x := range []struct {
		name, file, env string
		required        bool
	}{{"access_key", s.AccessKeyFile, s.AccessKeyEnv, true}, {"secret_key", s.SecretKeyFile, s.SecretKeyEnv, true}, {"session_token", s.SessionTokenFile, s.SessionTokenEnv, false}} {
		switch {
		case x.file != "" && x.env != "":
			return fmt.Errorf("both %s_file and %s_env are given, and one is possible", x.name, x.name)
		case x.file == "" && x.env == "" && x.required:
			return fmt.Errorf("%s_file or %s_env is required", x.name, x.name)
		}
	}
	return nil
}

// endpoint is scheme, host and perhaps a port, in the form in which stores are compared with it.
func endpoint(s string) (string, error) {
	base, err := baseURL(s)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(base)
	if err != nil || u.Path != "" {
		return "", fmt.Errorf("%q has more than scheme, host and port", s)
	}
	host := strings.ToLower(u.Host)
	if u.Port() == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		host = strings.ToLower(u.Hostname())
	}
	return u.Scheme + "://" + host, nil
}

func argument(s string) (string, error) {
	if strings.IndexByte(s, 0) >= 0 {
		return "", errors.New("an argument cannot have a NUL")
	}
	return s, nil
}

// setVars keeps each value as the text that would be given by a flag.
func setVars(c *Config, v cty.Value) error {
	if !v.Type().IsObjectType() && !v.Type().IsMapType() {
		return fmt.Errorf("an object is required, as { env = \"prod\" }, not %s", v.Type().FriendlyName())
	}
	for name, v := range v.AsValueMap() {
		s, err := varText(v)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		c.Vars[name] = s
	}
	return nil
}

func varText(v cty.Value) (string, error) {
	if v.IsNull() {
		return "null", nil
	}
	if v.Type().IsPrimitiveType() {
		s, err := convert.Convert(v, cty.String)
		if err != nil {
			return "", err
		}
		return s.AsString(), nil
	}
	b, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		return "", err
	}
	if !json.Valid(b) {
		return "", errors.New("the value cannot be written as text")
	}
	// JSON text is read as an expression, in which these would begin a template.
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(string(b)), nil
}
