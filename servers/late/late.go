// Package late fills in the values that are only known when a machine asks. It is the one place that does so; it
// knows nothing of sockets, and decides nothing.
package late

import (
	"net/netip"
	"strconv"

	"hostler/render/fact"
)

// Values are what late values of a text become.
type Values struct {
	Server  netip.Addr  // the boot server's address towards the machine
	Base    string      // http://ADDRESS:PORT/PREFIX without a final slash
	Boot    fact.BootID // the running boot
	Token   fact.Token  // its token
	Retries int         // how often the boot asked for its script before
}

// Fill gives the text with every late value filled in. A value of a kind that it does not know is left visible as <kind:argument>:
// a newer spec served by an older server must not boot with a hole.
func Fill(t fact.Text, v Values) string {
	return t.Fill(func(kind fact.Late, arg string) string {
		switch kind {
		case fact.LateServer:
			return v.Server.String()
		case fact.LateBase:
			return v.Base
		case fact.LateBoot:
			return string(v.Boot) + "." + string(v.Token)
		case fact.LateRetries:
			return strconv.Itoa(v.Retries)
		default:
			return fact.NewLate(kind, arg).String()
		}
	})
}
