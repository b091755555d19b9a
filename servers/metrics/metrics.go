// Package metrics counts what the servers report, and says it in Prometheus' words. Counters grow with events; everything that
// is a state (machines, addresses, revisions) is asked for when somebody scrapes. No label's values can be chosen by
// a machine on the network: there is none for a MAC, a node or an address, and what is out of the ordinary counts as "other".
package metrics

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hostler/render/fact"
)

// Metrics are the counters of one server. Its methods do not wait, and allocate nothing once a label was seen.
type Metrics struct {
	registry *prometheus.Registry
	scrapes  http.Handler

	dhcpMessages   *prometheus.CounterVec
	dhcpSeconds    *prometheus.HistogramVec
	tftpTransfers  *prometheus.CounterVec
	tftpBytes      prometheus.Counter
	httpRequests   *prometheus.CounterVec
	httpBytes      prometheus.Counter
	stageSeconds   *prometheus.HistogramVec
	boots          *prometheus.CounterVec
	loops          prometheus.Counter
	storeSeconds   *prometheus.HistogramVec
	convergeSecond prometheus.Histogram

	mu       sync.RWMutex
	known    map[dhcpKey]dhcpSeries // so that a packet costs one look-up, and not one for each label
	requests map[httpKey]prometheus.Counter
}

// httpKey is what the labels of an HTTP request follow from.
type httpKey struct {
	stage  fact.Stage
	status int
}

// dhcpKey is what the labels of a DHCP message follow from: all of it words of ours, or of the spec.
type dhcpKey struct {
	what, subnet string
	result       fact.Result
	none         bool // the event has no stage
}

type dhcpSeries struct {
	messages prometheus.Counter
	seconds  prometheus.Observer // nil for a message that was received
}

// New gives the counters at zero, with sample asked at each scrape for everything that is not counted here.
func New(sample func() Sample) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), known: map[dhcpKey]dhcpSeries{}, requests: map[httpKey]prometheus.Counter{}}
	m.dhcpMessages = counters("dhcp_messages_total", "DHCP messages, received (in) and sent (out).", "type", "direction", "subnet", "result")
	m.dhcpSeconds = histograms("dhcp_handle_seconds", "From a DHCP request to the reply having left, its lease on disk included, by the reply's type.", packetBuckets, "type")
	m.tftpTransfers = counters("tftp_transfers_total", "TFTP read requests. A size probe is a result of its own, and no error.", "result")
	m.tftpBytes = counter("tftp_sent_bytes_total", "Bytes of files sent by TFTP.")
	m.httpRequests = counters("http_requests_total", "Boot HTTP requests.", "handler", "code")
	m.httpBytes = counter("http_sent_bytes_total", "Bytes sent by boot HTTP, headers excluded.")
	m.stageSeconds = histograms("boot_stage_seconds", "From the first packet of a boot until it reached a stage; ready is the whole boot.", bootBuckets, "stage", "image")
	m.boots = counters("boots_total", "Boots that came to their end: ready, or abandoned for another boot before that, with the furthest stage as the reason.", "image", "result", "reason")
	m.loops = counter("boot_loops_total", "Machines that were held because they began one boot after the other and were never ready.")
	m.storeSeconds = histograms("store_txn_seconds", "Writing state durably: transactions of the store, and batches of leases.", packetBuckets, "op", "result")
	m.convergeSecond = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespace, Name: "config_converge_seconds", Help: "From noticing a revision to serving it.", Buckets: packetBuckets,
	})
	m.registry.MustRegister(m.dhcpMessages, m.dhcpSeconds, m.tftpTransfers, m.tftpBytes, m.httpRequests, m.httpBytes, m.stageSeconds, m.boots, m.loops,
		m.storeSeconds, m.convergeSecond, sampler{sample}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.scrapes = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: mostScrapes})
	return m
}

const namespace = "hostler"

var (
	packetBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	bootBuckets   = []float64{.01, .1, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800}
)

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

// mostScrapes go on at the same time: each looks at every node and lease.
const mostScrapes = 2

// ServeHTTP answers a scrape, or, when there are too many, with 503.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.scrapes.ServeHTTP(w, r) }

// Event counts one step of a boot.
func (m *Metrics) Event(e fact.Event) {
	if e.Status != 0 { // first: the method of an HTTP request is a machine's own choice
		m.request(&e).Inc()
		m.httpBytes.Add(float64(max(e.Bytes, 0)))
	} else if rest, ok := strings.CutPrefix(e.What, "DHCP"); ok {
		m.dhcp(&e, strings.TrimPrefix(rest, " "))
	} else if e.What == "Read Request" || e.What == "Write Request" || e.What == "TFTP packet" {
		m.tftpTransfers.WithLabelValues(string(e.Result)).Inc()
		m.tftpBytes.Add(float64(max(e.Bytes, 0)))
	}
}

func (m *Metrics) dhcp(e *fact.Event, name string) {
	k := dhcpKey{e.What, e.Subnet, e.Result, e.Stage == fact.StageNone}
	m.mu.RLock()
	s, ok := m.known[k]
	m.mu.RUnlock()
	if !ok {
		s = m.newSeries(e, name)
		m.mu.Lock()
		m.known[k] = s
		m.mu.Unlock()
	}
	s.messages.Inc()
	if s.seconds != nil {
		s.seconds.Observe(e.Duration.Seconds())
	}
}

func (m *Metrics) request(e *fact.Event) prometheus.Counter {
	k := httpKey{e.Stage, e.Status}
	m.mu.RLock()
	c, ok := m.requests[k]
	m.mu.RUnlock()
	if !ok {
		c = m.httpRequests.WithLabelValues(handler(e), code(e.Status))
		m.mu.Lock()
		m.requests[k] = c
		m.mu.Unlock()
	}
	return c
}

func (m *Metrics) newSeries(e *fact.Event, name string) (s dhcpSeries) {
	typ, sent := messageType(e, name)
	direction := "in"
	if sent {
		direction = "out"
		s.seconds = m.dhcpSeconds.WithLabelValues(typ)
	}
	s.messages = m.dhcpMessages.WithLabelValues(typ, direction, e.Subnet, string(e.Result))
	return s
}

// messageType is a message's label, and whether it is one that we sent. A machine that sends a reply's type is refused, and
// its stage is none: what is made up does not count as ours.
func messageType(e *fact.Event, name string) (typ string, sent bool) {
	switch name {
	case "Discover":
		return "discover", false
	case "Request":
		return "request", false
	case "Decline":
		return "decline", false
	case "Release":
		return "release", false
	case "Inform":
		return "inform", false
	case "BOOTP":
		return "bootp", false
	case "":
		return "unreadable", false
	}
	if e.Stage == fact.StageNone && e.Result == fact.Refused {
		return "other", false
	}
	switch name {
	case "Offer":
		return "offer", true
	case "ACK":
		return "ack", true
	case "NAK":
		return "nak", true
	}
	return "other", false
}

// handler is what an HTTP request was for.
func handler(e *fact.Event) string {
	switch e.Stage {
	case fact.StageScript:
		return "script"
	case fact.StageConfig:
		return "config"
	case fact.StageReady:
		return "report"
	case fact.StageLoader, fact.StageKernel, fact.StageInitrd:
		return "file"
	}
	return "other"
}

func code(status int) string {
	if status < 100 || status > 599 {
		return "other"
	}
	return strconv.Itoa(status)
}

// Reached counts a boot that came to a stage for the first time.
func (m *Metrics) Reached(stage fact.Stage, image string, after time.Duration) {
	m.stageSeconds.WithLabelValues(stage.String(), image).Observe(after.Seconds())
}

// Ready counts a boot that is done.
func (m *Metrics) Ready(image string) { m.boots.WithLabelValues(image, "ready", "").Inc() }

// Abandoned counts a boot that ended for another one, with the furthest stage that it reached.
func (m *Metrics) Abandoned(image string, furthest fact.Stage) {
	m.boots.WithLabelValues(image, "abandoned", furthest.String()).Inc()
}

// Looped counts a machine that was held because it boots in a loop.
func (m *Metrics) Looped() { m.loops.Inc() }

// Stored counts a durable write.
func (m *Metrics) Stored(op string, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
	}
	m.storeSeconds.WithLabelValues(op, result).Observe(took.Seconds())
}

// Converged counts a revision that is served now.
func (m *Metrics) Converged(took time.Duration) { m.convergeSecond.Observe(took.Seconds()) }
