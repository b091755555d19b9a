package kind

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"net/url"
	"strings"
)

// maxParts bounds a multipart text, and how deep parts may be inside one another.
const (
	maxParts     = 100
	maxPartDepth = 4
)

// cloudInit checks what cloud-init is given, by what it begins with, as cloud-init itself tells them apart.
func (c *Checker) cloudInit(use, text string) []Problem {
	if use == NetworkConfig {
		return c.networkConfig(text)
	}
	return c.userData(text, 0, 0)
}

// userData checks user-data or vendor-data, which stands behind offset lines of a larger text.
func (c *Checker) userData(text string, offset, depth int) []Problem {
	first, _, _ := strings.Cut(text, "\n")
	first = strings.TrimRight(first, " \t\r")
	begins := func(prefix string) bool { return strings.HasPrefix(strings.ToLower(first), prefix) }
	switch {
	case strings.TrimSpace(text) == "", begins("#!"), begins("#cloud-boothook"), begins("#part-handler"), begins("## template:"):
		return nil // nothing, programs, and what is only known once cloud-init has filled it in
	case begins("#cloud-config-archive"):
		return c.archive(text, offset, depth)
	case begins("#cloud-config-jsonp"):
		return nil
	case begins("#cloud-config"):
		return c.cloudConfig(text, offset)
	case begins("#include"):
		return include(text, offset)
	case begins("content-type:"), begins("mime-version:"), begins("from "):
		return c.multipart(text, offset, depth)
	}
	return []Problem{{1 + offset, fmt.Sprintf("it begins with %q, so that cloud-init would not read it: a configuration begins with #cloud-config, a script with #!", shorten(first))}}
}

func (c *Checker) cloudConfig(text string, offset int) []Problem {
	d, ps := oneDocument(text, offset)
	if d == nil || d.value == nil { // an empty one is possible
		return ps
	}
	return c.hold(d, "cloud-config.json", "")
}

// oneDocument reads YAML that is not a stream of documents.
func oneDocument(text string, offset int) (*document, []Problem) {
	docs, ps := documents(text, offset)
	switch {
	case len(docs) == 0:
		return nil, ps
	case len(docs) > 1:
		return nil, []Problem{{docs[1].node.Line + offset, "a second document begins here, which cloud-init would refuse"}}
	}
	return &docs[0], nil
}

// networkConfig checks a network configuration of version 1 or 2, with or without "network:" around it.
func (c *Checker) networkConfig(text string) []Problem {
	d, ps := oneDocument(text, 0)
	if d == nil {
		return ps
	}
	m, _ := d.value.(map[string]any)
	if inner, ok := m["network"].(map[string]any); ok {
		m, d.value, d.inside = inner, inner, []string{"network"}
	}
	switch version := m["version"]; version {
	case int64(1), int64(2):
		return c.hold(d, fmt.Sprintf("network-config-v%d.json", version), fmt.Sprintf("network_config_version%d", version))
	case nil:
		return []Problem{{d.line(nil), "a network configuration needs version: 1 or version: 2"}}
	default:
		return []Problem{{d.line([]string{"version"}), "the version of a network configuration is 1 or 2"}}
	}
}

// include holds a list of addresses, one a line.
func include(text string, offset int) []Problem {
	var ps []Problem
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if u, err := url.Parse(line); err != nil || u.Scheme == "" || u.Host == "" && u.Path == "" {
			ps = append(ps, Problem{i + 1 + offset, fmt.Sprintf("%q is not a URL to include", shorten(line))})
		}
	}
	return ps
}

// archive checks a list of parts, each a text or a mapping with content.
func (c *Checker) archive(text string, offset, depth int) []Problem {
	d, ps := oneDocument(text, offset)
	if d == nil {
		return ps
	}
	list, ok := d.value.([]any)
	if !ok {
		return []Problem{{d.line(nil), "a #cloud-config-archive is a list of parts"}}
	}
	for i, part := range list {
		path := []string{fmt.Sprint(i)}
		if m, ok := part.(map[string]any); ok {
			part, path = m["content"], push(path, "content")
		}
		s, ok := part.(string)
		if !ok {
			ps = append(ps, Problem{d.line(path), "a part of an archive needs content, a text"})
			continue
		}
		ps = append(ps, c.part(s, d.line(path), depth)...)
	}
	return ps
}

func (c *Checker) part(text string, offset, depth int) []Problem {
	if depth >= maxPartDepth {
		return []Problem{{offset, "its parts are too deep inside one another"}}
	}
	return c.userData(text, offset, depth+1)
}

// multipart checks each part of a MIME message.
func (c *Checker) multipart(text string, offset, depth int) []Problem {
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return []Problem{{1 + offset, "it is not a MIME message: " + err.Error()}}
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return []Problem{{1 + offset, "its Content-Type cannot be read: " + err.Error()}}
	case !strings.HasPrefix(media, "multipart/"):
		return c.mimePart(media, m.Header.Get("Content-Transfer-Encoding"), m.Body, text, offset, depth)
	case params["boundary"] == "":
		return []Problem{{1 + offset, "its Content-Type has no boundary"}}
	}
	r := multipart.NewReader(m.Body, params["boundary"])
	var ps []Problem
	for n := 0; ; n++ {
		part, err := r.NextRawPart()
		switch {
		case errors.Is(err, io.EOF):
			return ps
		case err != nil:
			return append(ps, Problem{offset, fmt.Sprintf("part %d of the MIME message cannot be read: %s", n+1, err)})
		case n >= maxParts:
			return append(ps, Problem{offset, fmt.Sprintf("it has more than %d parts", maxParts)})
		}
		media, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			ps = append(ps, Problem{offset, fmt.Sprintf("part %d of the MIME message: its Content-Type cannot be read: %s", n+1, err)})
			continue
		}
		ps = append(ps, c.mimePart(media, part.Header.Get("Content-Transfer-Encoding"), part, text, offset, depth)...)
	}
}

// mimePart checks the types of part that are configuration. What is encoded has no line to point at, and only ASCII is expected here.
func (c *Checker) mimePart(media, encoding string, body io.Reader, whole string, offset, depth int) []Problem {
	b, err := io.ReadAll(body)
	if err != nil {
		return []Problem{{offset, "a part of the MIME message cannot be read: " + err.Error()}}
	}
	switch encoding {
	case "", "7bit", "8bit", "binary":
	default:
		return nil
	}
	text := string(b)
	if i := strings.Index(whole, text); i >= 0 {
		offset += strings.Count(whole[:i], "\n")
	}
	switch media {
	case "text/cloud-config":
		return c.cloudConfig(text, offset)
	case "text/x-include-url", "text/x-include-once-url":
		return include(text, offset)
	case "text/cloud-config-archive", "text/x-not-multipart", "text/plain":
		return c.part(text, offset, depth)
	}
	return nil
}
