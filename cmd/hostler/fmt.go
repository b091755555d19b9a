package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"hostler/spec/lang"
)

func fmtCommand() command {
	return command{
		name: "fmt", args: "[FILE|DIR|-]...", synopsis: "Lay spec files out in the one canonical way",
		long: "Rewrites *.boot.hcl files in the given directories and below (default: the current one) and prints the names of those that\n" +
			"changed. With - it reads standard input and writes standard output.",
		setup: func(flags *flag.FlagSet) func(context.Context, *environment, []string) int {
			f := &formatter{}
			flags.BoolVar(&f.check, "check", false, "Write nothing; exit with 3 when a file would change.")
			flags.BoolVar(&f.write, "write", true, "Write the files. -write=false only prints the names.")
			return func(_ context.Context, env *environment, args []string) int { return f.run(env, args) }
		},
	}
}

type formatter struct {
	check, write bool
	changed      int
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
			_, _ = env.stdout.Write(lang.Format(text))
			continue
		}
		if err := f.walk(env, arg); err != nil {
			return env.fail("%v", err)
		}
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
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
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
	out := lang.Format(text)
	if bytes.Equal(out, text) {
		return nil
	}
	f.changed++
	fmt.Fprintln(env.stdout, path)
	if f.check || !f.write {
		return nil
	}
	return replaceFile(path, out, info.Mode().Perm())
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
