package main

import (
	"io"
	"os"
	"strings"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
	"hostler/servers/bss"
	"hostler/servers/httpd"
)

// bss is what the addresses of a Boot Script Service need of the rest.
func (s *server) bss() httpd.BSS {
	return httpd.BSS{
		Readers: s.config.BSS.Readers, Version: versionText(),
		Token: func() string {
			token, err := readToken(s.config.BSS.TokenFile)
			if err != nil {
				s.log.Warn("reading the token of readers", "file", s.config.BSS.TokenFile, "err", err)
			}
			return token
		},
		Seen: func(mac fact.MAC) bss.Seen {
			script, config, o := s.boots.Asked(mac)
			return bss.Seen{Script: script, Config: config, Ready: o == timeline.Ready, Stuck: o == timeline.Stuck}
		},
	}
}

// readToken reads the file anew each time, so that a token can be changed. Nothing else is in it.
func readToken(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<10))
	return strings.TrimSpace(string(b)), err
}
