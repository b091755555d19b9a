package ledger

import (
	"encoding/json"
	"fmt"
)

// Pack encodes a structure as the value of a key, under the format version of its kind of record.
func Pack(format int, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a record: %w", err)
	}
	return json.Marshal(envelope{format, body})
}

// Unpack decodes what Pack encoded. It knows formats up to newest: a greater one is ErrNewerFormat. It gives the format
// that it found, for callers that still read older ones.
func Unpack(value []byte, newest int, v any) (format int, err error) {
	var e envelope
	if err := json.Unmarshal(value, &e); err != nil {
		return 0, fmt.Errorf("decoding a record: %w", err)
	}
	if e.Format > newest {
		return e.Format, fmt.Errorf("%w: the record's format is %d, this one reads up to %d", ErrNewerFormat, e.Format, newest)
	}
	if e.Format < 1 {
		return e.Format, fmt.Errorf("decoding a record: format %d does not exist", e.Format)
	}
	if err := json.Unmarshal(e.Body, v); err != nil {
		return e.Format, fmt.Errorf("decoding a record of format %d: %w", e.Format, err)
	}
	return e.Format, nil
}

type envelope struct {
	Format int             `json:"format"`
	Body   json.RawMessage `json:"record"`
}
