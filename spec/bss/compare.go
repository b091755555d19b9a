package bss

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// parsed is a boot script as far as it decides what is booted.
type parsed struct {
	kernel  string
	initrds []string
	args    []arg
	sleep   string
	chain   bool
}

// arg is a kernel argument; a flag has no value.
type arg struct {
	key, value string
	flag       bool
}

func (a arg) String() string {
	if a.flag {
		return a.key
	}
	return a.key + "=" + a.value
}

// tokens are arguments that differ between two scripts of one boot.
var tokens = []string{"hostler.boot", "bss_referral_token"}

// parse reads a script, of the service's or of ours.
func parse(text string) (p parsed, ok bool) {
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " || goto")
		words := splitWords(line)
		for len(words) > 2 && words[1] == "--name" || len(words) > 2 && strings.HasPrefix(words[1], "--") {
			n := 2
			if words[1] == "--name" || words[1] == "-n" {
				n = 3
			}
			words = append(words[:1:1], words[min(n, len(words)):]...)
		}
		switch {
		case len(words) > 1 && words[0] == "kernel":
			p.kernel, p.args, ok = address(words[1]), args(words[2:]), true
		case len(words) > 1 && words[0] == "initrd":
			p.initrds = append(p.initrds, address(words[1]))
		case len(words) > 1 && words[0] == "sleep":
			p.sleep = words[1]
		case len(words) > 1 && words[0] == "chain":
			p.chain = true
		}
	}
	return p, ok
}

func args(words []string) (list []arg) {
	for _, w := range words {
		key, value, set := cutWord(w)
		if key != "initrd" && !slices.Contains(tokens, key) {
			list = append(list, arg{key, neutral(value), !set})
		}
	}
	return list
}

// cutWord takes a word apart, without the quotes that stand around the word or its value: so does the kernel, which leaves others alone.
func cutWord(word string) (key, value string, set bool) {
	if rest, quoted := strings.CutPrefix(word, `"`); quoted {
		word = strings.TrimSuffix(rest, `"`)
	}
	key, value, set = strings.Cut(word, "=")
	if rest, quoted := strings.CutPrefix(value, `"`); quoted {
		value = strings.TrimSuffix(rest, `"`)
	}
	return key, value, set
}

// splitWords splits at white space outside double quotes, as the kernel does (lib/cmdline.c next_arg).
func splitWords(s string) (words []string) {
	start, quoted := -1, false
	for i := 0; i <= len(s); i++ {
		space := i == len(s) || !quoted && (s[i] == ' ' || s[i] >= '\t' && s[i] <= '\r')
		if i < len(s) && s[i] == '"' {
			quoted = !quoted
		}
		switch {
		case !space && start < 0:
			start = i
		case space && start >= 0:
			words, start = append(words, s[start:i]), -1
		}
	}
	return words
}

// address is a URL without what may differ: who serves it, and its signature. What is left names the object.
func address(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme == "":
		return text
	case strings.EqualFold(u.Scheme, "s3"):
		return "/" + strings.TrimPrefix(u.Host+"/"+strings.TrimPrefix(u.Path, "/"), "/")
	}
	return u.Path
}

// neutral is a value with its URLs as addresses. Of a seed of cloud-init only that there is one counts. s3:// as text, which an initrd
// resolves itself, stays.
func neutral(value string) string {
	for _, scheme := range []string{"http://", "https://"} {
		before, after, found := strings.Cut(value, scheme)
		if !found {
			continue
		}
		if strings.HasPrefix(value, "nocloud") {
			return before + "URL"
		}
		return before + address(scheme+after)
	}
	return value
}

// signed gives the parameters of a model's script the addresses that the service signs.
func signedArgs(list []arg) []arg {
	for i := range list {
		for _, begin := range []struct{ key, value string }{{"metal.server", "s3://"}, {"root", "live:s3://"}} {
			if list[i].key == begin.key && strings.HasPrefix(list[i].value, begin.value) {
				before, after, _ := strings.Cut(list[i].value, "s3://")
				list[i].value = before + address("s3://"+after)
			}
		}
	}
	return list
}

// Compare gives the differences between the script that a service sends and the one that replaces it, but for URLs and tokens: the objects
// that are fetched, the arguments as ordered multisets by key, and the pause before the next attempt.
func Compare(old, new string) (differences []string) {
	o, ok := parse(old)
	if !ok {
		return []string{"the old script boots no kernel"}
	}
	n, ok := parse(new)
	if !ok {
		return []string{"the new script boots no kernel"}
	}
	say := func(what, a, b string) {
		if a != b {
			differences = append(differences, fmt.Sprintf("%s: %s -> %s", what, quoted(a), quoted(b)))
		}
	}
	say("kernel", o.kernel, n.kernel)
	say("initrd", strings.Join(o.initrds, " "), strings.Join(n.initrds, " "))
	was, is := byKey(signedArgs(o.args)), byKey(n.args)
	for _, key := range keys(o.args, n.args) {
		say("argument "+key, strings.Join(was[key], " "), strings.Join(is[key], " "))
	}
	say("pause", o.sleep, n.sleep)
	if !n.chain {
		differences = append(differences, "the new script does not ask again")
	}
	return differences
}

func quoted(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func byKey(list []arg) map[string][]string {
	m := map[string][]string{}
	for _, a := range list {
		m[a.key] = append(m[a.key], a.String())
	}
	return m
}

// keys are those of both lists, each once, in order.
func keys(lists ...[]arg) (names []string) {
	for _, a := range slices.Concat(lists...) {
		if !slices.Contains(names, a.key) {
			names = append(names, a.key)
		}
	}
	return names
}
