package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hostler/render/fact"
)

// Sample is how things stand at a scrape.
type Sample struct {
	Version     string
	Revision    fact.Revision            // empty: nothing is served
	Applied     time.Time                // when it was
	Checked     time.Time                // when the source last answered
	Pending     bool                     // a revision waits for somebody to apply it
	Healthy     map[string]float64       // by check: 1 ok, 0.5 degraded, 0 failed
	Failures    map[string]uint64        // of reconciling, by stage
	Stages      map[string]time.Duration // of bringing the revision into force
	Nodes       map[NodeState]int
	Stuck       map[Stuck]int
	Pools       map[PoolState]uint64
	Notices     map[Notice]uint64 // packets that showed something that somebody should look at
	Dropped     map[string]uint64 // what there was no room for, by what it was
	Expires     time.Time         // of the TLS certificate; zero: there is none
	TFTPRunning int64             // transfers now
	HTTPConns   int               // open
	HTTPSending int               // files on their way
	HTTPWaiting int               // files whose client has as many under way as it may
	TFTPResent  uint64            // packets that were sent again
	TFTPRepeat  uint64            // requests that were being answered already
	TFTPStray   uint64            // packets to a transfer from somebody else
	Packets     int               // bytes of conversations in memory
	PacketsFrom int               // machines whose conversations these are
}

// NodeState counts declared machines by where they boot and how that goes.
type NodeState struct{ Subnet, State string }

// Stuck counts declared machines that get no further, by the furthest stage and the rule that says why.
type Stuck struct {
	Stage fact.Stage
	Cause string
}

// Notice is something that a packet showed on a subnet. The kind is the name of the metric, without prefix and "_total".
type Notice struct{ Kind, Subnet string }

// The kinds of Notice.
const (
	Exhausted = "pool_exhausted"
	Foreign   = "dhcp_foreign_offers"
	Conflict  = "address_conflicts"
	Relay     = "dhcp_unknown_relay"
)

// PoolState counts addresses: of a pool of a subnet, by what it serves and what they do.
type PoolState struct{ Subnet, Pool, Kind, State string }

// sampler collects a sample. It describes nothing beforehand: which series there are depends on the spec.
type sampler struct{ sample func() Sample }

// Describe implements prometheus.Collector.
func (sampler) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s sampler) Collect(ch chan<- prometheus.Metric) {
	v := s.sample()
	c := emitter{ch}
	c.gauge("build_info", "The version that runs.", "version").add(1, v.Version)
	if v.Revision != "" {
		c.gauge("config_applied_info", "The revision that is served.", "revision").add(1, v.Revision.Short())
		c.gauge("config_applied_timestamp_seconds", "When the revision that is served was applied.").add(seconds(v.Applied))
	}
	if !v.Checked.IsZero() {
		c.gauge("config_checked_timestamp_seconds", "When the source last answered.").add(seconds(v.Checked))
	}
	pending := 0.
	if v.Pending {
		pending = 1
	}
	c.gauge("config_pending", "1 while a newer revision waits for somebody to apply it.").add(pending)
	health := c.gauge("health", "Each check of /readyz: 1 ok, 0.5 degraded, 0 failed.", "check")
	for check, x := range v.Healthy {
		health.add(x, check)
	}
	failures := c.counter("reconcile_errors_total", "Attempts to apply a revision that failed, by the stage that refused it.", "stage")
	for stage, n := range v.Failures {
		failures.add(float64(n), stage)
	}
	stages := c.gauge("reconcile_stage_seconds", "How long each stage of bringing the revision in force took; none after a start.", "stage")
	for stage, took := range v.Stages {
		stages.add(took.Seconds(), stage)
	}
	s.machines(&v, c)
	s.notices(&v, c)
	dropped := c.counter("dropped_total", "What there was no room for.", "what")
	for what, n := range v.Dropped {
		dropped.add(float64(n), what)
	}
	if !v.Expires.IsZero() {
		c.gauge("tls_certificate_expiry_timestamp_seconds", "When the certificate of the TLS listener expires.").add(seconds(v.Expires))
	}
	c.gauge("http_connections", "Open connections of boot HTTP.").add(float64(v.HTTPConns))
	files := c.gauge("http_transfers", "Files of boot HTTP: on their way (sending), or behind others of the same client (waiting).", "state")
	files.add(float64(v.HTTPSending), "sending")
	files.add(float64(v.HTTPWaiting), "waiting")
	c.gauge("tftp_running_transfers", "TFTP transfers that are going on.").add(float64(v.TFTPRunning))
	c.counter("tftp_retransmits_total", "TFTP packets that were sent again.").add(float64(v.TFTPResent))
	c.counter("tftp_repeated_requests_total", "TFTP requests that were being answered already.").add(float64(v.TFTPRepeat))
	c.counter("tftp_stray_packets_total", "TFTP packets to a transfer from somebody else than its machine.").add(float64(v.TFTPStray))
	c.gauge("packets_kept_bytes", "Packets of conversations in memory, for hostler boots -packets.").add(float64(v.Packets))
	c.gauge("packets_kept_machines", "Machines whose conversations these are.").add(float64(v.PacketsFrom))
}

func (sampler) machines(v *Sample, c emitter) {
	nodes := c.gauge("nodes", "Declared machines, by the state of their newest boot.", "subnet", "state")
	for n, count := range v.Nodes {
		nodes.add(float64(count), n.Subnet, n.State)
	}
	stuck := c.gauge("nodes_stuck", "Declared machines that get no further in a boot, by the furthest stage and the likely cause.", "stage", "cause")
	for s, count := range v.Stuck {
		stuck.add(float64(count), s.Stage.String(), s.Cause)
	}
	pools := c.gauge("pool_addresses", "Addresses of each pool, by what they do; total is all that may be leased.", "subnet", "pool", "kind", "state")
	for p, count := range v.Pools {
		pools.add(float64(count), p.Subnet, p.Pool, p.Kind, p.State)
	}
}

func (sampler) notices(v *Sample, c emitter) {
	kinds := map[string]series{
		Exhausted: c.counter("pool_exhausted_total", "Requests that got no answer because every address was in use.", "subnet"),
		Foreign:   c.counter("dhcp_foreign_offers_total", "Signs of another DHCP server where this one should be alone.", "subnet"),
		Conflict:  c.counter("address_conflicts_total", "Requests that showed that two machines use, or were given, one address.", "subnet"),
		Relay:     c.counter("dhcp_unknown_relay_total", "Requests through relay agents that the spec does not know."),
	}
	for n, count := range v.Notices {
		if n.Kind == Relay {
			kinds[n.Kind].add(float64(count))
		} else if s, ok := kinds[n.Kind]; ok {
			s.add(float64(count), n.Subnet)
		}
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1e3 }

// emitter sends values that exist for one scrape only.
type emitter struct{ ch chan<- prometheus.Metric }

type series struct {
	emitter
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func (c emitter) gauge(name, help string, labels ...string) series {
	return series{c, prometheus.NewDesc(namespace+"_"+name, help, labels, nil), prometheus.GaugeValue}
}

func (c emitter) counter(name, help string, labels ...string) series {
	return series{c, prometheus.NewDesc(namespace+"_"+name, help, labels, nil), prometheus.CounterValue}
}

func (s series) add(value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(s.desc, s.kind, value, labels...)
}
