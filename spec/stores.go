package spec

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
)

// Bounds of how long a presigned URL holds. The longest is S3's own.
const (
	defaultTTL = 15 * time.Minute
	minTTL     = time.Minute
	maxTTL     = 7 * 24 * time.Hour
)

func (p *parser) store(in *instance) {
	b := in.body
	in.common()
	st := Store{Name: in.name, Place: in.spot(b.at).place()}
	if v, ok := in.str(b, "deliver"); ok && v == "redirect" {
		p.rep.err("not-in-this-version", in.spot(b.attrs["deliver"].at()), "Not in this version",
			fmt.Sprintf("The language has deliver = %q, but this version of hostler does not do it yet. Use \"mirror\" or \"direct\".", v))
	} else if v, ok := in.choice(b, "deliver", string(DeliverProxy), string(DeliverMirror), string(DeliverDirect), string(DeliverPresign)); ok {
		st.Deliver = Deliver(v)
	}
	var kinds []*body
	for _, kind := range []string{"local", "http", "s3"} {
		if k := b.only(kind); k != nil {
			kinds = append(kinds, k)
		}
	}
	if len(kinds) == 0 && b.odd {
		return
	}
	if len(kinds) != 1 {
		p.rep.err("store-kind", in.spot(b.at), "Store without a place",
			fmt.Sprintf("store.%s needs one of the blocks local { path = ... }, http { url = ... } and s3 { endpoint = ..., bucket = ... }.", in.name))
		return
	}
	switch k := kinds[0]; k.schema.Type {
	case "local":
		p.localStore(in, k, &st)
	case "http":
		p.httpStore(in, k, &st)
	default:
		p.s3Store(in, k, &st)
	}
	if signed := b.only("presign"); signed != nil && (st.S3 == nil || st.Deliver != DeliverPresign) {
		p.rep.err("store-delivery", in.spot(signed.at), "Delivery is not possible", "A presign block is for an s3 store with deliver = \"presign\".")
	}
	p.fleet.Stores = append(p.fleet.Stores, st)
}

func (p *parser) localStore(in *instance, b *body, st *Store) {
	st.Path, _ = in.str(b, "path")
	if st.Path != "" && (!path.IsAbs(st.Path) || path.Clean(st.Path) != st.Path) {
		p.rep.err("bad-path", in.spot(b.attrs["path"].at()), "Path is not absolute", fmt.Sprintf("The path of a local store is absolute and plain, such as /srv/images, not %q.", st.Path))
	}
	if st.Deliver != "" && st.Deliver != DeliverProxy {
		p.rep.err("store-delivery", in.spot(in.body.attrs["deliver"].at()), "Delivery is not possible", "Files of a local store are served by hostler itself. Remove deliver.")
	}
	st.Deliver = DeliverProxy
}

func (p *parser) httpStore(in *instance, b *body, st *Store) {
	st.URL, _ = in.str(b, "url")
	if u, err := url.Parse(st.URL); st.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" || strings.ContainsAny(st.URL, " \t\r\n")) {
		p.rep.err("bad-url", in.spot(b.attrs["url"].at()), "Bad URL", fmt.Sprintf("%q is not an http:// or https:// URL.", st.URL))
	}
	switch st.Deliver {
	case "":
		st.Deliver = DeliverMirror
	case DeliverProxy:
		p.rep.err("not-in-this-version", in.spot(in.body.attrs["deliver"].at()), "Not in this version",
			"This version of hostler does not proxy an http store. Use \"mirror\", which fetches files beforehand, or \"direct\".")
	case DeliverPresign:
		p.rep.err("store-delivery", in.spot(in.body.attrs["deliver"].at()), "Delivery is not possible",
			"URLs of an http store are not signed. Use \"mirror\" or \"direct\", or an s3 block for a store that speaks S3.")
	}
}

func (p *parser) s3Store(in *instance, b *body, st *Store) {
	st.S3 = &S3{Region: "us-east-1", PathStyle: true, TTL: defaultTTL}
	if v, ok := in.str(b, "endpoint"); ok {
		if st.S3.Endpoint = plainEndpoint(v); !goodEndpoint(st.S3.Endpoint) {
			p.rep.err("bad-url", in.spot(b.attrs["endpoint"].at()), "Bad URL",
				fmt.Sprintf("%q is not an endpoint of S3: write http:// or https:// with a host and perhaps a port, and put the bucket into bucket.", short(v)))
		}
	}
	if v, ok := in.str(b, "region"); ok {
		st.S3.Region = in.s3Word(b, "region", v)
	}
	if v, ok := in.str(b, "bucket"); ok {
		st.S3.Bucket = in.s3Word(b, "bucket", v)
	}
	if v, ok := in.str(b, "prefix"); ok && v != "" && in.goodKey(b, "prefix", v) {
		st.S3.Prefix = v
	}
	if v, ok := in.flag(b, "path_style"); ok {
		st.S3.PathStyle = v
	}
	if st.Deliver == "" {
		st.Deliver = DeliverPresign
	}
	signed := in.body.only("presign")
	if signed == nil {
		return
	}
	if ttl, ok := in.duration(signed, "ttl"); ok {
		if st.S3.TTL = ttl.Truncate(time.Second); ttl < minTTL || ttl > maxTTL {
			p.rep.err("bad-duration", in.spot(signed.attrs["ttl"].at()), "Duration is out of range", fmt.Sprintf("A presigned URL can hold between 1m and 7d, not %s.", durationText(ttl)))
		}
	}
}

// s3Word is a name that stands in hosts, paths and signatures as it is.
func (in *instance) s3Word(b *body, name, v string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	if v == "" || len(v) > 255 || strings.Trim(v, letters) != "" || strings.Trim(v, ".") == "" {
		in.p.rep.err("bad-name", in.spot(b.attrs[name].at()), "Name is not allowed", fmt.Sprintf("%q cannot be a %s: letters, digits, '.', '_' and '-' are possible.", short(v), name))
	}
	return v
}

// plainEndpoint leaves out what every client leaves out of the name of the host that is signed.
func plainEndpoint(s string) string {
	s = strings.ToLower(strings.TrimSuffix(s, "/"))
	if strings.HasPrefix(s, "https://") {
		return strings.TrimSuffix(s, ":443")
	}
	return strings.TrimSuffix(s, ":80")
}

// goodEndpoint reports whether s is scheme, host and perhaps a port, in the one form that requests name it by.
func goodEndpoint(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && s == u.Scheme+"://"+u.Host
}
