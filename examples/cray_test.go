package examples

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"hostler/examples/vm"
	"hostler/reconcile/s3/s3test"
)

// TestCray checks the example as its reader would, without any server: the kernel arguments of each kind of node, in their order.
func TestCray(t *testing.T) {
	run := hostler(t)
	if d := cmp.Diff("The spec is valid: 5 nodes, 1 subnet, 2 images.\n", run("validate", "cray")); d != "" {
		t.Error(d)
	}
	run("fmt", "-check", "cray")
	const common = "console=ttyS0,115200 bad_page=panic crashkernel=%s hugepagelist=2m-2g intel_iommu=off intel_pstate=disable iommu=pt ip=dhcp " +
		"numa_interleave_omit=headless numa_zonelist_order=node oops=panic pageblock_order=14 pcie_ports=native printk.synchronous=y rd.neednet=1 " +
		"rd.retry=10 rd.shell k8s_gw=api-gw-service-nmn.local quiet%s root=craycps-s3:s3://boot-images/29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/rootfs:" +
		"(etag-unknown-here):dvs:api-gw-service-nmn.local:300:eth0 xname=%s nid=%s hostler.boot=<boot>"
	for machine, want := range map[string]string{
		"nid000001":      "initrd=initrd " + fmt.Sprintf(common, "360M", " turbo_boost_limit=999", "x3000c0s17b1n0", "1"),
		"nid000004":      "kernel initrd=initrd " + fmt.Sprintf(common, "360M", " turbo_boost_limit=999", "x3000c0s17b4n0", "4"),
		"x3000c0s19b0n0": "kernel initrd=initrd " + fmt.Sprintf(common, "512M", "", "x3000c0s19b0n0", "49168"),
	} {
		if machine[0] == 'x' {
			machine = "uan01"
		}
		out := run("boot", "cray", machine)
		_, got, _ := strings.Cut(out, "The kernel starts with the command line\n")
		if d := cmp.Diff(want, strings.TrimSpace(got)); d != "" {
			t.Errorf("%s: %s\n%s", machine, d, out)
		}
	}
}

const image = "29c2cc23-a9d6-4e9a-ab1a-b5fa9270c975/"

// cray is the example, with a real S3 server on another host of the network.
type cray struct {
	*Lab
	t      *testing.T
	host   *vm.Network
	s3     *s3test.Server
	server *vm.Process
	config string
}

// newCray fills S3 and starts everything. Nodes that are refused something come back after a few seconds, not half a minute.
func newCray(ctx context.Context, t *testing.T) *cray {
	t.Helper()
	l, err := NewLab(ctx, built(t, "hostler"), "cray", true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	c := &cray{Lab: l, t: t, s3: s3test.Prepare(t, "boot-images"), config: filepath.Join(l.dir, "server.hcl")}
	c.fill()
	if c.host, err = l.Network.Beside(netip.MustParsePrefix("10.77.0.9/24")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.host.Close)
	c.startS3(ctx)
	t.Setenv(s3test.AccessEnv, s3test.Access)
	t.Setenv(s3test.SecretEnv, s3test.Secret)
	config := fmt.Sprintf("s3 \"lab\" {\n  endpoint       = \"http://10.77.0.9:7480\"\n  buckets        = [\"boot-images\"]\n  access_key_env = %q\n  secret_key_env = %q\n}\n",
		s3test.AccessEnv, s3test.SecretEnv)
	if err := os.WriteFile(c.config, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := l.Edit(`delay     = "30s"`, `delay     = "2s"`); err != nil {
		t.Fatal(err)
	}
	if err := l.Edit(`max_delay = "2m"`, `max_delay = "5s"`); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(ctx, "cray: ask again soon"); err != nil {
		t.Fatal(err)
	}
	l.Vars = []string{"s3=http://10.77.0.9:7480"}
	t.Cleanup(func() {
		if t.Failed() {
			requests, _ := os.ReadFile(c.s3.Requests)
			t.Logf("the log of hostler:\n%s\nthe requests to S3:\n%s", l.Log, requests)
		}
	})
	c.serve(ctx)
	return c
}

// fill puts the image and the one to fall back to into S3. The initrd of the second says that it is the second.
func (c *cray) fill() {
	c.t.Helper()
	c.s3.Start()
	defer c.s3.Stop()
	kernel, err := os.ReadFile(filepath.Join(c.Files, "vmlinuz"))
	if err != nil {
		c.t.Fatal(err)
	}
	initrd, err := os.ReadFile(filepath.Join(c.Files, "initrd.gz"))
	if err != nil {
		c.t.Fatal(err)
	}
	var more bytes.Buffer
	z := gzip.NewWriter(&more)
	writeCPIO(z, "image", "rescue")
	writeCPIO(z, "TRAILER!!!", "")
	if err := z.Close(); err != nil {
		c.t.Fatal(err)
	}
	for key, content := range map[string][]byte{
		image + "kernel": kernel, image + "initrd": initrd, image + "rootfs": []byte("the root file system\n"),
		"rescue/kernel": kernel, "rescue/initrd": append(initrd, more.Bytes()...),
	} {
		c.s3.Put("boot-images", key, content)
	}
}

// startS3 starts the S3 server where machines look for it.
func (c *cray) startS3(ctx context.Context) {
	c.t.Helper()
	log := vm.NewConsole()
	cmd := c.s3.Command("10.77.0.9:7480")
	cmd.Stdout, cmd.Stderr = log, log
	var err error
	if c.server, err = c.host.Start(cmd); err != nil {
		c.t.Fatal(err)
	}
	for ctx.Err() == nil {
		p, err := c.host.Start(exec.Command("curl", "-s", "-o", "/dev/null", "http://10.77.0.9:7480/"))
		if err != nil {
			c.t.Fatal(err)
		}
		if p.Wait(ctx) == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatalf("the S3 server does not answer: %s", log)
}

func (c *cray) stopS3() {
	c.server.Kill()
	<-c.server.Done()
}

func (c *cray) serve(ctx context.Context) {
	c.t.Helper()
	if err := c.Serve(ctx, "-config="+c.config); err != nil {
		c.t.Fatal(err)
	}
}

// arrives waits until a machine is up and has said so, and hostler knows.
func (c *cray) arrives(ctx context.Context, g *vm.Guest, name, says string) error {
	line, err := g.Line(ctx, "GUEST IMAGE ")
	if err != nil {
		return err
	}
	if line != "GUEST IMAGE "+says {
		return fmt.Errorf("%s said %q, want %s", name, line, says)
	}
	if _, err := g.Line(ctx, "GUEST READY"); err != nil {
		return err
	}
	if err := g.PoweredOff(ctx); err != nil {
		return err
	}
	out, err := c.Hostler(ctx, "boots", name).CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)\bready\b`).Match(out) {
		return fmt.Errorf("the last boot of %s did not end as ready: %v\n%s", name, err, out)
	}
	if requests, _ := os.ReadFile(c.s3.Requests); strings.Contains(string(out)+c.Log.String(), "X-Amz-") || len(requests) == 0 {
		return fmt.Errorf("a signature is in the log or among the boots, or S3 was not asked:\n%s", out)
	}
	return nil
}

// BIOS and UEFI machines boot from S3, by URLs that are signed when they ask, with the command line of a Cray compute node.
func TestCrayBoots(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*vm.BootDeadline)
	defer cancel()
	c := newCray(ctx, t)
	var both errgroup.Group
	for _, name := range []string{"nid000001", "nid000002"} {
		both.Go(func() error {
			g, err := c.Boot(ctx, name)
			if err != nil {
				return err
			}
			if _, err := CheckCommandLine(ctx, g, name, "first"); err != nil {
				return err
			}
			return c.arrives(ctx, g, name, "first")
		})
	}
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
	requests, err := os.ReadFile(c.s3.Requests)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"kernel", "initrd"} {
		for _, addr := range []string{"10.77.0.21", "10.77.0.22"} {
			if !regexp.MustCompile(`(?m)^.* ` + regexp.QuoteMeta(addr) + ` .* s3_GetObject ` + image + file + ` \S+\?X-Amz-Algorithm=\S+ 200 `).Match(requests) {
				t.Errorf("%s did not fetch the %s from S3", addr, file)
			}
		}
	}
}

// S3 is down when a machine wants its kernel, and then hostler is down when it asks again: it comes back until both are there.
func TestCrayServersStop(t *testing.T) {
	ctx := oneBoot(t)
	c := newCray(ctx, t)
	if err := c.Edit("attempts  = 3", "attempts  = 0"); err != nil {
		t.Fatal(err)
	}
	if err := c.Commit(ctx, "cray: try for ever"); err != nil {
		t.Fatal(err)
	}
	if err := c.Served(ctx); err != nil {
		t.Fatal(err)
	}
	steps := events(ctx, t, c.Lab)
	c.stopS3()
	g, err := c.Boot(ctx, "nid000001")
	if err != nil {
		t.Fatal(err)
	}
	asked := regexp.MustCompile("(?m)^nid000001 .* script ")
	for len(asked.FindAllString(steps.String(), -1)) < 3 { // it asked, and asked again
		select {
		case <-ctx.Done():
			t.Fatal("the machine does not ask again for its script")
		case <-time.After(100 * time.Millisecond):
		}
	}
	c.Server.Kill()
	<-c.Server.Done()
	c.startS3(ctx)
	time.Sleep(7 * time.Second) // longer than the machine waits before it asks again
	c.serve(ctx)
	if _, err := CheckCommandLine(ctx, g, "nid000001", "first"); err != nil {
		t.Fatal(err)
	}
	if err := c.arrives(ctx, g, "nid000001", "first"); err != nil {
		t.Error(err)
	}
}

// A kernel that was removed from S3: after its attempts the machine boots the fallback.
func TestCrayFallback(t *testing.T) {
	ctx := oneBoot(t)
	c := newCray(ctx, t)
	c.s3.Remove("boot-images", image+"kernel")
	g, err := c.Boot(ctx, "nid000003")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.arrives(ctx, g, "nid000003", "rescue"); err != nil {
		t.Error(err)
	}
	requests, _ := os.ReadFile(c.s3.Requests)
	if n := len(regexp.MustCompile(`(?m)^.* 10\.77\.0\.23 .* s3_GetObject \S+/kernel \S+\?X-Amz-Algorithm=\S+ 404 `).FindAll(requests, -1)); n != 3 {
		t.Errorf("the kernel was asked for %d times, want 3", n)
	}
}

// What an operator sees of files in S3: where they are, in which version, how they are delivered; a new version is taken over, and is no
// difference to the commit.
func TestCrayOperator(t *testing.T) {
	ctx := oneBoot(t)
	c := newCray(ctx, t)
	run := func(args ...string) string {
		t.Helper()
		out, err := c.Hostler(ctx, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("hostler %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	s3 := "-var=s3=http://10.77.0.9:7480"
	explained := func(etag string) {
		t.Helper()
		out := run("explain", s3, "nid000001.file.rootfs")
		for _, want := range []string{"rootfs etag " + etag + ", ", "set by store.boot_images: s3://boot-images/" + image + "rootfs at http://10.77.0.9:7480, fetched by the machine itself, by a URL that is signed when it asks and holds for 15m"} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in\n%s", want, out)
			}
		}
		if out := run("plan", s3); !strings.Contains(out, "No changes") {
			t.Errorf("a plan of what is served:\n%s", out)
		}
	}
	explained("7c05cc9bac65526b816c0a23cbb7ee34")
	c.s3.Start() // beside the other, on the same files
	defer c.s3.Stop()
	c.s3.Put("boot-images", image+"rootfs", []byte("another root file system\n"))
	if err := c.Edit(`hold      = "15m"`, `hold      = "20m"`); err != nil { // a commit has S3 looked at, as the poll does
		t.Fatal(err)
	}
	if err := c.Commit(ctx, "cray: wait longer"); err != nil {
		t.Fatal(err)
	}
	if err := c.Served(ctx); err != nil {
		t.Fatal(err)
	}
	explained("2cc55481071e271384759579b53a6c90")
}
