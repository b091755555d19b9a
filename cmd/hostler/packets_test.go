package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// varying is what differs from run to run: times, transactions, ports.
var varying = regexp.MustCompile(`(?m)^ *[0-9]+\.[0-9]{3}  |, from .*$`)

// TestPackets has a real machine boot, and compares what the server kept of it with what was said.
func TestPackets(t *testing.T) {
	l := newLab(t)
	s := l.serve("-var", "files="+l.files(), l.repository())
	l.lease("-x", "0x5d:0000", "-V", "PXEClient:Arch:00000:UNDI:002001")
	if out, err := l.inMachine("curl", "-sS", "-o", filepath.Join(l.dir, "loader"), "tftp://10.77.0.1/undionly.kpxe"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.script(machineMAC)

	t.Run("the table", func(t *testing.T) {
		out, code := s.hostler("boots", "bios1", "-packets")
		if code != exitOK {
			t.Fatal(out)
		}
		want, err := os.ReadFile("testdata/packets.golden")
		if err != nil && !*update {
			t.Fatal(err)
		}
		got := varying.ReplaceAllString(out, "")
		if *update {
			if err := os.WriteFile("testdata/packets.golden", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if diff := cmp.Diff(string(want), got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("the file", func(t *testing.T) {
		file := filepath.Join(l.dir, "boot.pcap")
		if out, code := s.hostler("boots", "-packets", "-pcap", file, "bios1"); code != exitOK || !strings.HasPrefix(out, "Wrote "+file) {
			t.Fatal(out)
		}
		link := strings.Fields(must(t, "ip", "-n", l.server, "-br", "link", "show", "eth0"))[2]
		for filter, c := range map[string]struct {
			fields []string
			want   string
		}{
			"dhcp": {[]string{"eth.src", "ip.src", "ip.dst", "dhcp.option.dhcp", "dhcp.ip.your"}, machineMAC + ` 0.0.0.0 255.255.255.255 1 0.0.0.0
` + link + ` 10.77.0.1 10.77.0.11 2 10.77.0.11
` + machineMAC + ` 0.0.0.0 255.255.255.255 3 0.0.0.0
` + link + ` 10.77.0.1 10.77.0.11 5 10.77.0.11
`},
			"tftp": {[]string{"ip.src", "udp.length", "tftp.opcode", "tftp.block"}, `10.77.0.11 60 1 
10.77.0.1 44 6 
10.77.0.11 12 4 0
10.77.0.1 524 3 1
10.77.0.11 12 4 1
10.77.0.1 524 3 2
10.77.0.11 12 4 2
10.77.0.1 524 3 183
10.77.0.11 12 4 183
10.77.0.1 271 3 184
10.77.0.11 12 4 184
`},
			"http": {[]string{"ip.src", "http.request.method", "http.response.code"}, "10.77.0.11 GET \n10.77.0.1  200\n"},
		} {
			args := []string{"-n", "-r", file, "-Y", filter, "-T", "fields", "-E", "separator= "}
			for _, f := range c.fields {
				args = append(args, "-e", f)
			}
			out, err := exec.Command("tshark", args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(out)); diff != "" {
				t.Errorf("%s: %s", filter, diff)
			}
		}
		out, err := exec.Command("tshark", "-n", "-r", file, "-Y", "_ws.malformed").CombinedOutput()
		if text := string(out); err != nil || strings.Contains(text, "alformed") {
			t.Errorf("tshark cannot read a packet: %v\n%s", err, out)
		}
	})
	t.Run("no secret", func(t *testing.T) {
		boot := regexp.MustCompile(`hostler\.boot=(\S+)`).FindStringSubmatch(l.script(machineMAC))
		if boot == nil {
			t.Fatal("the script has no token")
		}
		l.inMachine("curl", "-sS", "http://10.77.0.1:8080/config/none?boot="+boot[1])
		file := filepath.Join(l.dir, "secret.pcap")
		s.hostler("boots", "-pcap", file, "bios1")
		out, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, token, _ := strings.Cut(boot[1], ".")
		if strings.Contains(string(out), token) || !strings.Contains(string(out), "GET /config/none?boot=<boot> HTTP/1.1") {
			t.Errorf("the token is kept, or the request is not:\n%q", out)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		for want, args := range map[string][]string{
			"boots: -packets and -pcap are about one machine: name it": {"boots", "-packets"},
			`"bois1" is neither a node nor a MAC address`:              {"boots", "-packets", "bois1"},
			"No packet of this machine is kept":                        {"boots", "-packets", "52:54:00:77:00:02"},
		} {
			if out, _ := s.hostler(args...); !strings.Contains(out, want) {
				t.Errorf("%v: got %swant %s", args, out, want)
			}
		}
	})
}
