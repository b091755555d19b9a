package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/reconcile"
	"hostler/servers/admin"
	"hostler/servers/dhcp"
)

// TestChecks is the table of what is a failure and what a warning: only what keeps every machine from booting is a failure.
func TestChecks(t *testing.T) {
	good := reconcile.Status{LastApplied: "main@sha1:0123456789abcdef", Conditions: []reconcile.Condition{{Type: reconcile.Ready, Status: true, Reason: reconcile.Succeeded}}}
	broken := func(rev bool, reason reconcile.Reason, message string) reconcile.Status {
		s := good
		if !rev {
			s.LastApplied = ""
		}
		s.Conditions = []reconcile.Condition{{Type: reconcile.Ready, Reason: reason, Message: message}}
		return s
	}
	waiting := broken(true, reconcile.AwaitingApply, "main@sha1:ff waits")
	waiting.Pending = "main@sha1:ff"
	eth := func(name string, listening bool, problem, broadcasting string) dhcp.InterfaceState {
		return dhcp.InterfaceState{Name: name, Listening: listening, Problem: problem, Broadcasting: broadcasting}
	}
	serving := dhcp.State{Interfaces: []dhcp.InterfaceState{eth("eth1", true, "", "")}}
	state := admin.Check{Name: "state", Health: admin.Healthy}
	listens := []string{"dhcp udp 67", "tftp udp 0.0.0.0:69", "http tcp 0.0.0.0:8080"}
	for _, c := range []struct {
		name string
		r    reconcile.Status
		d    dhcp.State
		want string
	}{
		{"all is well", good, serving, ""},
		{"a bad commit", broken(true, reconcile.CheckFailed, "a.boot.hcl:3: no"), serving,
			"degraded config: still serving main@sha1:0123456789ab: a.boot.hcl:3: no"},
		{"a bad commit, and nothing before it", broken(false, reconcile.CheckFailed, "a.boot.hcl:3: no; nothing is served"), serving,
			"failed config: a.boot.hcl:3: no; nothing is served"},
		{"the source is down", broken(true, reconcile.FetchFailed, "fetching: no route"), serving, "degraded source: fetching: no route"},
		{"the source was never up", broken(false, reconcile.FetchFailed, "fetching: no route"), serving,
			"failed config: no revision was ever served, degraded source: fetching: no route"},
		{"a revision waits, as it should", waiting, serving, ""},
		{"one of two interfaces is gone", good, dhcp.State{Interfaces: []dhcp.InterfaceState{eth("eth1", true, "", ""), eth("eth2", false, "gone", "")}},
			"degraded dhcp: eth2: not served: gone"},
		{"every interface is gone", good, dhcp.State{Interfaces: []dhcp.InterfaceState{eth("eth2", false, "gone", "")}}, "failed dhcp: eth2: not served: gone"},
		{"no raw socket", good, dhcp.State{Interfaces: []dhcp.InterfaceState{eth("eth1", true, "", "no right")}},
			"degraded dhcp: eth1: answers to machines without an address are broadcast: no right"},
		{"the disk is full", good, dhcp.State{Interfaces: serving.Interfaces, LeaseError: "no space"},
			"failed leases: cannot be written, so no address is acknowledged: no space"},
	} {
		var bad []string
		for _, k := range checks(c.r, c.d, state, listens) {
			if k.Health != admin.Healthy {
				bad = append(bad, fmt.Sprintf("%s %s: %s", k.Health, k.Name, k.Message))
			}
		}
		if diff := cmp.Diff(c.want, strings.Join(bad, ", ")); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestCheckCertificate(t *testing.T) {
	now := time.Date(2026, 10, 2, 0, 0, 0, 0, time.UTC)
	for days, want := range map[int]admin.Check{
		30: {Name: "certificate", Health: admin.Healthy, Message: "expires on 1 Nov 2026"},
		5:  {Name: "certificate", Health: admin.Degraded, Message: "expires on 7 Oct 2026"},
		-1: {Name: "certificate", Health: admin.Degraded, Message: "expired on 1 Oct 2026: loaders refuse it"},
	} {
		if got := checkCertificate(now.AddDate(0, 0, days), now); got != want {
			t.Errorf("%d days: %+v", days, got)
		}
	}
}

func TestHealthText(t *testing.T) {
	got := healthText([]admin.Check{{Name: "a", Health: admin.Degraded, Message: "x"}, {Name: "b", Health: admin.Healthy}, {Name: "c", Health: admin.Broken, Message: "y"}})
	if want := "c failed: y; a degraded: x"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := healthText(nil); got != "ok" {
		t.Errorf("got %s", got)
	}
}
