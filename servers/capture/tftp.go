package capture

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"hostler/render/fact"
)

// errorCodes are the names of RFC 1350 section 5 and RFC 2347.
var errorCodes = []string{
	"Not defined", "File not found", "Access violation", "Disk full", "Illegal TFTP operation", "Unknown transfer ID",
	"File already exists", "No such user", "Option negotiation failed",
}

// tftp reads one packet. blocks remembers the block size of each transfer, which tells the last block from the others.
func (r *Row) tftp(p *fact.Packet, blocks map[[2]netip.AddrPort]int) {
	if len(p.Payload) < 2 {
		r.Traffic, r.Description = "TFTP", "too short to mean anything"
		return
	}
	transfer := [2]netip.AddrPort{p.From, p.To}
	if p.Sent {
		transfer = [2]netip.AddrPort{p.To, p.From}
	}
	op, rest := binary.BigEndian.Uint16(p.Payload), p.Payload[2:]
	number := 0
	if len(rest) >= 2 {
		number = int(binary.BigEndian.Uint16(rest))
	}
	switch op {
	case 1, 2:
		r.requestFile(op, rest)
	case 3:
		r.Traffic = fmt.Sprintf("Data Packet, Block: %d", number)
		full := blocks[transfer]
		if full == 0 {
			full = 512
		}
		n := max(p.Size-4, 0)
		r.Description = fmt.Sprintf("%d bytes", n)
		if n < full {
			r.Traffic += " (Last)"
			r.Description += ": the file ends here"
		}
	case 4:
		r.Traffic, r.Description = fmt.Sprintf("Acknowledgement, Block: %d", number), fmt.Sprintf("has block %d", number)
		if number == 0 {
			r.Description = "is ready"
		}
	case 5:
		r.errorPacket(number, rest)
	case 6:
		options := pairs(rest)
		r.Traffic, r.Description = "Option Acknowledgement", "agrees on "+strings.Join(options, " ")
		for _, o := range options {
			if n, ok := strings.CutPrefix(o, "blksize="); ok {
				blocks[transfer], _ = strconv.Atoi(n)
			}
		}
	default:
		r.Traffic, r.Description = fmt.Sprintf("TFTP operation %d", op), "is not one"
	}
	if p.Skipped > 0 {
		r.Description += fmt.Sprintf(" (%d packets of this transfer before it are not kept)", p.Skipped)
	}
}

func (r *Row) requestFile(op uint16, b []byte) {
	fields := strings.Split(string(b), "\x00")
	name, options := fields[0], pairs(nil)
	if len(fields) > 2 {
		options = pairs([]byte(strings.Join(fields[2:], "\x00")))
	}
	r.Traffic = strings.TrimSpace("Read Request File: " + name + " " + strings.Join(options, " "))
	r.Description = "asks for the file"
	if slices.Contains(options, "tsize=0") {
		r.Description = "asks for the file, and for its size first"
	}
	if op == 2 {
		r.Traffic, r.Description = "Write Request File: "+name, "wants to write"
	}
}

func (r *Row) errorPacket(code int, b []byte) {
	name := "code " + strconv.Itoa(code)
	if code < len(errorCodes) {
		name = errorCodes[code]
	}
	text := ""
	if len(b) > 2 {
		text, _, _ = strings.Cut(string(b[2:]), "\x00")
	}
	r.Traffic, r.Description = "Error Code, Code: "+name, "ends the transfer"
	if text != "" {
		r.Traffic += ", Message: " + text
	}
}

// pairs reads options: name NUL value NUL (RFC 2347), the names in lower case.
func pairs(b []byte) []string {
	fields := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	var list []string
	for i := 0; i+1 < len(fields); i += 2 {
		list = append(list, strings.ToLower(fields[i])+"="+fields[i+1])
	}
	return list
}
