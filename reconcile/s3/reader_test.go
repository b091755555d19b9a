package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// odd answers like S3, but breaks off, hangs, or has another object by now, as its plan for each request says.
type odd struct {
	content string
	plan    []string // "break N", "hang", "changed", "refuse", "whole"; then it does as it should
	asked   []string
}

func (o *odd) RoundTrip(r *http.Request) (*http.Response, error) {
	do, n := "", 0
	if len(o.asked) < len(o.plan) {
		fmt.Sscan(o.plan[len(o.asked)], &do, &n)
	}
	o.asked = append(o.asked, r.Header.Get("Range"))
	from := 0
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r}
	if from > 0 {
		resp.StatusCode = 206
	}
	body := io.Reader(strings.NewReader(o.content[from:]))
	switch do {
	case "break":
		body = io.MultiReader(strings.NewReader(o.content[from:from+n]), errReader{errors.New("connection reset by peer")})
	case "end":
		body = strings.NewReader(o.content[from : from+n])
	case "hang":
		body = waits{r}
	case "changed":
		resp.StatusCode, body = 412, strings.NewReader("<Error><Code>PreconditionFailed</Code></Error>")
	case "gone":
		resp.StatusCode, body = 404, strings.NewReader("<Error><Code>NoSuchKey</Code></Error>")
	case "busy":
		resp.StatusCode, body = 503, strings.NewReader("<Error><Code>SlowDown</Code></Error>")
	case "whole":
		resp.StatusCode = 200
	}
	if r.Header.Get("If-Match") != `"tag"` {
		return nil, errors.New("without If-Match")
	}
	resp.Body = io.NopCloser(body)
	return resp, nil
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// waits gives nothing until the request is given up.
type waits struct{ r *http.Request }

func (w waits) Read([]byte) (int, error) { <-w.r.Context().Done(); return 0, w.r.Context().Err() }

// Connections that break are taken up where they broke, a few times; another version, or none, is the end.
func TestReader(t *testing.T) {
	const content = "0123456789"
	for _, tt := range []struct {
		why   string
		plan  []string
		want  string
		err   string
		asked []string
	}{
		{"all is well", nil, content, "", []string{""}},
		{"it breaks twice", []string{"break 3", "break 4"}, content, "", []string{"", "bytes=3-", "bytes=7-"}},
		{"it ends early", []string{"end 9"}, content, "", []string{"", "bytes=9-"}},
		{"it gives nothing", []string{"end 2", "end 0", "end 0", "end 0"}, "01", "reading s3://b/k at byte 2: unexpected EOF",
			[]string{"", "bytes=2-", "bytes=2-", "bytes=2-"}},
		{"it is busy for a moment", []string{"break 5", "busy"}, content, "", []string{"", "bytes=5-", "bytes=5-"}},
		{"it hangs", []string{"break 5", "hang"}, content, "", []string{"", "bytes=5-", "bytes=5-"}},
		{"it is replaced", []string{"break 5", "changed"}, "01234", "reading s3://b/k at byte 5: changed since it was observed", []string{"", "bytes=5-"}},
		{"it is removed", []string{"gone"}, "", "reading s3://b/k at byte 0: there is no such object (S3: 404 NoSuchKey)", []string{""}},
		{"ranges are ignored", []string{"break 5", "whole"}, "01234", "reading s3://b/k at byte 5: S3: 200 NoRanges", []string{"", "bytes=5-"}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := &odd{content: content, plan: tt.plan}
				s := service(t, Account{Endpoint: "http://s3", AccessKeyEnv: "A", SecretKeyEnv: "S"})
				s.accounts[0].client = &http.Client{Transport: srv}
				o := object
				o.Endpoint, o.Bucket, o.Key = "http://s3", "b", "k"
				r := s.Open(t.Context(), o, Facts{ETag: "tag", Size: int64(len(content))})
				defer r.Close()
				begun := time.Now()
				got, err := io.ReadAll(r)
				if string(got) != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
					t.Errorf("%q, %v", got, err)
				}
				if d := cmp.Diff(tt.asked, srv.asked); d != "" {
					t.Error(d)
				}
				if took := time.Since(begun); took > stallTime {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// Reading from any place gives the bytes that are there, and asks only where something is read.
func TestReaderSeeks(t *testing.T) {
	srv := &odd{content: "0123456789"}
	s := service(t, Account{Endpoint: "http://s3", AccessKeyEnv: "A", SecretKeyEnv: "S"})
	s.accounts[0].client = &http.Client{Transport: srv}
	o := object
	o.Endpoint = "http://s3"
	r := s.Open(t.Context(), o, Facts{ETag: "tag", Size: 10})
	defer r.Close()
	var all bytes.Buffer
	for _, step := range []struct {
		offset int64
		whence int
		read   int64
	}{{0, io.SeekEnd, 1}, {-2, io.SeekEnd, 9}, {1, io.SeekStart, 2}, {0, io.SeekCurrent, 2}, {20, io.SeekStart, 1}} {
		if _, err := r.Seek(step.offset, step.whence); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(&all, r, step.read); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		all.WriteByte('|')
	}
	if d := cmp.Diff("|89|12|34||", all.String()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"bytes=8-", "bytes=1-"}, srv.asked); d != "" {
		t.Error(d)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("before the beginning there is nothing")
	}
}
