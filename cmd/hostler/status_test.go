package main

import (
	"strings"
	"testing"
	"time"

	"hostler/render"
	"hostler/servers/dhcp"
)

// TestStatusNotices shows what is wrong around the server for an hour, and not for ever.
func TestStatusNotices(t *testing.T) {
	var out strings.Builder
	env := &environment{stdout: &out, stderr: &out}
	now := time.Now()
	st := serverStatus{DHCP: dhcp.State{Notices: []dhcp.Notice{
		{Kind: render.PoolExhausted, Subject: "pool boot of subnet lab", Detail: "pool boot: exhausted", Count: 1200, Last: now.Add(-3 * time.Minute)},
		{Kind: render.UnknownRelay, Subject: "192.0.2.7", Detail: "long ago", Count: 1, Last: now.Add(-2 * time.Hour)},
	}}}
	env.printStatus(&st, false)
	want := "Notice      pool exhausted pool boot of subnet lab: pool boot: exhausted (1,200 times, last 3m ago)\n"
	if got := out.String(); !strings.Contains(got, want) || strings.Contains(got, "192.0.2.7") {
		t.Errorf("want %q in\n%s", want, got)
	}
}
