package s3

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hostler/render/fact"
)

const (
	algorithm = "AWS4-HMAC-SHA256"
	stamp     = "20060102T150405Z"
	day       = "20060102"
)

// keys are what opens a bucket.
type keys struct{ access, secret, session string }

// presign gives the URL of an object for one method, signed at a time and valid for the object's TTL from then on: AWS Signature Version 4
// with query parameters ("Authenticating Requests: Using Query Parameters" in the S3 API reference). It is written here because libraries
// sign by the clock of this machine, and S3 judges by its own.
func presign(k keys, method string, o fact.Object, at time.Time) string {
	at = at.UTC()
	scope := at.Format(day) + "/" + o.Region + "/s3/aws4_request"
	// Sorted by name, as they are signed. Besides these parameters, the host is all that is signed.
	var q strings.Builder
	q.Grow(256 + len(k.access) + len(k.session))
	q.WriteString("X-Amz-Algorithm=" + algorithm + "&X-Amz-Credential=")
	q.WriteString(encode(k.access + "/" + scope))
	q.WriteString("&X-Amz-Date=" + at.Format(stamp) + "&X-Amz-Expires=" + strconv.Itoa(int(o.TTL/time.Second)))
	if k.session != "" {
		q.WriteString("&X-Amz-Security-Token=" + encode(k.session))
	}
	q.WriteString("&X-Amz-SignedHeaders=host")
	query := q.String()
	request := method + "\n" + o.Path() + "\n" + query + "\nhost:" + o.Host() + "\n\nhost\nUNSIGNED-PAYLOAD"
	sum := sha256.Sum256([]byte(request))
	text := algorithm + "\n" + at.Format(stamp) + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := mac([]byte("AWS4"+k.secret), at.Format(day))
	for _, part := range []string{o.Region, "s3", "aws4_request", text} {
		key = mac(key, part)
	}
	return o.URL() + "?" + query + "&X-Amz-Signature=" + hex.EncodeToString(key)
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// encode is what the signature wants of a parameter: a space is %20, and a slash %2F.
func encode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
