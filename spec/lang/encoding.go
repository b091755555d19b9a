package lang

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"

	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	"go.yaml.in/yaml/v3"

	"hostler/render/fact"
)

// The bounds of decoded text.
const (
	maxDataNesting = 200
	maxDataValues  = 2_000_000
)

func encodingFunctions() map[string]function.Function {
	return map[string]function.Function{
		"base64decode": early(stringFunc(func(a []string) (string, error) { return decodeBase64(a[0]) }, "str")),
		"base64encode": early(stringFunc(func(a []string) (string, error) {
			return base64.StdEncoding.EncodeToString([]byte(a[0])), nil
		}, "str")),
		"csvdecode":  early(decoderFunc(func(src string) (cty.Value, error) { return decodeDelimited(src, ',', "") })),
		"jsondecode": early(decoderFunc(decodeJSON)),
		"jsonencode": encoderFunc(encodeJSON),
		"sha256": early(stringFunc(func(a []string) (string, error) {
			sum := sha256.Sum256([]byte(a[0]))
			return hex.EncodeToString(sum[:]), nil
		}, "str")),
		"urlencode":  early(stringFunc(func(a []string) (string, error) { return url.QueryEscape(a[0]), nil }, "str")),
		"yamldecode": early(decoderFunc(decodeYAML)),
		"yamlencode": encoderFunc(encodeYAML),
	}
}

// decoderFunc is a function from text to a value whose type depends on the text. cty asks for the type and for the
// value in two calls; the second decodes again, which keeps the function free of state.
func decoderFunc(decode func(src string) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{stringParam("src")},
		Type: func(args []cty.Value) (cty.Type, error) {
			if !args[0].IsKnown() {
				return cty.DynamicPseudoType, nil
			}
			v, err := decode(args[0].AsString())
			if err != nil {
				return cty.DynamicPseudoType, function.NewArgError(0, err)
			}
			return v.Type(), nil
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return decode(args[0].AsString()) },
	})
}

func encoderFunc(encode func(cty.Value) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowNull: true}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := encode(StripRows(args[0]))
			if err != nil {
				return fail(err)
			}
			return cty.StringVal(s), nil
		},
	})
}

func decodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", errors.New("this is not base64")
	}
	if !utf8.Valid(b) {
		return "", errors.New("the decoded bytes are not UTF-8 text")
	}
	return string(b), noNUL(string(b))
}

func decodeJSON(src string) (cty.Value, error) {
	if err := jsonNesting(src); err != nil {
		return cty.NilVal, err
	}
	v, err := stdlib.JSONDecode(cty.StringVal(src))
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return cty.NilVal, errors.New("the JSON text ends too early")
	} else if err != nil {
		return cty.NilVal, err
	}
	return v, checkData(v)
}

// jsonNesting bounds the recursion of JSON decoders.
func jsonNesting(src string) error {
	depth, inString := 0, false
	for i := 0; i < len(src); i++ {
		switch c := src[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxDataNesting {
				return fmt.Errorf("brackets and braces are nested more than %d deep at offset %d", maxDataNesting, i)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

func decodeYAML(src string) (cty.Value, error) {
	if _, err := yamlNode(src); err != nil {
		return cty.NilVal, err
	}
	t, err := ctyyaml.Standard.ImpliedType([]byte(src))
	if err != nil {
		return cty.NilVal, err
	}
	v, err := ctyyaml.Standard.Unmarshal([]byte(src), t)
	if err != nil {
		return cty.NilVal, err
	}
	return v, checkData(v)
}

// yamlNode parses YAML into a tree whose size is bounded, aliases written out. The decoder that makes values of it bounds
// nothing: deep text takes it quadratic time, and aliases of aliases exponential time.
func yamlNode(src string) (*yaml.Node, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(src), &n); err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	left := maxDataValues
	return &n, boundYAML(&n, 0, &left)
}

func boundYAML(n *yaml.Node, depth int, left *int) error {
	if *left--; *left < 0 {
		return errValues
	}
	if depth > maxDataNesting {
		return errNesting
	}
	if n.Alias != nil {
		return boundYAML(n.Alias, depth+1, left)
	}
	for _, c := range n.Content {
		if err := boundYAML(c, depth+1, left); err != nil {
			return err
		}
	}
	return nil
}

var (
	errValues  = fmt.Errorf("there are more than %d values", maxDataValues)
	errNesting = fmt.Errorf("values are nested more than %d deep", maxDataNesting)
)

// checkData refuses what no decoder refuses by itself: NUL bytes, and more values than anyone means.
func checkData(v cty.Value) error {
	left := maxDataValues
	return visitStrings(v, 0, &left)
}

func visitStrings(v cty.Value, depth int, left *int) error {
	if *left--; *left < 0 {
		return errValues
	}
	if depth > maxDataNesting {
		return errNesting
	}
	if v.IsNull() || !v.IsKnown() {
		return nil
	}
	if v.Type() == cty.String {
		return noNUL(v.AsString())
	}
	if !v.CanIterateElements() {
		return nil
	}
	for it := v.ElementIterator(); it.Next(); {
		k, e := it.Element()
		if k.Type() == cty.String {
			if err := noNUL(k.AsString()); err != nil {
				return err
			}
		}
		if err := visitStrings(e, depth+1, left); err != nil {
			return err
		}
	}
	return nil
}

func encodeJSON(v cty.Value) (string, error) {
	s, err := stdlib.JSONEncode(v)
	if err != nil {
		return "", err
	}
	return restoreLate(s.AsString(), `\u0000`), nil
}

func encodeYAML(v cty.Value) (string, error) {
	b, err := ctyyaml.Standard.Marshal(v)
	if err != nil {
		return "", err
	}
	return restoreLate(string(b), `\0`), nil
}

const secretMark = "\x00" + string(fact.LateSecret) + ":"

// restoreLate turns the escape that an encoder wrote for NUL back into NUL, so that late values survive encoding: what
// they become (addresses and URLs) needs no escaping in JSON or in a double-quoted YAML string. A secret may be anything, so it is
// marked to be escaped.
func restoreLate(s, escape string) string {
	if !strings.Contains(s, escape) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], escape):
			b.WriteByte(0)
			i += len(escape)
		case s[i] == '\\' && i+1 < len(s):
			b.WriteString(s[i : i+2])
			i += 2
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return quoteSecrets(b.String(), fact.EncodingJSON)
}

// quoteSecrets marks the secrets of a text that stands in quotes, to be written as those want it. Base64 needs nothing.
func quoteSecrets(s, encoding string) string {
	s = strings.ReplaceAll(s, secretMark, secretMark+encoding+":")
	return strings.ReplaceAll(s, secretMark+encoding+":"+fact.EncodingBase64+":", secretMark+fact.EncodingBase64+":")
}
