package main

import (
	"fmt"
	"strings"
	"time"

	"hostler/render"
	"hostler/render/bootsim/checkup"
	"hostler/servers/admin"
)

// examineServer looks at what the server says of itself.
func (d *doctor) examineServer() {
	st := d.status
	tell := func(r checkup.Result, check, text, advice string) {
		d.found(checkup.Finding{Check: check, Result: r, Text: text, Advice: advice})
	}
	results := map[admin.Health]checkup.Result{admin.Healthy: checkup.OK, admin.Degraded: checkup.Warn, admin.Broken: checkup.Fail}
	for _, c := range st.Checks {
		if c.Name != "dhcp" || len(st.DHCP.Interfaces) == 0 { // told interface by interface
			tell(results[c.Health], c.Name, c.Message, healthAdvice[c.Name])
		}
	}
	for _, i := range st.DHCP.Interfaces {
		r, advice := checkup.OK, ""
		switch {
		case !i.Listening && strings.Contains(i.Problem, "in use"):
			r, advice = checkup.Fail, "Stop the other server: `ss -ulpn 'sport = :67'` names it."
		case !i.Listening || len(i.Addresses) == 0:
			r, advice = checkup.Fail, "Mend the interface; it is served as soon as it is there and has an address."
		case strings.Contains(i.Problem, "4011"):
			r, advice = checkup.Fail, "Stop the other program: `ss -ulpn 'sport = :4011'` names it."
		case i.Problem != "":
			r, advice = checkup.Fail, "Look at the cable, the switch port and `ip link`."
		case i.Broadcasting != "":
			r, advice = checkup.Warn, "Give the server the capability net_raw (AmbientCapabilities= in its unit): replies to machines without an address are broadcast meanwhile."
		}
		tell(r, "interface "+i.Name, interfaceText(i), advice)
	}
	for _, p := range st.NotServed {
		tell(checkup.Fail, "subnet "+p.Subnet, "not served here: "+p.Problem, "Give this host one of these addresses, or leave boot_servers out of the subnet.")
	}
	for _, n := range st.DHCP.Notices {
		if since := time.Since(n.Last); since < time.Hour {
			r := checkup.Fail
			if n.Kind == render.UnknownRelay {
				r = checkup.Warn
			}
			tell(r, "notice", fmt.Sprintf("%s %s: %s (%s, last %s ago)", n.Kind, n.Subject, n.Detail, plural(int(n.Count), "time"), ago(since)), noticeAdvice[n.Kind])
		}
	}
	for _, c := range st.Reconcile.Clocks {
		tell(checkup.Warn, "clock of s3 "+c.Name, fmt.Sprintf("that of %s is %s from this host's", c.Endpoint, c.Ahead.Round(time.Second)),
			"URLs are signed by the store's clock, so machines are not hurt; set both by NTP nevertheless.")
	}
	for _, r := range st.DHCP.Relays {
		tell(checkup.OK, "relay "+r.Addr.String(), fmt.Sprintf("last heard %s ago, for subnet %s", ago(time.Since(r.Last)), r.Subnet), "")
	}
}

var healthAdvice = map[string]string{
	"config":      "`hostler status` has the mistake, with file and line.",
	"source":      "The last good revision is served meanwhile; look at the way to the repository and at its credentials.",
	"leases":      "Mend the disk of the state directory: no address is acknowledged before.",
	"state":       "Make room in the state directory.",
	"tftp":        "Another program may have UDP port 69: `ss -ulpn 'sport = :69'`.",
	"http":        "Another program may have the port of `listen`: `ss -tlpn`.",
	"certificate": "Replace the files; the server takes them over by itself.",
}

var noticeAdvice = map[render.NoticeKind]string{
	render.PoolExhausted:   "Widen the pool, or shorten `lease`; `hostler leases` shows who has the addresses.",
	render.UnknownRelay:    "Add it to `relays` of its subnet, or have it use an address of the subnet as its source.",
	render.ForeignServer:   "Switch that server off. If it belongs there: `authoritative = false` in the subnet.",
	render.AddressConflict: "Find the machine that uses the address wrongly (`ip neigh`, the switch), or exclude the address.",
}
