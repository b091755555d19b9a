package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/rogpeppe/go-internal/diff"

	"hostler/spec"
	"hostler/spec/lang"
)

func fmtCommand() command {
	return command{
		name: "fmt", args: "[FILE|DIR|-]...", synopsis: "Lay spec files out in the one canonical way",
		long: "Rewrites *.boot.hcl files in the given directories and below (default: the current one) and prints the names of those that\n" +
			"changed. With - it reads standard input and writes standard output. A file that cannot be parsed is left as it is.",
		setup: func(flags *flag.FlagSet) func(context.Context, *environment, []string) int {
			f := &formatter{}
			flags.BoolVar(&f.check, "check", false, "Write nothing; exit with 3 when a file would change.")
			flags.BoolVar(&f.diff, "diff", false, "Print what changes, as a diff.")
			flags.BoolVar(&f.recursive, "recursive", true, "Format the directories below, too.")
			flags.BoolVar(&f.write, "write", true, "Write the files. -write=false only prints the names.")
			return func(_ context.Context, env *environment, args []string) int { return f.run(env, args) }
		},
	}
}

type formatter struct {
	check, write, diff, recursive bool
	changed, broken               int
}

func (f *formatter) run(env *environment, args []string) int {
	if len(args) == 0 {
		args = []string{"."}
	}
	for _, arg := range args {
		if arg == "-" {
			text, err := io.ReadAll(io.LimitReader(env.stdin, 64<<20))
			if err != nil {
				return env.fail("reading standard input: %v", err)
			}
			if out := f.format(env, "<stdin>", text); out != nil && !f.check && !f.diff {
				_, _ = env.stdout.Write(out)
			}
			continue
		}
		if err := f.walk(env, arg); err != nil {
			return env.fail("%v", err)
		}
	}
	if f.broken > 0 {
		return exitError
	}
	if f.check && f.changed > 0 {
		return exitNo
	}
	return exitOK
}

func (f *formatter) walk(env *environment, root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (!f.recursive || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if path != root && !strings.HasSuffix(name, ".boot.hcl") || !d.Type().IsRegular() {
			return nil
		}
		return f.file(env, path)
	})
}

func (f *formatter) file(env *environment, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	out := f.format(env, path, text)
	if out == nil || bytes.Equal(out, text) || f.check || !f.write {
		return nil
	}
	return replaceFile(path, out, info.Mode().Perm())
}

// format gives the text in the canonical layout and names the file when that is another; nil when it cannot be parsed.
func (f *formatter) format(env *environment, path string, text []byte) []byte {
	if d := syntaxError(path, text); d != nil {
		f.broken++
		printDiagnostics(env.stderr, spec.Diagnostics{*d}, env.color, env.width)
		return nil
	}
	out := lang.Format(text)
	if bytes.Equal(out, text) {
		return out
	}
	f.changed++
	if path != "<stdin>" {
		fmt.Fprintln(env.stdout, path)
	}
	if f.diff {
		_, _ = env.stdout.Write(diff.Diff("old/"+path, text, "new/"+path, out))
	}
	return out
}

// syntaxError is the first mistake that keeps text from being parsed.
func syntaxError(path string, text []byte) *spec.Diagnostic {
	var scan *lang.ScanError
	if errors.As(lang.Prescan(text), &scan) {
		return &spec.Diagnostic{Severity: spec.Error, Summary: "Text is refused", Detail: scan.Reason, Place: &spec.Place{File: path, Line: scan.Line, Column: scan.Column}}
	}
	_, ds := hclsyntax.ParseConfig(text, path, hcl.InitialPos)
	for _, d := range ds {
		if d.Severity == hcl.DiagError && d.Subject != nil {
			at := d.Subject.Start
			return &spec.Diagnostic{Severity: spec.Error, Summary: d.Summary, Detail: d.Detail, Place: &spec.Place{File: path, Line: at.Line, Column: at.Column}}
		}
	}
	return nil
}

// replaceFile writes beside the file and renames over it: a full disk leaves the old text.
func replaceFile(path string, text []byte, mode fs.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(text)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %v", path, err)
	}
	return os.Rename(tmp.Name(), path)
}
