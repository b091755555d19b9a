// Package examples is fleets that people copy. Its code takes some of them, lab, firmware and cray, all the way: a git repository with a
// copy of it, hostler serving that, and machines that boot. The demo and the tests share it. It uses hostler as
// its users do, by the program and its commands.
package examples

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"hostler/examples/vm"
)

//go:embed lab firmware cray testdata/command-lines.txt
var files embed.FS

// Lab is a fleet of the examples, running.
type Lab struct {
	Network *vm.Network
	Repo    string // the git repository that operators commit to
	Files   string // the directory of the boot files
	State   string
	Vars    []string // name=value, for the spec
	Server  *vm.Process
	Log     *vm.Console // what the server logs

	binary       string
	dir          string
	unprivileged bool
}

// machines are the machines of examples/lab, examples/firmware and examples/cray, by name.
var machines = map[string]vm.Machine{
	"bios1": {MAC: "52:54:00:77:00:01", Firmware: vm.BIOS},
	"uefi1": {MAC: "52:54:00:77:00:02", Firmware: vm.UEFI},

	"uefi-http":     {MAC: "52:54:00:77:01:01", Firmware: vm.UEFIHTTP},
	"undionly":      {MAC: "52:54:00:77:01:02", Firmware: vm.BIOS},
	"pxelinux":      {MAC: "52:54:00:77:01:03", Firmware: vm.BIOS},
	"disk-pxelinux": {MAC: "52:54:00:77:01:0b", Firmware: vm.BIOS},
	"arm64":         {MAC: "52:54:00:77:01:04", Firmware: vm.ARM64},
	"disk-bios":     {MAC: "52:54:00:77:01:05", Firmware: vm.BIOS},
	"disk-uefi":     {MAC: "52:54:00:77:01:06", Firmware: vm.UEFI},
	"grub-mac":      {MAC: "52:54:00:77:01:08", Firmware: vm.UEFI},
	"grub-address":  {MAC: "52:54:00:77:01:09", Firmware: vm.UEFI},
	"secure-boot":   {MAC: "52:54:00:77:01:0a", Firmware: vm.SecureBoot},
	"disk-http":     {MAC: "52:54:00:77:01:07", Firmware: vm.UEFIHTTP},

	"nid000001": {MAC: "52:54:00:77:02:01", Firmware: vm.BIOS},
	"nid000002": {MAC: "52:54:00:77:02:02", Firmware: vm.UEFI},
	"nid000003": {MAC: "52:54:00:77:02:03", Firmware: vm.BIOS},
}

// NewLab makes the network and the repository with the fleet, a folder of the examples; nothing runs yet. The hostler program is the
// file binary. An unprivileged lab runs it as the service unit does: as nobody, with two capabilities. Close it after use.
func NewLab(ctx context.Context, binary, fleet string, unprivileged bool) (l *Lab, err error) {
	l = &Lab{binary: binary, unprivileged: unprivileged}
	defer func() {
		if err != nil {
			l.Close()
			l, err = nil, fmt.Errorf("preparing the lab: %w", err)
		}
	}()
	if l.Network, err = vm.NewNetwork(netip.MustParsePrefix("10.77.0.1/24")); err != nil {
		return l, err
	}
	if l.dir, err = os.MkdirTemp("", "hostler-lab-"); err != nil {
		return l, err
	}
	l.Repo, l.Files, l.State = filepath.Join(l.dir, "machines"), filepath.Join(l.dir, "files"), filepath.Join(l.dir, "state")
	l.Vars = []string{"files=" + l.Files}
	if err = l.folders(); err != nil {
		return l, err
	}
	return l, l.repository(ctx, fleet)
}

// Close ends everything in the lab and removes its files.
func (l *Lab) Close() {
	if l.Network != nil {
		l.Network.Close()
	}
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
}

// folders copies what the machines boot to where nobody can read it too, and gives the server a folder of its own.
func (l *Lab) folders() error {
	guest, err := vm.GuestFiles()
	if err != nil {
		return err
	}
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(l.Files, os.DirFS(guest)); err != nil {
		return err
	}
	if err := os.Mkdir(l.State, 0o700); err != nil || !l.unprivileged {
		return err
	}
	return os.Chown(l.State, nobody, nobody)
}

const nobody = 65534

func (l *Lab) repository(ctx context.Context, fleet string) error {
	spec, err := fs.Sub(files, fleet)
	if err != nil {
		return err
	}
	if err := os.CopyFS(l.Repo, spec); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"},
		{"config", "user.name", "An Operator"},
		{"config", "user.email", "operator@example.net"},
		{"add", "-A"},
		{"commit", "-q", "-m", fleet + ": machines"},
	} {
		if err := l.git(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (l *Lab) git(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = l.Repo
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("running %s: %w: %s", cmd, err, out)
	}
	return nil
}

// Edit replaces a text of the lab's spec, which must be there, and leaves it to Commit to make that known.
func (l *Lab) Edit(old, new string) error {
	names, err := filepath.Glob(filepath.Join(l.Repo, "*.boot.hcl"))
	if err != nil {
		return err
	}
	for _, file := range names {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), old) {
			return os.WriteFile(file, []byte(strings.ReplaceAll(string(text), old, new)), 0o644)
		}
	}
	return fmt.Errorf("editing %s: %q is in no file", l.Repo, old)
}

// Commit commits what was edited.
func (l *Lab) Commit(ctx context.Context, message string) error {
	return l.git(ctx, "commit", "-q", "-a", "-m", message)
}

// Serve starts hostler, with more flags where some are given, and returns once it serves the lab.
func (l *Lab) Serve(ctx context.Context, flags ...string) error {
	l.Log = vm.NewConsole()
	args := append([]string{"serve", "-interface=br0", "-state=" + l.State}, flags...)
	for _, v := range l.Vars {
		args = append(args, "-var="+v)
	}
	cmd := exec.Command(l.binary, append(args, l.Repo)...)
	cmd.Dir = l.State
	cmd.Stdout, cmd.Stderr = l.Log, l.Log
	if l.unprivileged {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Credential:  &syscall.Credential{Uid: nobody, Gid: nobody},
			AmbientCaps: []uintptr{unix.CAP_NET_BIND_SERVICE, unix.CAP_NET_RAW},
		}
	}
	var err error
	if l.Server, err = l.Network.Start(cmd); err != nil {
		return err
	}
	return l.await(ctx, "")
}

// Served waits until the server serves the last commit.
func (l *Lab) Served(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "git", "-C", l.Repo, "rev-parse", "--short=12", "HEAD")
	head, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("running %s: %w", cmd, err)
	}
	return l.await(ctx, strings.TrimSpace(string(head)))
}

// await asks for the status until a revision is served whose hash begins so, or the server ends.
func (l *Lab) await(ctx context.Context, hash string) error {
	serves := regexp.MustCompile(`(?m)^Revision +main@sha1:` + hash)
	for {
		out, _ := l.Hostler(ctx, "status").CombinedOutput()
		if serves.Match(out) {
			return nil
		}
		select {
		case <-l.Server.Done():
			return fmt.Errorf("hostler serve has ended:\n%s", l.Log)
		case <-ctx.Done():
			return fmt.Errorf("waiting for hostler: %w; its status is %q, its log:\n%s", context.Cause(ctx), out, l.Log)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Hostler is a command of an operator, who reaches the server by its socket.
func (l *Lab) Hostler(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, l.binary, args...)
	if _, err := os.Stat(l.Repo); err == nil {
		cmd.Dir = l.Repo
	}
	cmd.Env = append(os.Environ(), "HOSTLER_SOCKET="+filepath.Join(l.State, "admin.sock"))
	return cmd
}

// Boot switches a machine of the lab on.
func (l *Lab) Boot(ctx context.Context, name string) (*vm.Guest, error) {
	m, ok := machines[name]
	if !ok {
		return nil, fmt.Errorf("there is no machine %q in the lab", name)
	}
	return l.Network.Boot(ctx, m)
}

// variable is what cannot be known beforehand of a command line: the boot's id, a ULID, with its token, and the digest of a file.
var variable = regexp.MustCompile(`(hostler\.boot=)[0-9A-HJKMNP-TV-Z]{26}\.[A-Z2-7]{26}( |$)|(/files/)[0-9a-f]{64}(/)`)

// CheckCommandLine waits until the machine's kernel has said on its serial port what it was told, and compares that
// with testdata/command-lines.txt for the commits, of which one must be right: which one, is the result.
func CheckCommandLine(ctx context.Context, g *vm.Guest, machine string, commits ...string) (commit string, err error) {
	line, err := g.Line(ctx, "GUEST CMDLINE ")
	if err != nil {
		return "", fmt.Errorf("%s: %w", machine, err)
	}
	got := variable.ReplaceAllString(strings.TrimPrefix(line, "GUEST CMDLINE "), "$1$3*$2$4")
	text, err := files.ReadFile("testdata/command-lines.txt")
	if err != nil {
		return "", err
	}
	var wanted []string
	for row := range strings.Lines(string(text)) {
		c, rest, _ := strings.Cut(strings.TrimSpace(row), " ")
		m, want, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if m != machine || !slices.Contains(commits, c) {
			continue
		}
		if got == want {
			return c, nil
		}
		wanted = append(wanted, want)
	}
	return "", fmt.Errorf("%s: its kernel was told\n\t%s\nand not, as after the commit %s,\n\t%s",
		machine, got, strings.Join(commits, " or "), strings.Join(wanted, "\n\t"))
}
