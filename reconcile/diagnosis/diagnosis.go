// Package diagnosis says why a boot gets no further: a table of rules over what the boot of a machine shows and what the server knows
// around it. It asks nobody, changes nothing, and has no clock.
package diagnosis

import (
	"net/netip"
	"strings"
	"time"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
)

// Case is all that a rule may look at.
type Case struct {
	Boot  *timeline.Boot // newest boot of the machine; nil: nothing was ever heard of it
	Other *timeline.Boot // newest boot by another network card of the same node; nil: none
	Node  Node
	Wire  Wire
	Host  Host
}

// Node is what the spec and the state say of the machine.
type Node struct {
	Name      fact.NodeName // empty: nobody declared it
	MAC       fact.MAC      // of the card that it boots by
	Held      string        // why it is held back; empty: it is not
	Looped    bool          // it is held because it booted in a loop
	Image     string
	Files     []File     // that the image boots
	Proven    bool       // a machine with this image has been ready
	Addr      netip.Addr // that it has, or had last
	Expired   time.Time  // when the lease of Addr ended; zero: it runs, or there is none
	Silent    bool       // Addr was asked, and did not answer
	StoreDown string     // why a store that delivers a file of the image itself does not answer; empty: it does
	Missing   string     // a file of the image that its store does not have; empty: none
}

// File is one file that the image boots.
type File struct {
	Stage   fact.Stage
	Name    string
	Size    int64
	Foreign bool // another server sends it, which nothing is heard of here
}

// Wire is the network that the machine boots on.
type Wire struct {
	Subnet    string
	Interface string // of this host, in the subnet; empty: it is reached through relay agents
	Problem   string // why the interface is not served; empty: it is
	Unserved  string // why the subnet is not served by this host; empty: it is
	Broadcast string // why replies to machines without an address are broadcast; empty: they are not
	Relays    []netip.Addr
	Relayed   time.Time // when a request from the subnet last came by a relay agent; zero: never
	Source    string    // why replies may leave with an address that the machine's side does not expect; empty: they do not
	Foreign   Notice    // another DHCP server that was heard there
	Conflict  Notice    // an address of the subnet that two machines use
}

// Notice is what was noticed on the network; it says nothing when Last is zero.
type Notice struct {
	Subject string
	Detail  string
	MAC     fact.MAC // of the machine in whose conversation it showed
	Last    time.Time
}

// Host is the server itself.
type Host struct {
	Revision   fact.Revision // that is served; empty: none
	Problem    string        // why there is none
	LeaseError string        // why leases cannot be written; empty: they can
}

// Rule is one symptom with what it means. The fields for people are fixed texts: NODE in them stands for the machine.
type Rule struct {
	Name      string // stable: monitoring knows it
	Symptoms  []int  // in the catalogue of docs/diagnosis.md
	Sees      string // what somebody sees who stands at the machine
	Cause     string
	Advice    string
	Quiet     bool // fires only when the machine is stuck: what it looks at is how every boot begins
	Meant     bool // somebody wants the machine to wait
	Broken    bool // concerns the server or a whole network, not the one machine
	Ready     bool // about a machine that was ready
	condition condition
}

// condition says whether a rule holds, and what shows it in this case.
type condition func(*Case) (evidence string, holds bool)

// Diagnosis is what a rule says of a case.
type Diagnosis struct {
	Rule     string     `json:"rule"`
	Symptoms []int      `json:"symptoms,omitempty"`
	Stage    fact.Stage `json:"stage"` // the furthest
	Since    time.Time  `json:"since,omitzero"`
	Cause    string     `json:"cause"`
	Evidence string     `json:"evidence,omitempty"`
	Advice   string     `json:"advice"`
	Meant    bool       `json:"meant,omitempty"`  // somebody wants the machine to wait
	Broken   bool       `json:"broken,omitempty"` // concerns the server or a whole network, not the one machine
}

// Diagnose gives what the first rule says that holds. There is nothing to say of a machine that is ready, or on its way.
func Diagnose(c *Case) (Diagnosis, bool) {
	for i := range rules {
		if r := &rules[i]; r.applies(c) {
			if evidence, holds := r.condition(c); holds {
				return r.say(c, evidence), true
			}
		}
	}
	return Diagnosis{}, false
}

// Rules is the table, in the order in which it is asked.
func Rules() []Rule { return rules }

func (r *Rule) applies(c *Case) bool {
	if c.Boot == nil {
		return true
	}
	switch c.Boot.Outcome {
	case timeline.Played, timeline.Local, timeline.Ended:
		return false
	case timeline.Stuck:
		return !r.Ready
	case timeline.Ready:
		return r.Ready
	}
	return !r.Quiet && !r.Ready
}

func (r *Rule) say(c *Case, evidence string) Diagnosis {
	name := string(c.Node.Name)
	d := Diagnosis{Rule: r.Name, Symptoms: r.Symptoms, Evidence: evidence, Meant: r.Meant, Broken: r.Broken}
	if c.Boot != nil {
		d.Stage, d.Since = c.Boot.Stage, c.Boot.Since
		if name == "" {
			name = c.Boot.MAC.String()
		}
	}
	fill := strings.NewReplacer("NODE", name, "SUBNET", c.Wire.Subnet)
	d.Cause, d.Advice = fill.Replace(r.Cause), fill.Replace(r.Advice)
	return d
}
