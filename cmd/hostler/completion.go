package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
)

func completionCommand() command {
	return command{
		name: "completion", args: "bash|zsh|fish", synopsis: "Print a shell completion script",
		long: "Prints a completion script for a shell. Nothing is written to your files: put the output where your shell looks,\n" +
			"for example `hostler completion bash >/etc/bash_completion.d/hostler`.",
		setup: func(*flag.FlagSet) func(context.Context, *environment, []string) int {
			return func(_ context.Context, env *environment, args []string) int {
				scripts := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}
				if len(args) != 1 || scripts[args[0]] == "" {
					return env.fail("completion: name one shell: bash, zsh or fish")
				}
				fmt.Fprint(env.stdout, fillCompletion(scripts[args[0]]))
				return exitOK
			}
		},
	}
}

// fillCompletion writes the commands and their flags into a script, so that it cannot differ from what the binary knows.
func fillCompletion(script string) string {
	var names, cases, fish strings.Builder
	for _, c := range commands() {
		fs, _ := (&bound{command: c, env: &environment{}}).flags()
		var flags []string
		fs.VisitAll(func(f *flag.Flag) {
			flags = append(flags, "-"+f.Name)
			fmt.Fprintf(&fish, "complete -c hostler -n '__fish_seen_subcommand_from %s' -o %s -d %s\n", c.name, f.Name, quoteShell(firstSentence(f.Usage)))
		})
		first, second, _ := strings.Cut(c.name, " ")
		names.WriteString(first + " ")
		fmt.Fprintf(&cases, "    %s) flags=%s next=%s ;;\n", first, quoteShell(strings.Join(flags, " ")), quoteShell(second))
		fmt.Fprintf(&fish, "complete -c hostler -n __fish_use_subcommand -f -a %s -d %s\n", first, quoteShell(c.synopsis))
	}
	return strings.NewReplacer("@NAMES@", strings.TrimSpace(names.String()), "@CASES@", strings.TrimRight(cases.String(), "\n"), "@FISH@", fish.String()).Replace(script)
}

func firstSentence(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return strings.ReplaceAll(first, "`", "")
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

const bashCompletion = `# bash completion for hostler
_hostler() {
  local cur=${COMP_WORDS[COMP_CWORD]} flags= next=
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '@NAMES@' -- "$cur"))
    return
  fi
  case ${COMP_WORDS[1]} in
@CASES@
  esac
  if [ -n "$next" ] && [ "$COMP_CWORD" -eq 2 ]; then
    COMPREPLY=($(compgen -W "$next" -- "$cur"))
    return
  fi
  case $cur in
    -*) COMPREPLY=($(compgen -W "$flags" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -f -- "$cur")) ;;
  esac
}
complete -o filenames -F _hostler hostler
`

const zshCompletion = `#compdef hostler
_hostler() {
  local flags= next=
  if (( CURRENT == 2 )); then
    compadd -- @NAMES@
    return
  fi
  case ${words[2]} in
@CASES@
  esac
  if [[ -n $next ]] && (( CURRENT == 3 )); then
    compadd -- ${=next}
  elif [[ ${words[CURRENT]} == -* ]]; then
    compadd -- ${=flags}
  else
    _files
  fi
}
compdef _hostler hostler
`

const fishCompletion = `# fish completion for hostler
@FISH@`
