package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

//go:embed kea.json dnsmasq.conf fleet
var configs embed.FS

// peer is a DHCP server that is measured.
type peer struct {
	name   string
	start  func(b *bench, w wire, state string) (*process, error)
	beside bool // measured at the others' rates too
}

func peers() []peer {
	kea := func(name string, threads int, lfc bool) peer {
		return peer{name: name, start: func(b *bench, w wire, state string) (*process, error) { return b.kea(w, state, threads, lfc) }}
	}
	return []peer{
		kea("Kea, 1 thread", 0, false),
		kea("Kea, 2 threads", 2, false),
		kea("Kea, 4 threads", 4, false),
		kea("Kea, 2 threads, lease file cleaned up every 2 s", 2, true),
		{name: "dnsmasq", start: (*bench).dnsmasq},
		{name: "hostler's loop without state", start: (*bench).loop},
		{name: "hostler", start: (*bench).serve, beside: true},
	}
}

// serve is the real program, as `hostler serve`, with everything that it does.
func (b *bench) serve(w wire, state string) (*process, error) {
	fleet, err := b.fleet(state)
	if err != nil {
		return nil, err
	}
	return b.start(w.server, nil, b.hostler, "serve", "-interface=eth0", "-state="+filepath.Join(state, "hostler"), "-poll=1h", fleet)
}

func (b *bench) loop(w wire, state string) (*process, error) {
	fleet, err := b.fleet(state)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return b.start(w.server, nil, self, loopRole, fleet)
}

// fleet writes the spec.
func (b *bench) fleet(state string) (string, error) {
	sub, err := fs.Sub(configs, "fleet")
	if err != nil {
		return "", err
	}
	to := filepath.Join(state, "fleet")
	return to, os.CopyFS(to, sub)
}

func (b *bench) kea(w wire, state string, threads int, lfc bool) (*process, error) {
	cleanup := 0
	if lfc {
		cleanup = 2
	}
	config, err := b.config("kea.json", state, "THREADS", strconv.Itoa(threads), "MULTI", strconv.FormatBool(threads > 0),
		"LFC", strconv.Itoa(cleanup), "STATE", state)
	if err != nil {
		return nil, err
	}
	env := append(b.libraries(), "KEA_PIDFILE_DIR="+state, "KEA_LOCKFILE_DIR="+state, "KEA_LFC_EXECUTABLE="+filepath.Join(b.tools, "usr/sbin/kea-lfc"))
	return b.start(w.server, env, filepath.Join(b.tools, "usr/sbin/kea-dhcp4"), "-c", config)
}

func (b *bench) dnsmasq(w wire, state string) (*process, error) {
	config, err := b.config("dnsmasq.conf", state)
	if err != nil {
		return nil, err
	}
	return b.start(w.server, nil, "dnsmasq", "--conf-file="+config, "--user=root", "--pid-file=", "--dhcp-leasefile="+filepath.Join(state, "dnsmasq.leases"))
}

// config writes one of the files, with words replaced.
func (b *bench) config(name, state string, words ...string) (string, error) {
	text, err := configs.ReadFile(name)
	if err != nil {
		return "", err
	}
	to := filepath.Join(state, name)
	return to, os.WriteFile(to, []byte(strings.NewReplacer(words...).Replace(string(text))), 0o600)
}

// libraries lets programs run that were unpacked and not installed.
func (b *bench) libraries() []string {
	dirs, _ := filepath.Glob(filepath.Join(b.tools, "usr/lib/*-linux-gnu"))
	return []string{fmt.Sprintf("LD_LIBRARY_PATH=%s", strings.Join(dirs, ":"))}
}
