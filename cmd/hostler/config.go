package main

import (
	"net/netip"
	"time"
)

// serverConfig is what `hostler serve` needs to know.
type serverConfig struct {
	Source struct {
		URL, Branch, Path, Sync, SSHKeyFile, KnownHostsFile, Username, TokenFile, CAFile string
		Poll                                                                             time.Duration
		AllowRewind                                                                      bool
	}
	Interfaces       []string
	StateDir, Socket string
	Vars             map[string]string
	Advertise        string
	Listen           struct {
		TFTP, HTTP netip.AddrPort
		PathPrefix string
	}
}

func defaultServerConfig() serverConfig {
	c := serverConfig{StateDir: "/var/lib/hostler", Socket: "/run/hostler/admin.sock"}
	c.Source.Sync = "auto"
	c.Source.Poll = time.Minute
	c.Listen.HTTP = netip.MustParseAddrPort("0.0.0.0:8080")
	return c
}
