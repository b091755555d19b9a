package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"hostler/render/fact"
)

// Client asks a running server over its socket.
type Client struct {
	path string
	http http.Client
}

// NewClient gives a client for the socket; nothing is dialled yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	return &Client{path: path, http: http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Path is the socket that the client dials.
func (c *Client) Path() string { return c.path }

// Get reads the JSON answer of a path into v.
func (c *Client) Get(ctx context.Context, path string, v any) error {
	return c.do(ctx, http.MethodGet, path, nil, func(r io.Reader) error { return json.NewDecoder(r).Decode(v) })
}

// Post sends a request as JSON and reads the answer into v, which may be nil.
func (c *Client) Post(ctx context.Context, path string, request, v any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(body), func(r io.Reader) error {
		if v == nil {
			return nil
		}
		return json.NewDecoder(r).Decode(v)
	})
}

// Backup copies the server's state to w. An answer cut short is an error.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.do(ctx, http.MethodGet, "/v1/state/backup", nil, func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// Follow calls ready once nothing can be missed any more, and then f with every event, until ctx or the server ends.
func (c *Client) Follow(ctx context.Context, ready func(), f func(fact.Event)) error {
	return c.do(ctx, http.MethodGet, "/v1/events", nil, func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		if lines.Scan() {
			ready()
		}
		for lines.Scan() {
			var e fact.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				return err
			}
			f(e)
		}
		if ctx.Err() != nil {
			return nil
		}
		return lines.Err()
	})
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader, read func(io.Reader) error) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://hostler"+path, body)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if at := (*url.Error)(nil); errors.As(err, &at) {
			err = at.Err // its address means nothing to people
		}
		return fmt.Errorf("asking the server on %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if resp.StatusCode == http.StatusConflict {
			return refusal(strings.TrimSpace(string(text)))
		}
		return fmt.Errorf("the server on %s says: %s", c.path, strings.TrimSpace(string(text)))
	}
	if err := read(resp.Body); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	return nil
}

// refusal is the server's no, as ErrRefused with the server's words.
type refusal string

func (r refusal) Error() string        { return string(r) }
func (r refusal) Is(target error) bool { return target == ErrRefused }
