package main

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hostler/reconcile"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
)

// Checks implements admin.Watched.
func (s *server) Checks() []admin.Check {
	list := checks(s.recon.Status(), s.dhcp.State(), s.room(), s.listens)
	if s.tls != nil {
		list = append(list, checkCertificate(s.tls.Leaf().NotAfter, time.Now()))
	}
	return list
}

// checks judges. Only what keeps every machine from booting is a failure: with the last good revision in force, a source
// that is down is a warning, and so is an interface of several.
func checks(r reconcile.Status, d dhcp.State, state admin.Check, listens []string) []admin.Check {
	list := append(checkRevision(&r), checkDHCP(&d), checkLeases(&d), state)
	for _, name := range []string{"tftp", "http"} {
		c := admin.Check{Name: name, Health: admin.Broken, Message: "not listening"}
		for _, l := range listens {
			if addr, ok := strings.CutPrefix(l, name+" "); ok {
				c = admin.Check{Name: name, Health: admin.Healthy, Message: "listening on " + addr}
			}
		}
		list = append(list, c)
	}
	return list
}

func checkRevision(r *reconcile.Status) []admin.Check {
	config := admin.Check{Name: "config", Health: admin.Healthy, Message: "serving " + r.LastApplied.Short()}
	source := admin.Check{Name: "source", Health: admin.Healthy, Message: "it answers"}
	c, _ := r.Condition(reconcile.Ready)
	switch {
	case r.LastApplied == "" && c.Reason != reconcile.FetchFailed:
		config.Health, config.Message = admin.Broken, c.Message
	case r.LastApplied == "":
		config.Health, config.Message = admin.Broken, "no revision was ever served"
	case !c.Status && c.Reason != reconcile.FetchFailed && r.Pending == "":
		config.Health, config.Message = admin.Degraded, "still serving "+r.LastApplied.Short()+": "+c.Message
	}
	if c.Reason == reconcile.FetchFailed {
		source.Health, source.Message = admin.Degraded, c.Message
	}
	return []admin.Check{config, source}
}

func checkDHCP(d *dhcp.State) admin.Check {
	c := admin.Check{Name: "dhcp", Health: admin.Healthy}
	served := 0
	var good, bad []string
	for _, i := range d.Interfaces {
		if i.Listening {
			served++
		}
		if i.Listening && i.Problem == "" && i.Broadcasting == "" {
			good = append(good, i.Name)
		} else {
			bad = append(bad, interfaceText(i))
		}
	}
	switch {
	case served == 0:
		c.Health, c.Message = admin.Broken, strings.Join(bad, "; ")
	case len(bad) > 0:
		c.Health, c.Message = admin.Degraded, strings.Join(bad, "; ")
	default:
		c.Message = "serving " + strings.Join(good, ", ")
	}
	return c
}

// checkCertificate warns before the day: loaders that refuse a certificate say next to nothing.
func checkCertificate(expires, now time.Time) admin.Check {
	c := admin.Check{Name: "certificate", Health: admin.Healthy, Message: "expires on " + expires.UTC().Format("2 Jan 2006")}
	switch {
	case now.After(expires):
		c.Health, c.Message = admin.Degraded, "expired on "+expires.UTC().Format("2 Jan 2006")+": loaders refuse it"
	case expires.Sub(now) < 14*24*time.Hour:
		c.Health = admin.Degraded
	}
	return c
}

func checkLeases(d *dhcp.State) admin.Check {
	if d.LeaseError != "" {
		return admin.Check{Name: "leases", Health: admin.Broken, Message: "cannot be written, so no address is acknowledged: " + d.LeaseError}
	}
	return admin.Check{Name: "leases", Health: admin.Healthy, Message: "written"}
}

// littleRoom is when a disk counts as nearly full: a checkpoint and a revision still fit.
const littleRoom = 64 << 20

// room looks at the disk that state is written to, without writing.
func (s *server) room() admin.Check {
	c := admin.Check{Name: "state", Health: admin.Healthy}
	var fs unix.Statfs_t
	if err := unix.Statfs(s.config.StateDir, &fs); err != nil {
		c.Health, c.Message = admin.Broken, fmt.Sprintf("%s: %v", s.config.StateDir, err)
		return c
	}
	free := int64(fs.Bavail) * fs.Bsize
	c.Message = size(free) + " free in " + s.config.StateDir
	switch {
	case fs.Flags&unix.ST_RDONLY != 0:
		c.Health, c.Message = admin.Broken, s.config.StateDir+" is read-only: no new address and no new revision can be written"
	case free < littleRoom:
		c.Health, c.Message = admin.Degraded, "only "+c.Message
	}
	return c
}

// healthText is the health of a server in one line: its worst checks, or that all is well.
func healthText(list []admin.Check) string {
	var bad []string
	for _, want := range []admin.Health{admin.Broken, admin.Degraded} {
		for _, c := range list {
			if c.Health == want {
				bad = append(bad, fmt.Sprintf("%s %s: %s", c.Name, c.Health, c.Message))
			}
		}
	}
	if len(bad) == 0 {
		return "ok"
	}
	return strings.Join(bad, "; ")
}
