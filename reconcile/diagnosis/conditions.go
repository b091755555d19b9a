package diagnosis

import (
	"fmt"
	"strings"
	"time"

	"hostler/reconcile/timeline"
	"hostler/render/fact"
)

// The conditions of the rules. Texts that they look for are the servers' own reasons; tests produce each for real.

// stage is the furthest stage of the boot; none when there is no boot.
func (c *Case) stage() fact.Stage {
	if c.Boot == nil {
		return fact.StageNone
	}
	return c.Boot.Stage
}

// leasing reports whether the machine has no lease yet in this boot.
func (c *Case) leasing() bool { return c.Boot != nil && c.Boot.Stage < fact.StageAck }

// remarked looks for a text in what was last wrong at some stages.
func (c *Case) remarked(text string, stages ...fact.Stage) (string, bool) {
	if c.Boot == nil {
		return "", false
	}
	for _, s := range stages {
		if e, last := c.Boot.Remark(s); last && strings.Contains(e.Detail, text) {
			return told(&e), true
		}
	}
	return "", false
}

// told is a step in one line.
func told(e *fact.Event) string {
	parts := []string{e.What}
	if e.File != "" {
		parts = append(parts, e.File)
	}
	if e.Status >= 400 {
		parts = append(parts, fmt.Sprint(e.Status))
	}
	return strings.TrimSpace(strings.Join(parts, " ") + ": " + e.Detail)
}

// asking are the stages at which DHCP requests are refused.
var asking = []fact.Stage{fact.StageDiscover, fact.StageRequest}

func nothingServed(c *Case) (string, bool) {
	if _, holds := c.remarked("no revision is in force", fact.StageDiscover, fact.StageRequest, fact.StageLoader, fact.StageScript); holds {
		return c.Host.Problem, true
	}
	return c.Host.Problem, c.Boot == nil && c.Host.Revision == ""
}

func leasesNotWritten(c *Case) (string, bool) {
	return c.Host.LeaseError, c.Host.LeaseError != "" && c.leasing()
}

func subnetNotServed(c *Case) (string, bool) {
	if c.Boot == nil {
		return c.Wire.Unserved, c.Wire.Unserved != ""
	}
	if e, holds := c.remarked("none of its boot_servers is this host", asking...); holds {
		return e, true
	}
	return c.remarked("dhcp is off", asking...)
}

func unknownRelay(c *Case) (string, bool) {
	return c.remarked("no subnet: nothing is declared for relay", asking...)
}

func wrongWire(c *Case) (string, bool) {
	for _, text := range []string{"no subnet: nothing is declared for interface", ", asking on "} {
		if e, holds := c.remarked(text, asking...); holds {
			return e, true
		}
	}
	return "", false
}

// otherCard: the machine asks by a card that is declared and not for booting; or its loader asks by such a one, or by one that nobody
// declared, after it was loaded by the right one.
func otherCard(c *Case) (string, bool) {
	switch {
	case c.Boot == nil:
		return "", false
	case c.Node.Name != "" && c.Node.MAC != c.Boot.MAC && c.Boot.Client != fact.ClientOS && c.Boot.Client != fact.ClientUnknown:
		return fmt.Sprintf("asks by %s, boots by %s", c.Boot.MAC, c.Node.MAC), true
	case c.Other != nil && c.Boot.Stage <= fact.StageLoader && c.Other.Client != fact.ClientOS && c.Other.Last.After(c.Boot.Last):
		return fmt.Sprintf("asks by %s since %s, boots by %s", c.Other.MAC, c.Other.Start.UTC().Format(time.TimeOnly), c.Boot.MAC), true
	}
	return "", false
}

func notDeclared(c *Case) (string, bool) {
	if e, holds := c.remarked("unknown machine: ", asking...); holds {
		return e, true
	}
	return c.remarked("nobody declared it", fact.StageScript)
}

func addressInUse(c *Case) (string, bool) {
	if !c.leasing() && (c.Boot == nil || c.Boot.Stage > fact.StageAck) {
		return "", false
	}
	if e, holds := c.remarked("in use by another machine", asking...); holds {
		return e, true
	}
	if e, last := c.Boot.Remark(fact.StageNone); last && (strings.Contains(e.What, "Decline") || strings.Contains(e.What, "Conflict")) {
		return told(&e), true
	}
	n := &c.Wire.Conflict
	return n.Detail, n.MAC == c.Boot.MAC && !n.Last.Before(c.Boot.Start)
}

func poolFull(c *Case) (string, bool) { return c.remarked(": exhausted", asking...) }

func anotherServer(c *Case) (string, bool) {
	if e, holds := c.remarked("request: selects server", asking...); holds {
		return e, true
	}
	n := &c.Wire.Foreign
	return n.Detail, c.Boot != nil && c.Boot.Stage <= fact.StageLoader && n.MAC == c.Boot.MAC && !n.Last.Before(c.Boot.Start)
}

// offered reports whether the machine was made an offer, and did not take it.
func offered(c *Case) (string, bool) {
	if c.Boot == nil || c.Boot.Stage > fact.StageAck {
		return "", false
	}
	offers, requests := c.Boot.Step(fact.StageOffer), c.Boot.Step(fact.StageRequest)
	if e, last := c.Boot.Remark(fact.StageOffer); last && e.Result == fact.Failed {
		return told(&e), true
	}
	if offers.Count == 0 || requests.Count > 0 && !requests.Last.Before(offers.Last) {
		return "", false
	}
	text := fmt.Sprintf("DISCOVER x%d, OFFER x%d, REQUEST x%d", c.Boot.Step(fact.StageDiscover).Count, offers.Count, requests.Count)
	if c.Wire.Broadcast != "" && c.Wire.Interface != "" {
		text += "; the offers were broadcast: " + c.Wire.Broadcast
	}
	return text, true
}

func replySource(c *Case) (string, bool) {
	_, holds := offered(c)
	return c.Wire.Source, holds && c.Wire.Source != ""
}

func relayedOfferLost(c *Case) (string, bool) {
	e, holds := offered(c)
	return e, holds && c.Wire.Interface == "" && c.Wire.Subnet != ""
}

func offerLost(c *Case) (string, bool) { return offered(c) }

// ipxeNoLease: iPXE asked after the loader was sent, and its exchange did not come to an ACK.
func ipxeNoLease(c *Case) (string, bool) {
	if c.stage() != fact.StageLoader || c.Boot.Client != fact.ClientIPXE {
		return "", false
	}
	asked, acked := c.Boot.Step(fact.StageDiscover), c.Boot.Step(fact.StageAck)
	return fmt.Sprintf("its loader asked last at %s", asked.Last.UTC().Format(time.TimeOnly)), acked.Last.Before(asked.Last)
}

func loaderNotAsked(c *Case) (string, bool) {
	if c.stage() != fact.StageAck || c.Boot.Step(fact.StageLoader).Count > 0 || c.Boot.Client == fact.ClientOS {
		return "", false
	}
	return fmt.Sprintf("its lease was acknowledged at %s", c.Boot.Step(fact.StageAck).Last.UTC().Format(time.TimeOnly)), true
}

func noSuchFile(c *Case) (string, bool) {
	if e, holds := c.remarked("no such file in a revision", fact.StageKernel, fact.StageInitrd); holds {
		return e, c.Boot.Step(fact.StageScript).Count == 0 // after a script, see file-missing
	}
	e, holds := c.remarked("no such file", fact.StageLoader)
	if !holds || c.stage() > fact.StageScript {
		return "", false
	}
	// pxelinux and GRUB ask for several names of their configuration, of which one is there.
	at, _ := c.Boot.Remark(fact.StageLoader)
	return e, !at.Time.Before(c.Boot.Step(fact.StageScript).Last)
}

func tftpNoWayBack(c *Case) (string, bool) {
	return c.remarked("did not acknowledge the first packet", fact.StageLoader, fact.StageScript, fact.StageKernel, fact.StageInitrd)
}

func sizeProbeOnly(c *Case) (string, bool) {
	if c.stage() != fact.StageLoader {
		return "", false
	}
	l := c.Boot.Step(fact.StageLoader)
	return fmt.Sprintf("%d size probes, no transfer", c.Boot.Probes), l.Count > 0 && l.Count == c.Boot.Probes
}

// manyResent is more than a few lost packets: each of them costs a second or more.
const manyResent = 20

func transferBreaks(c *Case) (string, bool) {
	if c.Boot == nil || c.Boot.Stage > fact.StageInitrd {
		return "", false
	}
	for _, s := range []fact.Stage{fact.StageLoader, fact.StageScript, fact.StageKernel, fact.StageInitrd} {
		if e, last := c.Boot.Remark(s); last && e.Result == fact.Failed && e.What == "Read Request" {
			return fmt.Sprintf("%s; %d packets were sent again", told(&e), c.Boot.Resent), true
		}
	}
	return fmt.Sprintf("%d packets were sent again", c.Boot.Resent), c.Boot.Resent >= manyResent && c.Boot.Stage == fact.StageLoader
}

func loaderSilent(c *Case) (string, bool) {
	if c.stage() != fact.StageLoader {
		return "", false
	}
	l := c.Boot.Step(fact.StageLoader)
	return fmt.Sprintf("%d bytes sent until %s", l.Bytes, l.Last.UTC().Format(time.TimeOnly)), l.Count > l.Bad+c.Boot.Probes
}

func loopBroken(c *Case) (string, bool) {
	return c.Node.Held, c.Node.Looped && c.stage() <= fact.StageScript
}

func held(c *Case) (string, bool) {
	if c.Boot == nil {
		return c.Node.Held, c.Node.Held != ""
	}
	for _, text := range []string{"held: ", "disabled in the spec"} {
		if e, holds := c.remarked(text, fact.StageScript); holds && c.Boot.Stage <= fact.StageScript {
			return e, true
		}
	}
	return c.Node.Held, c.Node.Held != "" && c.Boot.Stage >= fact.StageScript && c.Boot.Stage < fact.StageKernel
}

// noScript looks at the script's reason; that the machine's address is not known is no such reason.
func noScript(c *Case) (string, bool) {
	if c.Boot == nil || c.Boot.Stage > fact.StageScript && !c.Boot.Circles() {
		return "", false
	}
	e, last := c.Boot.Remark(fact.StageScript)
	if !last || strings.HasPrefix(e.Detail, "without a token") || e.Result == fact.Failed {
		return "", false
	}
	return told(&e), !strings.HasPrefix(e.Detail, "boot = disk")
}

// fetching reports whether the machine has its script and not its system.
func (c *Case) fetching() bool {
	return c.Boot != nil && c.Boot.Stage >= fact.StageScript && c.Boot.Stage <= fact.StageInitrd
}

// brokenFile is the file of the image whose last request went wrong.
func (c *Case) brokenFile() (fact.Event, bool) {
	for _, s := range []fact.Stage{fact.StageKernel, fact.StageInitrd} {
		if e, last := c.Boot.Remark(s); last {
			return e, true
		}
	}
	// A file that is in no revision has no stage but the first.
	e, last := c.Boot.Remark(fact.StageNone)
	return e, last && strings.HasPrefix(e.File, "/files/") && !e.Time.Before(c.Boot.Step(fact.StageScript).Last)
}

func storeDown(c *Case) (string, bool) {
	if !c.fetching() || c.Node.StoreDown == "" {
		return "", false
	}
	_, broken := c.brokenFile()
	return c.Node.StoreDown, broken || c.Boot.Outcome == timeline.Stuck && c.Boot.Stage == fact.StageScript
}

func fileMissing(c *Case) (string, bool) {
	if !c.fetching() {
		return "", false
	}
	e, broken := c.brokenFile()
	if !broken && c.Node.Missing != "" {
		return c.Node.Missing, c.Boot.Outcome == timeline.Stuck && c.Boot.Stage == fact.StageScript
	}
	return told(&e), broken && (e.Status >= 400 || e.Result == fact.Refused)
}

func fileCut(c *Case) (string, bool) {
	if !c.fetching() {
		return "", false
	}
	if e, broken := c.brokenFile(); broken && e.Result == fact.Failed {
		return told(&e), true
	}
	if c.Boot.Outcome != timeline.Stuck || c.Boot.Stage != fact.StageInitrd {
		return "", false
	}
	for _, f := range c.Node.Files {
		if s := c.Boot.Step(f.Stage); !f.Foreign && s.Count > 0 && s.Bytes < f.Size {
			return fmt.Sprintf("%s: %d of %d bytes were sent", f.Name, s.Bytes, f.Size), true
		}
	}
	return "", false
}

func asksAgain(c *Case) (string, bool) {
	return fmt.Sprintf("it asked for its script %d times", c.retries()+1), c.fetching() && c.Boot.Circles()
}

func (c *Case) retries() int {
	if c.Boot == nil {
		return 0
	}
	return c.Boot.Retries
}

func kernelNotAsked(c *Case) (string, bool) {
	if c.stage() != fact.StageScript {
		return "", false
	}
	for _, f := range c.Node.Files {
		if f.Foreign {
			return f.Name + " is delivered by another server", true
		}
	}
	return fmt.Sprintf("the script was sent at %s", c.Boot.Step(fact.StageScript).Last.UTC().Format(time.TimeOnly)), true
}

func initrdNotAsked(c *Case) (string, bool) {
	for _, f := range c.Node.Files {
		if f.Stage == fact.StageInitrd && !f.Foreign {
			return f.Name, c.stage() == fact.StageKernel
		}
	}
	return "", false
}

// started reports whether the machine has all that a system starts from.
func (c *Case) started() bool {
	return c.Boot != nil && c.Boot.Stage >= fact.StageKernel && c.Boot.Stage < fact.StageReady
}

func systemDoesNotReport(c *Case) (string, bool) {
	if !c.started() {
		return "", false
	}
	if c.Boot.Stage == fact.StageConfig {
		return fmt.Sprintf("it fetched its configuration at %s", c.Boot.Step(fact.StageConfig).Last.UTC().Format(time.TimeOnly)), true
	}
	return fmt.Sprintf("its system had a lease at %s", c.Boot.Step(fact.StageAck).Last.UTC().Format(time.TimeOnly)), c.Boot.Client == fact.ClientOS
}

func neverReports(c *Case) (string, bool) {
	return "image " + c.Node.Image, c.started() && !c.Node.Proven
}

func systemDoesNotStart(c *Case) (string, bool) {
	if !c.started() {
		return "", false
	}
	return fmt.Sprintf("%s was sent whole at %s", c.Boot.Stage, c.Boot.Step(c.Boot.Stage).Last.UTC().Format(time.TimeOnly)), true
}

func unreachable(c *Case) (string, bool) {
	switch {
	case c.Boot == nil || c.Boot.Outcome != timeline.Ready || !c.Node.Addr.IsValid():
		return "", false
	case c.Node.Silent:
		return fmt.Sprintf("%s does not answer", c.Node.Addr), true
	}
	return fmt.Sprintf("its lease of %s ended at %s", c.Node.Addr, c.Node.Expired.UTC().Format("2 Jan 15:04:05")), c.Node.Expired.After(c.Boot.Since)
}

func interfaceNotServed(c *Case) (string, bool) {
	return c.Wire.Problem, c.Wire.Problem != "" && c.stage() < fact.StageAck
}

func relaySilent(c *Case) (string, bool) {
	if c.Boot != nil || c.Wire.Subnet == "" || c.Wire.Interface != "" || !c.Wire.Relayed.IsZero() {
		return "", false
	}
	text := "no relay agent of subnet " + c.Wire.Subnet + " was heard since the server was started"
	for i, a := range c.Wire.Relays {
		text += map[bool]string{true: ": ", false: ", "}[i == 0] + a.String()
	}
	return text, true
}

func neverHeard(c *Case) (string, bool) {
	switch {
	case c.Boot != nil:
		return "", false
	case !c.Wire.Relayed.IsZero():
		return fmt.Sprintf("others are heard from subnet %s, last at %s", c.Wire.Subnet, c.Wire.Relayed.UTC().Format("2 Jan 15:04:05")), true
	}
	return "", true
}

func refused(c *Case) (string, bool) {
	if c.Boot == nil {
		return "", false
	}
	var last *fact.Event
	for i := range c.Boot.Remarks {
		if e := &c.Boot.Remarks[i]; (e.Result == fact.Refused || e.Result == fact.Failed) && (last == nil || e.Time.After(last.Time)) {
			last = e
		}
	}
	if last == nil || last.Time.Before(c.Boot.Step(c.Boot.Stage).Last) {
		return "", false
	}
	return told(last), true
}

func silent(c *Case) (string, bool) {
	return "", c.Boot != nil && c.Boot.Outcome == timeline.Stuck
}
