package httpd

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"hostler/render/fact"
)

// mostHead bounds what is repeated of a request, which can have 16 KiB of headers.
const mostHead = 1 << 10

// packets hands over the heads of the request and the answer, as far as they matter to a boot. Who asked is known by now.
func (x *exchange) packets(end time.Time) {
	if x.Packet == nil || x.event.MAC.IsZero() {
		return
	}
	p := fact.Packet{Time: x.event.Time, MAC: x.event.MAC, Node: x.event.Node, Proto: fact.ProtoHTTP, From: x.from, To: x.to}
	buf := x.buffers.Get().(*[]byte) // Packet only looks at it
	defer x.buffers.Put(buf)
	*buf = appendRequest((*buf)[:0], x.r)
	p.Payload, p.Size = *buf, len(*buf)
	x.Packet(p)
	*buf = appendAnswer((*buf)[:0], &x.w)
	p.Time, p.Sent, p.From, p.To = end, true, x.to, x.from
	p.Payload, p.Size = *buf, len(*buf)+int(min(x.w.sent, 1<<31))
	x.Packet(p)
}

func appendRequest(b []byte, r *http.Request) []byte {
	b = append(append(b, cutText(r.Method)...), ' ')
	b = append(appendMasked(b, cutText(r.RequestURI)), ' ')
	b = append(append(b, r.Proto...), "\r\nHost: "...)
	b = append(append(b, cutText(r.Host)...), "\r\n"...)
	for _, name := range [...]string{"User-Agent", "Range", "If-None-Match", "Content-Length"} {
		if v := r.Header[name]; len(v) > 0 {
			b = append(append(append(append(b, name...), ": "...), cutText(v[0])...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

func cutText(s string) string { return s[:min(len(s), mostHead/4)] }

// appendMasked leaves the secrets of boots out: boot=BOOTID.TOKEN, wherever it stands, also in a URL that was quoted as a whole.
func appendMasked(b []byte, uri string) []byte {
	for {
		before, rest, ok := strings.Cut(uri, "boot")
		if b = append(b, before...); !ok {
			return b
		}
		b = append(b, "boot"...)
		switch {
		case strings.HasPrefix(rest, "="):
		case len(rest) >= 3 && strings.EqualFold(rest[:3], "%3d"):
		default:
			uri = rest
			continue
		}
		b = append(b, "=<boot>"...)
		uri = ""
		if j := strings.IndexByte(rest, '&'); j >= 0 {
			uri = rest[j:]
		}
	}
}

// shown is a part of a URL for events and the log. Who quotes a whole URL, question mark and all, has a secret in the path.
func shown(path string) string {
	if strings.Contains(path, "boot=") {
		path = string(appendMasked(nil, path))
	}
	return fact.Printable(path)
}

func appendAnswer(b []byte, w *response) []byte {
	b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(w.status), 10)
	b = append(append(append(b, ' '), http.StatusText(w.status)...), "\r\n"...)
	for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Range"} {
		if v := w.Header()[name]; len(v) > 0 {
			b = append(append(append(append(b, name...), ": "...), v[0]...), "\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}
