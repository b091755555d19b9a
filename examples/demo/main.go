// Command demo shows hostler at work on this machine: it serves a copy of examples/lab from a git repository, boots two virtual machines
// with real firmware, commits a changed kernel parameter, and boots them again. It succeeds only if each machine's own
// kernel said, on the serial port, exactly what examples/testdata/command-lines.txt says, before and after.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"hostler/examples"
	"hostler/examples/vm"
)

func main() { os.Exit(run()) }

func run() int {
	binary := flag.String("hostler", "bin/hostler", "the program to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Now()
	if err := demo(ctx, *binary); err != nil {
		fmt.Fprintf(os.Stderr, "\ndemo: %v\n", err)
		return 1
	}
	say("Done in %.0f seconds: four boots, and each kernel said what it had to say.", time.Since(start).Seconds())
	return 0
}

func say(format string, args ...any) { fmt.Printf("\n== "+format+"\n", args...) }

func demo(ctx context.Context, binary string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	lab, err := examples.NewLab(ctx, binary, "lab", false)
	if err != nil {
		return err
	}
	defer lab.Close()
	say("A network with a bridge, br0 10.77.0.1/24, and a git repository with a copy of examples/lab: %s", lab.Repo)
	say("hostler serve -interface=br0 -state=%s -var files=%s %s", lab.State, lab.Files, lab.Repo)
	if err := lab.Serve(ctx); err != nil {
		return err
	}
	if err := show(ctx, lab, "status"); err != nil {
		return err
	}
	unfollow, err := follow(ctx, lab)
	if err != nil {
		return err
	}
	defer unfollow()
	if err := bootBoth(ctx, lab, "first"); err != nil {
		return err
	}
	if err := change(ctx, lab); err != nil {
		return err
	}
	return bootBoth(ctx, lab, "second")
}

// change edits the spec, shows the plan, and commits.
func change(ctx context.Context, lab *examples.Lab) error {
	say("An operator edits group compute: hugepages = 64 becomes 128. hostler plan, before the commit:")
	if err := lab.Edit("hugepages = 64", "hugepages = 128"); err != nil {
		return err
	}
	if err := show(ctx, lab, "plan", "-var", "files="+lab.Files); err != nil {
		return err
	}
	start := time.Now()
	if err := lab.Commit(ctx, "compute: twice the huge pages"); err != nil {
		return err
	}
	if err := lab.Served(ctx); err != nil {
		return err
	}
	say("Committed, and served %d ms later.", time.Since(start).Milliseconds())
	return nil
}

// show runs a command of an operator.
func show(ctx context.Context, lab *examples.Lab, args ...string) error {
	cmd := lab.Hostler(ctx, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	fmt.Println()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("hostler %v: %w", args, err)
	}
	return nil
}

// follow prints every step of every boot as it happens.
func follow(ctx context.Context, lab *examples.Lab) (stop func(), err error) {
	ready := vm.NewConsole()
	cmd := lab.Hostler(ctx, "boots", "-follow")
	cmd.Stdout, cmd.Stderr = os.Stdout, ready
	p, err := lab.Network.Start(cmd)
	if err != nil {
		return nil, err
	}
	_, err = ready.Line(ctx, "Following")
	return func() { p.Kill(); <-p.Done() }, err
}

// bootBoth switches both machines on and waits until each has said what it had to, reported that it is ready, and
// switched itself off.
func bootBoth(ctx context.Context, lab *examples.Lab, commit string) error {
	say("Switching on bios1 (BIOS, the network card's iPXE) and uefi1 (UEFI PXE, iPXE from hostler).")
	ctx, cancel := context.WithTimeout(ctx, vm.BootDeadline)
	defer cancel()
	var both errgroup.Group
	for _, name := range []string{"bios1", "uefi1"} {
		both.Go(func() error {
			g, err := lab.Boot(ctx, name)
			if err != nil {
				return err
			}
			if _, err := examples.CheckCommandLine(ctx, g, name, commit); err != nil {
				return err
			}
			line, _ := g.Line(ctx, "GUEST CMDLINE ")
			fmt.Printf("%-17s  its serial port: %s\n", name, line)
			if _, err := g.Line(ctx, "GUEST READY"); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return g.PoweredOff(ctx)
		})
	}
	return both.Wait()
}
