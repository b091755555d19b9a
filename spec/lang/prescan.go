package lang

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// The bounds of nesting. hclsyntax parses and evaluates by recursion without any: 100,000 opening brackets overflow the stack,
// which ends the process and which no recover catches.
const (
	maxNesting = 200  // brackets, braces, parentheses, quotes, template sequences and directives
	maxDepth   = 1000 // the same and the operators of every expression that is open
)

// ScanError is text that the parser must not see.
type ScanError struct {
	Offset       int // in bytes
	Line, Column int // both from 1; columns count characters
	Reason       string
}

func (e *ScanError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Reason) }

// Prescan refuses text in native syntax that is too large, nested too deeply, or holds NUL, before the parser sees it. It looks at
// the tokens that the parser will see; the scanner that makes them does not recurse. The error is nil or a *ScanError.
func Prescan(src []byte) error { return prescan(src, hclsyntax.LexConfig) }

// prescanTemplate is Prescan for a bare template.
func prescanTemplate(src []byte) error { return prescan(src, hclsyntax.LexTemplate) }

type lexer func(src []byte, filename string, start hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)

func prescan(src []byte, lex lexer) error {
	if len(src) > MaxFile {
		return &ScanError{Line: 1, Column: 1, Reason: fmt.Sprintf("the file has %d bytes, and %d is the most", len(src), MaxFile)}
	}
	if i := bytes.IndexByte(src, 0); i >= 0 {
		return &ScanError{Offset: i, Line: 1 + bytes.Count(src[:i], []byte("\n")), Column: 1, Reason: "there is a NUL byte"}
	}
	tokens, _ := lex(src, "", hcl.InitialPos) // what is wrong with the text itself, the parser says
	s := scan{open: []level{{closer: hclsyntax.TokenEOF, lines: true}}}
	for i, t := range tokens {
		if reason := s.token(t, tokens[i+1:]); reason != "" {
			return &ScanError{t.Range.Start.Byte, t.Range.Start.Line, t.Range.Start.Column, reason}
		}
	}
	return nil
}

// scan counts how deep the parser's recursion, and the tree that it builds, can be.
type scan struct {
	open  []level
	depth int // of open: its levels and all their operators
}

// level is a bracket that is open, or the file.
type level struct {
	closer     hclsyntax.TokenType
	lines      bool // a new line ends an item
	operators  int  // of the item being read: each may be one level of the tree
	directives int  // %{if} and %{for} that are open
}

// token takes the next token into account, and says why the text must be refused, if it must.
func (s *scan) token(t hclsyntax.Token, rest hclsyntax.Tokens) string {
	top := &s.open[len(s.open)-1]
	switch t.Type {
	case hclsyntax.TokenQuotedLit:
		if escapesNUL(t.Bytes) {
			return `the escape \u0000 stands for NUL, which text of a spec cannot hold`
		}
	case hclsyntax.TokenComma:
		s.endItem(top)
	case hclsyntax.TokenNewline:
		if top.lines {
			s.endItem(top)
		}
	case top.closer: // another closing bracket than the one expected is a mistake, and must not count as an end
		s.depth -= 1 + top.operators + top.directives
		if len(s.open) > 1 {
			s.open = s.open[:len(s.open)-1]
		}
	default:
		if isOperator(t.Type) {
			top.operators++
			s.depth++
		}
		if closer, ok := closerOf(t.Type); ok {
			s.push(t.Type, closer, rest)
		}
	}
	return s.tooDeep()
}

func (s *scan) endItem(top *level) {
	s.depth -= top.operators
	top.operators = 0
}

func (s *scan) push(opener, closer hclsyntax.TokenType, rest hclsyntax.Tokens) {
	first := firstWord(rest)
	if opener == hclsyntax.TokenTemplateControl {
		s.directive(first)
	}
	// New lines end the items of blocks and objects, but not those of { for ... }.
	s.open = append(s.open, level{closer: closer, lines: opener == hclsyntax.TokenOBrace && first != "for"})
	s.depth++
}

// directive counts those that contain the text up to their end. Any end ends the innermost, as in the parser.
func (s *scan) directive(word string) {
	top := &s.open[len(s.open)-1]
	switch {
	case word == "if" || word == "for":
		top.directives++
		s.depth++
	case strings.HasPrefix(word, "end") && top.directives > 0:
		top.directives--
		s.depth--
	}
}

func (s *scan) tooDeep() string {
	top := s.open[len(s.open)-1]
	switch {
	case len(s.open) > maxNesting || top.directives > maxNesting:
		return fmt.Sprintf("brackets, braces, parentheses and templates are nested more than %d deep", maxNesting)
	case s.depth > maxDepth:
		return fmt.Sprintf("the expression has more than %d operators and brackets open: give parts of it names in locals", maxDepth)
	}
	return ""
}

func closerOf(t hclsyntax.TokenType) (hclsyntax.TokenType, bool) {
	switch t {
	case hclsyntax.TokenOBrace:
		return hclsyntax.TokenCBrace, true
	case hclsyntax.TokenOBrack:
		return hclsyntax.TokenCBrack, true
	case hclsyntax.TokenOParen:
		return hclsyntax.TokenCParen, true
	case hclsyntax.TokenOQuote:
		return hclsyntax.TokenCQuote, true
	case hclsyntax.TokenOHeredoc:
		return hclsyntax.TokenCHeredoc, true
	case hclsyntax.TokenTemplateInterp, hclsyntax.TokenTemplateControl:
		return hclsyntax.TokenTemplateSeqEnd, true
	}
	return 0, false
}

// isOperator reports whether the parser may make one more level of its tree of the token. An opening bracket is one, since
// an index stays in the tree when the bracket is closed.
func isOperator(t hclsyntax.TokenType) bool {
	return strings.ContainsRune("+-*/%≔≠<≤>≥∧∨!.?:[…⸬", rune(t))
}

// firstWord is the identifier that follows, comments and new lines aside.
func firstWord(rest hclsyntax.Tokens) string {
	for _, t := range rest {
		switch t.Type {
		case hclsyntax.TokenComment, hclsyntax.TokenNewline:
		case hclsyntax.TokenIdent:
			return string(t.Bytes)
		default:
			return ""
		}
	}
	return ""
}

// escapesNUL finds \u0000 and \U00000000 in a quoted literal.
func escapesNUL(b []byte) bool {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if i++; bytes.HasPrefix(b[i:], []byte("u0000")) || bytes.HasPrefix(b[i:], []byte("U00000000")) {
			return true
		}
	}
	return false
}

// PrescanJSON is Prescan for text in JSON syntax, whose strings are templates.
func PrescanJSON(src []byte) error {
	if len(src) > MaxFile {
		return &ScanError{Line: 1, Column: 1, Reason: fmt.Sprintf("the file has %d bytes, and %d is the most", len(src), MaxFile)}
	}
	depth, line := 0, 1
	refuse := func(offset int, reason string) error {
		return &ScanError{Offset: offset, Line: line, Column: 1, Reason: reason}
	}
	for i := 0; i < len(src); i++ {
		switch src[i] {
		case '\n':
			line++
		case '{', '[':
			if depth++; depth > maxNesting {
				return refuse(i, fmt.Sprintf("brackets and braces are nested more than %d deep", maxNesting))
			}
		case '}', ']':
			depth = max(depth-1, 0)
		case '"':
			end := i + 1
			for end < len(src) && src[end] != '"' && src[end] != '\n' {
				if src[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end, len(src))
			var text string
			if json.Unmarshal(append(src[i:end:end], '"'), &text) == nil {
				if err := prescanTemplate([]byte(text)); err != nil {
					return refuse(i, err.(*ScanError).Reason)
				}
			}
			i = end
			if end < len(src) && src[end] == '\n' { // not closed: the parser says so
				i--
			}
		}
	}
	return nil
}
