package main

import (
	"net/netip"
	"strings"

	"hostler/servers/httpd"
)

// loadCertificate reads what the TLS listener shows, and warns of what machines would not accept.
func (s *server) loadCertificate() (err error) {
	c := s.config.TLS
	if c.CertFile == "" {
		return nil
	}
	if s.tls, err = httpd.LoadCertificate(c.CertFile, c.KeyFile, s.log); err != nil {
		return err
	}
	leaf := s.tls.Leaf()
	if now := s.started; now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		s.log.Warn("the TLS certificate is not valid now", "from", leaf.NotBefore, "to", leaf.NotAfter)
	}
	if !c.Machines || s.config.Advertise != "" {
		return nil
	}
	for _, address := range localAddresses(s.config.Interfaces) {
		_, text, _ := strings.Cut(address, "=")
		if p, err := netip.ParsePrefix(text); err == nil && leaf.VerifyHostname(p.Addr().String()) != nil {
			s.log.Warn("the TLS certificate does not name the address that machines are sent to", "address", p.Addr(), "names", leaf.DNSNames, "addresses", leaf.IPAddresses)
		}
	}
	return nil
}
