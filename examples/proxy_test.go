package examples

import (
	"context"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"hostler/examples/vm"
)

// siteDHCP starts dnsmasq beside hostler, as a site's own DHCP server: it gives addresses, and knows nothing of booting.
func siteDHCP(ctx context.Context, t *testing.T, n *vm.Network) *vm.Console {
	t.Helper()
	host, err := n.Beside(netip.MustParsePrefix("10.77.0.254/24"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(host.Close)
	log := vm.NewConsole()
	cmd := exec.Command("dnsmasq", "--no-daemon", "--user=root", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--bind-interfaces",
		"--dhcp-range=10.77.0.150,10.77.0.160,1h", "--dhcp-leasefile="+filepath.Join(t.TempDir(), "leases"), "--pid-file=", "--log-dhcp")
	cmd.Stdout, cmd.Stderr = log, log
	if _, err := host.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of dnsmasq:\n%s", log)
		}
	})
	if _, err := log.Line(ctx, "sockets bound exclusively"); err != nil {
		t.Fatalf("starting dnsmasq: %v: %s", err, log)
	}
	return log
}

// Beside a site's own DHCP server, BIOS and UEFI machines get their addresses from it, and from hostler all that they boot, by both
// ways of asking a proxy: from its offer, and on port 4011.
func TestProxyDHCP(t *testing.T) {
	ctx, l := running(t)
	if err := l.Edit("cidr    = \"10.77.0.0/24\"", "cidr    = \"10.77.0.0/24\"\n  dhcp    = \"proxy\""); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(ctx, "lab: the site's own DHCP server gives the addresses"); err != nil {
		t.Fatal(err)
	}
	if err := l.Served(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Log.Line(ctx, "serving boot requests.* port=4011"); err != nil {
		t.Fatal(err)
	}
	site := siteDHCP(ctx, t, l.Network)
	steps := events(ctx, t, l)
	var both errgroup.Group
	for _, name := range []string{"bios1", "uefi1"} {
		both.Go(func() error {
			g, err := l.Boot(ctx, name)
			if err != nil {
				return err
			}
			if _, err := CheckCommandLine(ctx, g, name, "first"); err != nil { // with a token: its address is known to be its own
				return err
			}
			if _, err := g.Line(ctx, `GUEST ADDRESS 10\.77\.0\.1[56]\d`); err != nil {
				return err
			}
			return g.PoweredOff(ctx)
		})
	}
	if err := both.Wait(); err != nil {
		t.Error(err)
	}
	if got := leases(ctx, t, l); len(got) != 0 {
		t.Errorf("hostler gave leases: %+v", got)
	}
	if strings.Contains(site.String(), "DHCPNAK") {
		t.Error("a machine was refused its address")
	}
	if refusal := regexp.MustCompile(`DHCP .*(NAK|refused).*`).FindString(steps.String()); refusal != "" {
		t.Errorf("hostler refuses what it has no part in: %s", refusal)
	}
}
