package examples

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hostler/examples/vm"
)

// TestContainer builds the image, runs it as the unprivileged user that it names, and boots a machine from it.
func TestContainer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := t.TempDir()
	buildah := func(args ...string) *exec.Cmd {
		return exec.CommandContext(ctx, "buildah", append([]string{"--storage-driver=vfs", "--root=" + dir + "/images", "--runroot=" + dir + "/run"}, args...)...)
	}
	image := filepath.Join(dir, "context")
	run(t, exec.CommandContext(ctx, "container/context.sh", built(t, "hostler"), image))
	run(t, buildah("build", "--isolation=chroot", "--tag=hostler", "--file=container/Containerfile", image))
	t.Cleanup(func() {
		run(t, exec.Command("buildah", "--storage-driver=vfs", "--root="+dir+"/images", "--runroot="+dir+"/run", "rm", "--all"))
	})
	container := strings.TrimSpace(run(t, buildah("from", "localhost/hostler")))

	fleet, state := filepath.Join(dir, "fleet"), filepath.Join(dir, "state")
	must(t, os.CopyFS(fleet, os.DirFS("lab")))
	must(t, os.Mkdir(state, 0o700))
	must(t, os.Chown(state, 65532, 65532))
	guest, err := vm.GuestFiles()
	must(t, err)

	n, err := vm.NewNetwork(netip.MustParsePrefix("10.77.0.1/24"))
	must(t, err)
	t.Cleanup(n.Close)
	cmd := buildah("run", "--isolation=chroot", "--cap-add=CAP_NET_BIND_SERVICE", "--cap-add=CAP_NET_RAW",
		"--volume="+fleet+":/srv/fleet:ro", "--volume="+guest+":/srv/files:ro", "--volume="+state+":/var/lib/hostler:rw", container, "--",
		"/usr/bin/hostler", "serve", "-state=/var/lib/hostler", "-interface=br0", "-var=files=/srv/files", "/srv/fleet")
	log := vm.NewConsole()
	cmd.Stdout, cmd.Stderr = log, log
	_, err = n.Start(cmd)
	must(t, err)
	if _, err := log.Line(ctx, "serving"); err != nil {
		t.Fatalf("%v; the log:\n%s", err, log)
	}

	// The machine has no address yet: an answer to it alone takes the second capability.
	inside(ctx, t, n, "ip", "link", "add", "machine", "type", "veth", "peer", "name", "port")
	inside(ctx, t, n, "ip", "link", "set", "machine", "up")
	inside(ctx, t, n, "ip", "link", "set", "port", "master", "br0", "up")
	said := inside(ctx, t, n, built(t, "hostler"), "boot", "-var=files="+guest, "lab", "bios1", "-wire", "-interface=machine")
	if !strings.Contains(said, "machine=bios1") {
		t.Errorf("booting from the container:\n%s\nits log:\n%s", said, log)
	}
	status := run(t, exec.CommandContext(ctx, built(t, "hostler"), "status", "-socket="+filepath.Join(state, "admin.sock")))
	if strings.Contains(status, "broadcast") {
		t.Errorf("the container lacks a capability:\n%s", status)
	}
}

// run gives what a program printed, and ends the test when it fails.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, errs.String())
	}
	return string(out)
}

// inside runs a program in the namespace of a network.
func inside(ctx context.Context, t *testing.T, n *vm.Network, name string, args ...string) string {
	t.Helper()
	said := vm.NewConsole()
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = said, said
	p, err := n.Start(cmd)
	must(t, err)
	if err := p.Wait(ctx); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, said)
	}
	return said.String()
}
