package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Machine is a computer to switch on.
type Machine struct {
	MAC      string
	Firmware Firmware
	Disk     string // an image, or fat:FOLDER, of a disk that it boots from when the network gives it nothing; none when empty
}

// Guest is a machine that was switched on.
type Guest struct {
	*Process
	Console *Console // what it says on its serial port
}

// Boot plugs a machine into the bridge and switches it on. It is switched off for good when it powers itself off or
// restarts, and when ctx ends or the network is closed.
func (n *Network) Boot(ctx context.Context, m Machine) (*Guest, error) {
	tap, err := n.tap()
	if err != nil {
		return nil, err
	}
	program, args, err := n.command(m, tap)
	if err != nil {
		return nil, err
	}
	g := &Guest{Console: NewConsole()}
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = g.Console, g.Console
	if g.Process, err = n.Start(cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", m.MAC, err)
	}
	release := context.AfterFunc(ctx, func() { g.Kill() })
	n.wg.Go(func() {
		<-g.done
		release()
		g.Console.Close()
		n.ip("link", "del", tap)
	})
	return g, nil
}

// Line waits until the machine has said a whole line that matches, and gives the line from the match on. The error of a
// machine that ends first, or not in time, shows the end of what it said.
func (g *Guest) Line(ctx context.Context, pattern string) (string, error) {
	line, err := g.Console.Line(ctx, pattern)
	if err != nil {
		return "", fmt.Errorf("waiting for %q on the serial port: %w; it ends with:\n%s", pattern, err, tail(g.Console.String(), 1500))
	}
	return line, nil
}

// PoweredOff waits until the machine has switched itself off.
func (g *Guest) PoweredOff(ctx context.Context) error {
	if err := g.Wait(ctx); err != nil {
		return fmt.Errorf("%w; the serial port ends with:\n%s", err, tail(g.Console.String(), 1500))
	}
	return nil
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// GuestFiles is the folder with the kernel, vmlinuz, and the initrd, initrd.gz, that testdata/lab/install.sh prepared. The
// initrd says "GUEST CMDLINE ...", "GUEST ADDRESS ..." and "GUEST READY" on the serial port and powers off.
func GuestFiles() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(cache, "hostler-lab", "guest"))
	if errors.Is(err, os.ErrNotExist) {
		return "", errors.New("the lab's guest is not there: run make install")
	}
	return dir, err
}

// BootDeadline is ample for one boot on a busy machine with two cores, which takes half a minute when it is idle.
const BootDeadline = 5 * time.Minute

// clean removes what terminals obey and people do not read: escape sequences and control characters.
func clean(line string) string {
	var b strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == 0x1b: // ESC [ parameters letter, or ESC and one character
			i++
			if i < len(line) && line[i] == '[' {
				for i++; i < len(line) && (line[i] < '@' || line[i] > '~'); i++ {
				}
			}
		case c >= ' ' || c == '\t':
			b.WriteByte(c)
		}
	}
	return b.String()
}
