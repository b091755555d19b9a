package lang

import (
	"bytes"

	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format gives text in the canonical layout: formatting twice changes nothing more. Text that Prescan refuses comes back as it
// is; whoever wants to say so scans and parses it first.
func Format(src []byte) []byte {
	if Prescan(src) != nil {
		return src
	}
	// hclwrite aligns by the widths that it finds, so that a second pass may still move a comment.
	for range 4 {
		out := hclwrite.Format(src)
		if bytes.Equal(out, src) {
			break
		}
		src = out
	}
	return src
}
