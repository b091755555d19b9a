package tftp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// The opcodes of RFC 1350 section 5 and RFC 2347.
const (
	opRRQ = iota + 1
	opWRQ
	opDATA
	opACK
	opERROR
	opOACK
)

// The error codes that are sent, of RFC 1350's appendix.
const (
	codeUndefined   = 0
	codeNotFound    = 1
	codeAccess      = 2
	codeIllegal     = 4
	codeUnknownPeer = 5
)

// request is what a client asks for. Options that it did not ask for, or not within the bounds of their RFC, are zero: they are
// not acknowledged, which declines them (RFC 2347).
type request struct {
	write    bool
	name     string // as sent
	netascii bool
	size     bool          // tsize, RFC 2349
	blksize  int           // RFC 2348
	timeout  time.Duration // RFC 2349
	window   int           // RFC 7440
}

var (
	errNoRequest = errors.New("neither a read nor a write request")
	errMalformed = errors.New("the request is cut short")
	errMode      = errors.New("the transfer mode is neither octet nor netascii")
)

// parseRequest reads a packet that came to the server's own port. Names of options and modes are compared without regard to
// case; an option that is cut short ends the list; of an option that is there twice the last counts.
func parseRequest(p []byte) (request, error) {
	if len(p) < 2 {
		return request{}, errMalformed
	}
	op := binary.BigEndian.Uint16(p)
	if op != opRRQ && op != opWRQ {
		return request{}, errNoRequest
	}
	r := request{write: op == opWRQ}
	name, rest, ok := bytes.Cut(p[2:], []byte{0})
	if !ok || len(name) == 0 {
		return r, errMalformed
	}
	r.name = string(name)
	rest = bytes.TrimLeft(rest, "\x00") // a ROM that counts the terminator as part of the name sends another
	mode, rest, ok := bytes.Cut(rest, []byte{0})
	switch {
	case !ok:
		return r, errMalformed
	case strings.EqualFold(string(mode), "netascii"):
		r.netascii = true
	case !strings.EqualFold(string(mode), "octet"):
		return r, errMode // "mail" too, which RFC 1350 calls obsolete
	}
	for {
		var option, value []byte
		if option, rest, ok = bytes.Cut(rest, []byte{0}); !ok || len(option) == 0 {
			return r, nil
		}
		if value, rest, ok = bytes.Cut(rest, []byte{0}); !ok || len(value) == 0 {
			return r, nil
		}
		r.option(strings.ToLower(string(option)), string(value))
	}
}

func (r *request) option(name, value string) {
	switch name {
	case "tsize":
		r.size = true // some firmware sends another number than 0
	case "blksize":
		r.blksize = within(value, 8, 65464)
	case "timeout":
		r.timeout = 0
		if n := within(value, 1, 255); strconv.Itoa(n) == value { // it can be declined, but not changed
			r.timeout = time.Duration(n) * time.Second
		}
	case "windowsize":
		r.window = within(value, 1, 65535)
	}
}

// within reads a number: 0 when it is none or too small, at most the largest.
func within(value string, least, most int) int {
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || n < uint64(least) {
		return 0
	}
	return int(min(n, uint64(most)))
}

// What bounds one transfer.
const (
	// overhead of IPv4 without options, UDP and TFTP: larger blocks would be sent in fragments, which some firmware cannot
	// put together.
	overhead = 20 + 8 + 4
	// windowBlocks and windowBytes bound what is sent without an acknowledgement, and kept until there is one.
	windowBlocks = 64
	windowBytes  = 128 << 10
)

// terms are what a transfer keeps to.
type terms struct {
	blksize int
	window  int
	timeout time.Duration // zero: adaptive
}

// negotiate gives the terms, and the option acknowledgement's content, which is empty when nothing was asked for. The size
// of a text is not known before it is sent as netascii.
func (r *request) negotiate(size int64, mtu int) (terms, []byte) {
	t := terms{blksize: 512, window: 1, timeout: r.timeout}
	var oack []byte
	option := func(name string, value int64) {
		oack = append(append(oack, name...), 0)
		oack = append(strconv.AppendInt(oack, value, 10), 0)
	}
	if r.blksize > 0 {
		t.blksize = min(r.blksize, max(mtu-overhead, 8))
		option("blksize", int64(t.blksize))
	}
	if r.size && !r.netascii {
		option("tsize", size)
	}
	if r.timeout > 0 {
		option("timeout", int64(r.timeout/time.Second))
	}
	if r.window > 0 {
		t.window = max(min(r.window, windowBlocks, windowBytes/t.blksize), 1)
		option("windowsize", int64(t.window))
	}
	return t, oack
}
