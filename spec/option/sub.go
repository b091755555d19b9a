package option

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// encodeSub writes "CODE TYPE VALUE..." as an option inside an option: code, length, bytes. A text is all that follows its type, and the
// values of lists are separated by spaces.
func encodeSub(out []byte, v string) ([]byte, error) {
	head := strings.SplitN(strings.TrimSpace(v), " ", 3)
	if len(head) < 3 {
		return nil, fmt.Errorf("%q is no suboption; write code, type and value, as \"1 ip 10.0.0.1\"", v)
	}
	code, err := strconv.ParseUint(head[0], 10, 8)
	if err != nil || code == 0 || code == 255 { // pad and end, where an option may have them (RFC 2132 section 8.4)
		return nil, fmt.Errorf("%q has no suboption code; they go from 1 to 254", v)
	}
	t := Type(head[1])
	if t == Subs || t == VendorSub || !slices.Contains(OwnTypes(), head[1]) {
		return nil, fmt.Errorf("%q: a suboption cannot be of type %q", v, head[1])
	}
	values := []string{head[2]}
	if t.list() && t != RouteList {
		values = strings.Fields(head[2])
	}
	data, err := Encode(t, values)
	if err != nil {
		return nil, fmt.Errorf("suboption %d: %w", code, err)
	}
	if len(data) > 255 {
		return nil, fmt.Errorf("suboption %d: it is longer than 255 bytes", code)
	}
	return append(append(out, byte(code), byte(len(data))), data...), nil
}

// encodeVendors writes "ENTERPRISE CODE TYPE VALUE..." as RFC 3925 section 4: what there is for an enterprise follows its number, and the
// length of it all.
func encodeVendors(values []string) ([]byte, error) {
	var order []uint32
	subs := map[uint32][]byte{}
	for _, v := range values {
		number, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q does not begin with an enterprise number, as \"3561 1 text acs\" does", v)
		}
		id := uint32(n)
		if !slices.Contains(order, id) {
			order = append(order, id)
		}
		if subs[id], err = encodeSub(subs[id], rest); err != nil {
			return nil, err
		}
		if len(subs[id]) > 255 {
			return nil, fmt.Errorf("what there is for enterprise %d is longer than 255 bytes", id)
		}
	}
	var out []byte
	for _, id := range order {
		out = append(append(binary.BigEndian.AppendUint32(out, id), byte(len(subs[id]))), subs[id]...)
	}
	if len(out) > mostBytes {
		return nil, errTooLong
	}
	return out, nil
}
