package main

import (
	"testing"
	"testing/fstest"

	"hostler/reconcile/timeline"
	"hostler/render"
	"hostler/render/fact"
	"hostler/spec"
)

// TestOutcome: whoever looks at night for machines that are stuck must not find those that were told to start by themselves.
func TestOutcome(t *testing.T) {
	text := `spec { language = 1 }
subnet "a" { cidr = "10.77.0.0/24" }
node "disk" {
  subnet  = subnet.a
  mac     = "52:54:00:00:00:01"
  address = "10.77.0.11"
  boot    = "disk"
}
node "off" {
  subnet  = subnet.a
  mac     = "52:54:00:00:00:02"
  address = "10.77.0.12"
  boot    = "off"
}
node "disabled" {
  subnet   = subnet.a
  mac      = "52:54:00:00:00:03"
  address  = "10.77.0.13"
  boot     = "disk"
  enabled  = false
}
node "net" {
  subnet  = subnet.a
  mac     = "52:54:00:00:00:04"
  address = "10.77.0.14"
}
`
	fleet, ds := spec.Parse(spec.Input{Files: fstest.MapFS{"a.boot.hcl": &fstest.MapFile{Data: []byte(text)}}})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	snapshot, ds := render.Render(fleet, render.Artifacts{}, render.Assignments{})
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	for _, c := range []struct {
		mac     byte
		o, want timeline.Outcome
	}{
		{1, timeline.Stuck, timeline.Local}, {2, timeline.Stuck, timeline.Local}, {3, timeline.Stuck, timeline.Stuck},
		{4, timeline.Stuck, timeline.Stuck}, {9, timeline.Stuck, timeline.Stuck}, // nobody declared that one
		{1, timeline.Booting, timeline.Booting}, {2, timeline.Ready, timeline.Ready}, {1, timeline.Ended, timeline.Ended},
	} {
		if got := outcome(snapshot, fact.MAC{0x52, 0x54, 0, 0, 0, c.mac}, c.o); got != c.want {
			t.Errorf("machine %d, %s: %s, want %s", c.mac, c.o, got, c.want)
		}
	}
	if got := outcome(nil, fact.MAC{}, timeline.Stuck); got != timeline.Stuck {
		t.Errorf("without a snapshot: %s", got)
	}
}
