package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// machinesSpec is laid beside examples/lab: a second subnet on the same interface, machines that nobody declared, and a text of its
// own for each machine.
const machinesSpec = `
group "discovery" {
  image       = image.busybox
  kernel_args = { discover = true }
}

subnet "second" {
  cidr = "10.78.0.0/24"
  option "site-word" {
    code  = 224
    type  = "text"
    value = "hello"
  }
  pool "reserved" {
    range  = "10.78.0.10-10.78.0.99"
    serves = "reserved"
  }
}

node "second1" {
  subnet  = subnet.second
  mac     = "52:54:00:78:00:01"
  address = "10.78.0.11"
  groups  = [group.compute]
}

template "seed" {
  source = "seed.gotmpl"
}
`

// machinesLab serves examples/lab with the additions, and gives the directories of the spec and of the image files.
func machinesLab(t *testing.T) (l *lab, s *running, repo, files string) {
	l = newLab(t)
	must(t, "ip", "-n", l.server, "addr", "add", "10.78.0.1/24", "dev", "eth0")
	repo, files = l.repository(), l.files()
	for name, text := range map[string]string{"more.boot.hcl": machinesSpec, "seed.gotmpl": "I am {{ .self.name }}\n"} {
		if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fleet := filepath.Join(repo, "lab.boot.hcl")
	edit(t, fleet, "serves = \"boot\"\n  }\n", "serves = \"boot\"\n  }\n  pool \"strangers\" {\n    range  = \"10.77.0.200-10.77.0.201\"\n    serves = \"unknown\"\n  }\n  unknown = { x86_64 = group.discovery }\n")
	edit(t, fleet, "image = image.busybox\n", "image = image.busybox\n  config = template.seed\n")
	edit(t, fleet, "hugepages = 64\n", "hugepages = 64\n    seed = self_url(\"seed\")\n")
	l.commit(repo, "strangers, a second subnet, a text for each machine")
	s = l.serve("-var", "files="+files, repo)
	return l, s, repo, files
}

// as gives the machine's network card another address, and boots its operating system.
func (l *lab) as(mac string, udhcpc ...string) string {
	l.t.Helper()
	must(l.t, "ip", "-n", l.machine, "addr", "flush", "dev", "eth0")
	must(l.t, "ip", "-n", l.machine, "link", "set", "eth0", "address", mac)
	return l.lease(udhcpc...)
}

// TestMachines is what a machine room asks of the whole program, each on the wire.
func TestMachines(t *testing.T) {
	l, s, repo, files := machinesLab(t)
	wire := func(machine string, more ...string) (string, error) {
		must(t, "ip", "-n", l.machine, "link", "set", "eth0", "address", "52:54:00:77:00:fe")
		return l.inMachine("hostler", append([]string{"boot", "-var", "files=" + files, repo, machine, "-wire", "-interface=eth0"}, more...)...)
	}

	t.Run("a machine that nobody declared boots the discovery image", func(t *testing.T) {
		out, err := wire("52:54:00:00:00:99")
		if err != nil || !strings.Contains(out, " discover ") || !strings.Contains(out, "10.77.0.200") {
			t.Errorf("%v:\n%s", err, out)
		}
		if out, _ := s.hostler("boots", "52:54:00:00:00:99"); !strings.Contains(out, "52:54:00:00:00:99 (52:54:00:00:00:99), boot ") {
			t.Errorf("its boot is not kept:\n%s", out)
		}
		out, code := s.hostler("inbox", "-subnet=lab")
		if want := regexp.MustCompile(`(?m)^52:54:00:00:00:99  locally administered  x86-bios  lab +- .* (initrd|ready)$`); code != exitOK || !want.MatchString(out) {
			t.Errorf("the inbox:\n%s", out)
		}
		if out, _ := s.hostler("inbox", "5254.0000.0099"); !strings.Contains(out, "Address         10.77.0.200\n") {
			t.Errorf("the inbox:\n%s", out)
		}
	})
	t.Run("a machine that nobody declared waits where there is no image for its processor", func(t *testing.T) {
		out, err := wire("52:54:00:00:00:98", "-firmware=arm64", "-force")
		if err == nil || !strings.Contains(out, "nobody declared it, and subnet lab has no image for arm64") {
			t.Errorf("%v:\n%s", err, out)
		}
		if out, _ := s.hostler("inbox"); !regexp.MustCompile(`52:54:00:00:00:98 .* arm64-uefi .* script`).MatchString(out) {
			t.Errorf("the inbox:\n%s", out)
		}
	})
	t.Run("a machine of the inbox is adopted, and is declared when that is committed", func(t *testing.T) {
		out, code := s.hostler("adopt", "-var", "files="+files, "-write=machines.csv", repo, "52:54:00:00:00:99")
		if code != exitOK || !strings.Contains(out, "to machines.csv") {
			t.Fatalf("%d:\n%s", code, out)
		}
		name := regexp.MustCompile(`Wrote (\S+) to`).FindStringSubmatch(out)[1]
		if out, _ := s.hostler("nodes"); strings.Contains(out, "52:54:00:00:00:99") {
			t.Errorf("it is bound before anybody reviewed it:\n%s", out)
		}
		l.commit(repo, "adopt "+name)
		s.eventually("it to be declared", func() bool { out, _ := s.hostler("nodes"); return strings.Contains(out, name) })
		if out, _ := s.hostler("inbox"); strings.Contains(out, "52:54:00:00:00:99") {
			t.Errorf("it is still in the inbox:\n%s", out)
		}
		if out, err := wire("52:54:00:00:00:99", "-force"); err != nil || strings.Contains(out, " discover ") {
			t.Errorf("it boots as nobody: %v\n%s", err, out)
		}
		must(t, "git", "-C", repo, "revert", "--no-edit", "HEAD")
		s.eventually("it to be nobody again", func() bool { out, _ := s.hostler("nodes"); return !strings.Contains(out, name) })
	})
	t.Run("ROM, iPXE and operating system have one address, whatever client id each sends", func(t *testing.T) {
		out, err := wire("uefi1")
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		rom := regexp.MustCompile(`DHCP ACK +(10\.77\.0\.\d+),`).FindAllStringSubmatch(out, -1)
		if len(rom) != 2 || rom[0][1] != rom[1][1] {
			t.Fatalf("ROM and iPXE: %v\n%s", rom, out)
		}
		for _, id := range []string{"", "0x3d:ff00112233445566778899aabbccddeeff", "0x3d:00616e6f74686572"} {
			var args []string
			if id != "" {
				args = []string{"-C", "-x", id}
			}
			if addr := l.as("52:54:00:77:00:02", args...); addr != rom[0][1] {
				t.Errorf("with client id %q the operating system gets %q, not %s", id, addr, rom[0][1])
			}
		}
		if out, _ := s.hostler("leases"); strings.Count(out, "52:54:00:77:00:02") != 1 {
			t.Errorf("it has more than one lease:\n%s", out)
		}
	})
	t.Run("two subnets on one interface", func(t *testing.T) {
		if addr := l.as("52:54:00:78:00:01"); addr != "10.78.0.11" {
			t.Fatalf("the machine of the second subnet gets %q", addr)
		}
		out, err := l.inMachine("curl", "-sS", "--max-time", "5", "http://10.78.0.1:8080/boot/v1/bootscript?mac=52:54:00:78:00:01")
		if err != nil || !strings.Contains(out, "http://10.78.0.1:8080/files/") {
			t.Errorf("its script does not lead to the server's address in its subnet: %v\n%s", err, out)
		}
		if out, _ := s.hostler("nodes"); !strings.Contains(out, "10.78.0.11") {
			t.Error(out)
		}
	})
	t.Run("an own option", func(t *testing.T) {
		script := filepath.Join(l.dir, "option.sh")
		if err := os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && echo option $opt224\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		out, err := l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "5", "-T", "1", "-O", "224", "-s", script)
		if err != nil || !strings.Contains(out, "option 68656c6c6f\n") { // hello
			t.Errorf("%v:\n%s", err, out)
		}
	})
	t.Run("configuration and report", func(t *testing.T) { l.reports(s) })
	t.Run("a size probe is one", func(t *testing.T) {
		if out, err := wire("bios1", "-force"); err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		out, _ := s.hostler("boots", "bios1")
		if !regexp.MustCompile(`loader +Read Request +undionly\.kpxe +(in \S+ +)?probe\n`).MatchString(out) {
			t.Errorf("no probe in:\n%s", out)
		}
	})
	t.Run("plan names the leases that a smaller pool leaves behind", func(t *testing.T) {
		edit(t, filepath.Join(repo, "lab.boot.hcl"), "10.77.0.100-10.77.0.199", "10.77.0.150-10.77.0.199")
		out, code := s.hostler("plan", "-detailed-exitcode", "-var", "files="+files, repo)
		if code != exitChanges || !strings.Contains(out, "! subnet.lab   lease 10.77.0.100 is in use, and no pool holds it any more") {
			t.Errorf("exit %d:\n%s", code, out)
		}
		must(t, "git", "-C", repo, "checkout", "-q", ".")
	})
	t.Run("an image file that is replaced in its store", func(t *testing.T) {
		l.as(machineMAC)
		kernel := regexp.MustCompile(`http://\S+/vmlinuz`)
		old := kernel.FindString(l.script(machineMAC))
		file := filepath.Join(files, "vmlinuz")
		if err := os.WriteFile(file+".new", []byte(strings.Repeat("w", 100_001)), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		out, code := s.hostler("plan", "-detailed-exitcode", "-var", "files="+files, repo)
		if code != exitChanges || !regexp.MustCompile(`~ 3 nodes   file\.kernel   vmlinuz sha256:\w+, 100000 b\S* -> vmlinuz sha256:\w+, 100001 b`).MatchString(out) {
			t.Errorf("plan, exit %d:\n%s", code, out)
		}
		if out, _ := l.inMachine("curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", old); out != "500" {
			t.Errorf("the old file's digest is answered with %s", out)
		}
		s.eventually("the new file to be served", func() bool {
			url := kernel.FindString(l.script(machineMAC))
			head, _ := l.inMachine("curl", "-sI", "--max-time", "5", url)
			return url != old && strings.Contains(head, "Content-Length: 100001")
		})
	})
}

// TestBootServers holds that a server whose address is not among a subnet's boot servers is silent there, and says so.
func TestBootServers(t *testing.T) {
	l := newLab(t)
	repo, files := l.repository(), l.files()
	fleet := filepath.Join(repo, "lab.boot.hcl")
	const gateway = "  gateway = \"10.77.0.254\"\n"
	edit(t, fleet, gateway, gateway+"  boot_servers = [\"10.77.0.9\"]\n")
	l.commit(repo, "another server's")
	s := l.serve("-var", "files="+files, repo)
	if out, _ := s.hostler("status"); !strings.Contains(out, "Subnet      lab: not served here: none of its boot_servers (10.77.0.9) is an address of this host\n") {
		t.Errorf("status does not say so:\n%s", out)
	}
	if out, err := l.inMachine("busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-t", "2", "-T", "1", "-s", "/bin/true"); err == nil {
		t.Errorf("the machine is answered:\n%s", out)
	}
	edit(t, fleet, "[\"10.77.0.9\"]", "[\"10.77.0.9\", \"10.77.0.1\"]")
	l.commit(repo, "both")
	s.eventually("the subnet to be served", func() bool {
		out, _ := s.hostler("status")
		return !strings.Contains(out, "not served here")
	})
	if addr := l.lease(); addr != "10.77.0.11" {
		t.Errorf("the machine gets %q", addr)
	}
}

// reports is what a running system says and asks, with the token on its kernel command line.
func (l *lab) reports(s *running) {
	t := l.t
	l.as(machineMAC)
	script := l.script(machineMAC)
	token := regexp.MustCompile(`hostler\.boot=(\S+)`).FindStringSubmatch(script)
	seed := regexp.MustCompile(`seed=(\S+)`).FindStringSubmatch(script)
	if token == nil || seed == nil {
		t.Fatalf("no token or no seed in:\n%s", script)
	}
	get := func(args ...string) string {
		out, _ := l.inMachine("curl", append([]string{"-s", "--max-time", "5", "-w", " %{http_code}"}, args...)...)
		return out
	}
	if got := get(seed[1]); got != "I am bios1\n 200" {
		t.Errorf("%s: %q", seed[1], got)
	}
	bare, _, _ := strings.Cut(seed[1], "?")
	if got := get(bare); !strings.HasSuffix(got, " 403") {
		t.Errorf("without the token: %q", got)
	}
	if got := get("-d", "boot="+token[1], "http://10.77.0.1:8080/phone-home"); got != "ok\n 200" {
		t.Errorf("phone-home: %q", got)
	}
	if got := get(seed[1]); !strings.HasSuffix(got, " 403") {
		t.Errorf("the token is still good after the boot was reported ready: %q", got)
	}
	if out, _ := s.hostler("boots", "bios1"); !strings.Contains(out, "reached stage ready") || strings.Contains(out, strings.Split(token[1], ".")[1]) {
		t.Errorf("the boot is not ready, or shows the token:\n%s", out)
	}
	if out, _ := s.hostler("nodes"); !strings.Contains(out, "ready at ready") {
		t.Errorf("nodes does not know:\n%s", out)
	}
}
