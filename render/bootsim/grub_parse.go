package bootsim

import "strings"

// grubStatement is a command, or one of if, for and while with what belongs to it.
type grubStatement struct {
	keyword   string
	words     []string // of a command; of for, the variable and its values
	condition []grubStatement
	body      []grubStatement
	other     []grubStatement
}

// grubWords splits a configuration as GRUB's script language does (grub-core/script/yylex.l): into words with their quotes, and ";"
// for what ends a command. A word that begins with # begins a comment.
func grubWords(text string) []string {
	var words []string
	for line := range strings.Lines(text) {
		for line = strings.TrimSpace(line); line != "" && line[0] != '#'; line = strings.TrimLeft(line, " \t") {
			n := wordLength(line)
			words = append(words, line[:n])
			line = line[n:]
		}
		words = append(words, ";")
	}
	return words
}

// wordLength is how long the first word of a line is.
func wordLength(line string) int {
	if line[0] == ';' {
		return 1
	}
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case ' ', '\t', ';':
			return i
		case '\\':
			i++
		case '\'', '"':
			end := strings.IndexByte(line[i+1:], c)
			if end < 0 {
				return len(line)
			}
			i += end + 1
		}
	}
	return len(line)
}

// grubParser makes statements of words. The first problem ends it.
type grubParser struct {
	words   []string
	problem string
	depth   int
}

// list reads statements up to a word that ends a list.
func (p *grubParser) list() []grubStatement {
	var list []grubStatement
	if p.depth++; p.depth > 20 {
		p.problem = "too deep"
	}
	for p.problem == "" && len(p.words) > 0 {
		switch p.words[0] {
		case ";":
			p.words = p.words[1:]
		case "then", "else", "fi", "do", "done":
			p.depth--
			return list
		default:
			list = append(list, p.statement())
		}
	}
	p.depth--
	return list
}

func (p *grubParser) statement() grubStatement {
	s := grubStatement{keyword: p.words[0]}
	switch s.keyword {
	case "if":
		p.take("if")
		s.condition = p.list()
		p.take("then")
		s.body = p.list()
		if len(p.words) > 0 && p.words[0] == "else" {
			p.take("else")
			s.other = p.list()
		}
		p.take("fi")
	case "while":
		p.take("while")
		s.condition = p.list()
		p.take("do")
		s.body = p.list()
		p.take("done")
	case "for":
		p.take("for")
		words := p.command()
		if len(words) < 2 || words[1] != "in" {
			p.problem = "for without in"
			return s
		}
		s.words = append(words[:1:1], words[2:]...)
		p.take(";")
		p.take("do")
		s.body = p.list()
		p.take("done")
	default:
		s.keyword, s.words = "", p.command()
	}
	return s
}

// command reads words up to the end of a command.
func (p *grubParser) command() []string {
	for i, w := range p.words {
		if w == ";" {
			words := p.words[:i]
			p.words = p.words[i:]
			return words
		}
	}
	words := p.words
	p.words = nil
	return words
}

// take takes a word that must come next.
func (p *grubParser) take(word string) {
	if p.problem != "" {
		return
	}
	if len(p.words) == 0 || p.words[0] != word {
		p.problem = "no " + word
		return
	}
	p.words = p.words[1:]
}
