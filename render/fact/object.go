package fact

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Object is one object of an S3 service, with everything about how it is reached that may be known beforehand: all but the keys
// that open it.
type Object struct {
	Endpoint  string // scheme, host and perhaps a port: https://s3.example.net
	Region    string
	Bucket    string
	Key       string        // as the service names it, prefix included, without a slash in front
	PathStyle bool          // the bucket is the first part of the path; else of the host
	TTL       time.Duration // how long a presigned URL holds, in whole seconds
}

// String is the argument of a LatePresign: s3://BUCKET/KEY?endpoint=...&region=...&style=...&ttl=...
func (o Object) String() string {
	style := "virtual"
	if o.PathStyle {
		style = "path"
	}
	return o.URI() + "?endpoint=" + escape(o.Endpoint) + "&region=" + escape(o.Region) + "&style=" + style + "&ttl=" + o.TTL.String()
}

// URI is s3://BUCKET/KEY, as S3's own tools write it, with what cannot stand in a URL percent-encoded.
func (o Object) URI() string { return "s3://" + o.Bucket + "/" + escape(o.Key) }

// URL is where the object is, unsigned. Every byte but letters, digits, - . _ ~ and / of the key is percent-encoded, as the
// signature wants it (AWS Signature Version 4, "create a canonical request").
func (o Object) URL() string { return o.Scheme() + "://" + o.Host() + o.Path() }

// Scheme is that of the endpoint, http or https.
func (o Object) Scheme() string {
	scheme, _, _ := strings.Cut(o.Endpoint, "://")
	return scheme
}

// Host is what a request names as its host: the endpoint's, behind the bucket unless that is in the path.
func (o Object) Host() string {
	_, host, _ := strings.Cut(o.Endpoint, "://")
	if !o.PathStyle {
		host = o.Bucket + "." + host
	}
	return host
}

// Path is the path of the URL, percent-encoded.
func (o Object) Path() string {
	if o.PathStyle {
		return "/" + o.Bucket + "/" + escape(o.Key)
	}
	return "/" + escape(o.Key)
}

// escape encodes everything but what RFC 3986 calls unreserved, and slashes.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// ParseObject reads what String wrote.
func ParseObject(s string) (Object, error) {
	place, query, ok := strings.Cut(strings.TrimPrefix(s, "s3://"), "?")
	bucket, key, hasKey := strings.Cut(place, "/")
	if !strings.HasPrefix(s, "s3://") || !ok || !hasKey {
		return Object{}, fmt.Errorf("%q is not an object in S3", s)
	}
	o := Object{Bucket: bucket}
	values, err := url.ParseQuery(query)
	if err == nil {
		o.Endpoint, o.Region, o.PathStyle = values.Get("endpoint"), values.Get("region"), values.Get("style") == "path"
		o.TTL, err = time.ParseDuration(values.Get("ttl"))
	}
	if err == nil {
		o.Key, err = url.PathUnescape(key)
	}
	if err == nil && (o.Bucket == "" || o.Key == "" || o.Host() == "" || o.Scheme() == "") {
		err = errors.New("a part is missing")
	}
	if err != nil {
		return Object{}, fmt.Errorf("%q is not an object in S3: %w", s, err)
	}
	return o, nil
}
