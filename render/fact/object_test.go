package fact

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestObject(t *testing.T) {
	for _, tt := range []struct {
		o            Object
		text, at, id string
	}{
		{
			Object{"https://s3.example.net", "eu-west-1", "boot-images", "29c2/kernel", true, 15 * time.Minute},
			"s3://boot-images/29c2/kernel?endpoint=https%3A//s3.example.net&region=eu-west-1&style=path&ttl=15m0s",
			"https://s3.example.net/boot-images/29c2/kernel", "s3://boot-images/29c2/kernel",
		},
		{
			Object{"http://10.0.0.9:7480", "default", "b", "ä b+c=d&e%f?g/h#i~", false, time.Hour},
			"s3://b/%C3%A4%20b%2Bc%3Dd%26e%25f%3Fg/h%23i~?endpoint=http%3A//10.0.0.9%3A7480&region=default&style=virtual&ttl=1h0m0s",
			"http://b.10.0.0.9:7480/%C3%A4%20b%2Bc%3Dd%26e%25f%3Fg/h%23i~", "s3://b/%C3%A4%20b%2Bc%3Dd%26e%25f%3Fg/h%23i~",
		},
	} {
		if d := cmp.Diff([]string{tt.text, tt.at, tt.id}, []string{tt.o.String(), tt.o.URL(), tt.o.URI()}); d != "" {
			t.Error(d)
		}
		got, err := ParseObject(tt.o.String())
		if d := cmp.Diff(tt.o, got); err != nil || d != "" {
			t.Error(err, d)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	f.Add("s3://boot-images/29c2/kernel?endpoint=https%3A//s3.example.net&region=eu-west-1&style=path&ttl=15m0s")
	f.Add("s3://b/?endpoint=x&ttl=1h")
	f.Add("s3:///k?ttl=%zz")
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseObject(s)
		if err != nil {
			return
		}
		again, err := ParseObject(o.String())
		if d := cmp.Diff(o, again); err != nil && !strings.ContainsAny(o.Bucket, "?/") || err == nil && d != "" {
			t.Error(err, d)
		}
	})
}
