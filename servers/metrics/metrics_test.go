package metrics

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hostler/render/fact"
)

// scrape gives the series of a metric.
func scrape(m *Metrics, name string) string {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var lines []string
	for _, line := range strings.SplitAfter(w.Body.String(), "\n") {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func empty() Sample { return Sample{} }

func TestEvents(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name   string
		events []fact.Event
		metric string
		want   string
	}{
		{"an exchange", []fact.Event{
			{What: "DHCP Discover", Stage: fact.StageDiscover, Subnet: "rack", Result: fact.OK},
			{What: "DHCP Offer", Stage: fact.StageOffer, Subnet: "rack", Result: fact.OK, Duration: ms},
			{What: "DHCP Request", Stage: fact.StageRequest, Subnet: "rack", Result: fact.OK},
			{What: "DHCP ACK", Stage: fact.StageAck, Subnet: "rack", Result: fact.Failed, Duration: ms},
			{What: "DHCP Discover", Stage: fact.StageDiscover, Result: fact.Refused},
		}, "hostler_dhcp_messages_total", `hostler_dhcp_messages_total{direction="in",result="ok",subnet="rack",type="discover"} 1
hostler_dhcp_messages_total{direction="in",result="ok",subnet="rack",type="request"} 1
hostler_dhcp_messages_total{direction="in",result="refused",subnet="",type="discover"} 1
hostler_dhcp_messages_total{direction="out",result="failed",subnet="rack",type="ack"} 1
hostler_dhcp_messages_total{direction="out",result="ok",subnet="rack",type="offer"} 1
`},
		{"made-up types are all one", []fact.Event{
			{What: "DHCP message 77", Result: fact.Refused},
			{What: "DHCP message 78", Result: fact.Refused},
			{What: "DHCP Offer", Result: fact.Refused}, // a machine sends one
			{What: "DHCP NAK", Result: fact.Refused},
			{What: "DHCP", Result: fact.Refused},
		}, "hostler_dhcp_messages_total", `hostler_dhcp_messages_total{direction="in",result="refused",subnet="",type="other"} 4
hostler_dhcp_messages_total{direction="in",result="refused",subnet="",type="unreadable"} 1
`},
		{"our own NAK", []fact.Event{{What: "DHCP NAK", Stage: fact.StageRequest, Result: fact.Refused}},
			"hostler_dhcp_messages_total", "hostler_dhcp_messages_total{direction=\"out\",result=\"refused\",subnet=\"\",type=\"nak\"} 1\n"},
		{"TFTP", []fact.Event{
			{What: "Read Request", Stage: fact.StageLoader, Result: fact.Probe},
			{What: "Read Request", Stage: fact.StageLoader, Result: fact.OK, Bytes: 1000},
			{What: "Write Request", Result: fact.Refused},
		}, "hostler_tftp_transfers_total", `hostler_tftp_transfers_total{result="ok"} 1
hostler_tftp_transfers_total{result="probe"} 1
hostler_tftp_transfers_total{result="refused"} 1
`},
		{"HTTP, whatever the method is", []fact.Event{
			{What: "GET", Stage: fact.StageScript, Status: 200, Bytes: 10},
			{What: "DHCPX", Status: 200},
			{What: "Read Request", Status: 405},
			{What: "GET", Status: 4711},
			{What: "HEAD", Stage: fact.StageKernel, Status: 200},
		}, "hostler_http_requests_total", `hostler_http_requests_total{code="200",handler="file"} 1
hostler_http_requests_total{code="200",handler="other"} 1
hostler_http_requests_total{code="200",handler="script"} 1
hostler_http_requests_total{code="405",handler="other"} 1
hostler_http_requests_total{code="other",handler="other"} 1
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := New(empty)
			for _, e := range c.events {
				m.Event(e)
			}
			if diff := cmp.Diff(c.want, scrape(m, c.metric)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEventAllocates nothing: it is called for every packet.
func TestEventAllocates(t *testing.T) {
	m := New(empty)
	events := []fact.Event{
		{What: "DHCP Request", Stage: fact.StageRequest, Subnet: "rack", Result: fact.OK},
		{What: "DHCP ACK", Stage: fact.StageAck, Subnet: "rack", Result: fact.OK, Duration: time.Millisecond},
		{What: "GET", Stage: fact.StageScript, Status: 200, Bytes: 10},
		{What: "Read Request", Stage: fact.StageLoader, Result: fact.OK, Bytes: 1000},
	}
	if n := testing.AllocsPerRun(1000, func() {
		for _, e := range events {
			m.Event(e)
		}
		m.Reached(fact.StageScript, "compute", time.Second)
	}); n != 0 {
		t.Errorf("%v allocations for %d events", n, len(events))
	}
}

func TestBoots(t *testing.T) {
	m := New(empty)
	m.Reached(fact.StageScript, "compute", 12*time.Second)
	m.Ready("compute")
	m.Abandoned("compute", fact.StageKernel)
	want := `hostler_boots_total{image="compute",reason="",result="ready"} 1
hostler_boots_total{image="compute",reason="kernel",result="abandoned"} 1
`
	if diff := cmp.Diff(want, scrape(m, "hostler_boots_total")); diff != "" {
		t.Error(diff)
	}
	if got := scrape(m, "hostler_boot_stage_seconds_sum"); got != "hostler_boot_stage_seconds_sum{image=\"compute\",stage=\"script\"} 12\n" {
		t.Error(got)
	}
}

// TestScrapesAtOnce holds that who asks over and over cannot have all nodes counted a thousand times at once.
func TestScrapesAtOnce(t *testing.T) {
	counting, counted := make(chan struct{}), make(chan struct{})
	m := New(func() Sample {
		counting <- struct{}{}
		<-counted
		return Sample{}
	})
	var scrapes sync.WaitGroup
	for range mostScrapes {
		scrapes.Go(func() { scrape(m, "hostler_health") })
		<-counting
	}
	w := httptest.NewRecorder()
	done := make(chan struct{})
	go func() { defer close(done); m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil)) }()
	select {
	case <-done:
	case <-counting:
		t.Error("one more than there may be is answered")
	}
	close(counted)
	<-done
	scrapes.Wait()
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d", w.Code)
	}
}

func TestSample(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	m := New(func() Sample {
		return Sample{
			Version: "1.0", Revision: "main@sha1:0123456789abcdef", Applied: at, Checked: at, Pending: true,
			Healthy: map[string]float64{"dhcp": 0.5}, Failures: map[string]uint64{"GateRefused": 2}, Stages: map[string]time.Duration{"evaluate": 1500 * time.Millisecond},
			Nodes: map[NodeState]int{{"rack", "ready"}: 7}, Stuck: map[Stuck]int{{fact.StageKernel, "file-missing"}: 3},
			Pools:       map[PoolState]uint64{{"rack", "boot", "any", "bound"}: 5},
			TFTPRunning: 11, TFTPResent: 12, TFTPRepeat: 13, TFTPStray: 14,
		}
	})
	for name, want := range map[string]string{
		"hostler_build_info":                       `hostler_build_info{version="1.0"} 1`,
		"hostler_config_applied_info":              `hostler_config_applied_info{revision="main@sha1:0123456789ab"} 1`,
		"hostler_config_applied_timestamp_seconds": `hostler_config_applied_timestamp_seconds 1.8e+09`,
		"hostler_config_pending":                   `hostler_config_pending 1`,
		"hostler_health":                           `hostler_health{check="dhcp"} 0.5`,
		"hostler_reconcile_errors_total":           `hostler_reconcile_errors_total{stage="GateRefused"} 2`,
		"hostler_reconcile_stage_seconds":          `hostler_reconcile_stage_seconds{stage="evaluate"} 1.5`,
		"hostler_nodes":                            `hostler_nodes{state="ready",subnet="rack"} 7`,
		"hostler_nodes_stuck":                      `hostler_nodes_stuck{cause="file-missing",stage="kernel"} 3`,
		"hostler_tftp_running_transfers":           `hostler_tftp_running_transfers 11`,
		"hostler_tftp_retransmits_total":           `hostler_tftp_retransmits_total 12`,
		"hostler_tftp_repeated_requests_total":     `hostler_tftp_repeated_requests_total 13`,
		"hostler_tftp_stray_packets_total":         `hostler_tftp_stray_packets_total 14`,
		"hostler_pool_addresses":                   `hostler_pool_addresses{kind="any",pool="boot",state="bound",subnet="rack"} 5`,
	} {
		if got := scrape(m, name); got != want+"\n" {
			t.Errorf("got %swant %s", got, want)
		}
	}
}

func BenchmarkEvent(b *testing.B) {
	m := New(empty)
	e := fact.Event{What: "DHCP ACK", Stage: fact.StageAck, Subnet: "rack", Result: fact.OK, Duration: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Event(e)
	}
}

// Whatever a machine sends, the number of series stays what it is.
func FuzzEvent(f *testing.F) {
	f.Add("DHCP Discover", uint8(1), "ok", 0)
	f.Add("GET", uint8(6), "", 200)
	m := New(empty)
	f.Fuzz(func(t *testing.T, what string, stage uint8, result string, status int) {
		results := []fact.Result{fact.OK, fact.Probe, fact.Refused, fact.Failed}
		m.Event(fact.Event{What: what, Stage: fact.Stage(stage % 11), Result: results[len(result)%4], Status: status})
		n := strings.Count(scrape(m, "hostler_dhcp_messages_total"), "\n")
		if n > 11*2*4 {
			t.Fatal(fmt.Sprint(n) + " series of DHCP messages")
		}
	})
}
