package main

import (
	"strings"
	"testing"
	"time"

	"hostler/reconcile"
	"hostler/reconcile/s3"
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

// TestStatusOfStores shows a file on its way, and a clock of S3 that differs.
func TestStatusOfStores(t *testing.T) {
	var out strings.Builder
	env := &environment{stdout: &out, stderr: &out}
	st := serverStatus{Reconcile: reconcile.Status{
		Fetching: &reconcile.Fetch{File: "store.images rootfs", Done: 300 << 20, Size: 1 << 30, Since: time.Now().Add(-90 * time.Second)},
		Clocks:   []s3.Clock{{Name: "images", Endpoint: "https://s3.example.net", Ahead: -3*time.Minute - 400*time.Millisecond}},
	}}
	env.printStatus(&st, false)
	for _, want := range []string{
		"Fetching    store.images rootfs, 314.6 MB of 1.1 GB (29%), for 1m\n",
		"Clock       that of https://s3.example.net (s3 \"images\") is 3m0s behind this host's; URLs are signed by it\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, &out)
		}
	}
}
