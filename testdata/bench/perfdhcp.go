package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// load is what is offered to a server.
type load struct {
	rate           int // exchanges a second
	seconds        int
	machines       int
	renew, release int // a second
	mac            int // tells the machines of one load from those of another
}

// result is what a load generator saw.
type result struct {
	rate     float64 // exchanges a second that were completed
	exchange map[string]exchange
	twice    int           // addresses that two machines have; perfdhcp does not look
	cpu      time.Duration // that the load generator used
	took     time.Duration

	deaf   int           // datagrams that came while its socket was full
	server time.Duration // processor time of the server for one exchange
	idle   float64       // part of the processors' time that nobody used
}

// exchange is one kind of request and its reply.
type exchange struct {
	sent, received int
	delay          float64 // average, in ms
}

const (
	offers  = "DISCOVER-OFFER"
	acks    = "REQUEST-ACK"
	renewal = "REQUEST-ACK (renewal)"
)

// lost is the part of requests without a reply, for which the server is to blame.
func (r result) lost() float64 {
	var sent, received int
	for _, name := range []string{offers, acks, renewal} {
		sent, received = sent+r.exchange[name].sent, received+r.exchange[name].received
	}
	return float64(max(sent-received-r.deaf, 0)) / float64(max(sent, 1))
}

// delay is the average over both halves of an exchange.
func (r result) delay() float64 { return r.exchange[offers].delay + r.exchange[acks].delay }

// offer plays the load. perfdhcp asks as a relay agent would, from one address and one port. It comes before the servers where there are
// too few processors: it shall not lose replies because a server uses all of them.
func (b *bench) offer(w wire, l load) (r result, err error) {
	args := []string{"netns", "exec", w.client, "nice", "-n", "-15", filepath.Join(b.tools, "usr/sbin/perfdhcp"), "-4", "-W", "300000",
		"-r", strconv.Itoa(l.rate), "-R", strconv.Itoa(l.machines), "-p", strconv.Itoa(l.seconds), "-b", fmt.Sprintf("mac=02:%02x:%02x:00:00:00", l.mac>>8, l.mac&255)}
	if l.renew > 0 {
		args = append(args, "-f", strconv.Itoa(l.renew))
	}
	if l.release > 0 {
		args = append(args, "-F", strconv.Itoa(l.release))
	}
	cmd := exec.CommandContext(b.ctx, "ip", append(args, serverAddr)...)
	cmd.Env = append(os.Environ(), b.libraries()...)
	begun := time.Now()
	out, err := cmd.CombinedOutput()
	r = parse(string(out))
	r.took = time.Since(begun)
	if state := cmd.ProcessState; state != nil {
		r.cpu = state.UserTime() + state.SystemTime()
	}
	var status *exec.ExitError
	if errors.As(err, &status) && status.ExitCode() == 3 { // some requests had no reply
		err = nil
	}
	if err != nil || r.exchange[offers].sent == 0 {
		return r, fmt.Errorf("perfdhcp: %w: %s", err, bytes.TrimSpace(out))
	}
	return r, nil
}

var section = regexp.MustCompile(`\*\*\*Statistics for: (.*)\*\*\*`)

// parse reads perfdhcp's report.
func parse(text string) result {
	r := result{exchange: map[string]exchange{}}
	var name string
	for line := range strings.Lines(text) {
		if m := section.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		number, _ := strconv.ParseFloat(strings.TrimRight(strings.Fields(value + " -")[0], ","), 64)
		x := r.exchange[name]
		switch key {
		case "Rate":
			r.rate = number
		case "sent packets":
			x.sent = int(number)
		case "received packets":
			x.received = int(number)
		case "avg delay":
			x.delay = number
		}
		r.exchange[name] = x
	}
	return r
}

// overflows counts datagrams that came to a full socket at one end.
func overflows(ns string) int {
	out, _ := exec.Command("ip", "netns", "exec", ns, "cat", "/proc/net/snmp").Output()
	var names, values []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == "Udp:" {
			names, values = values, f
		}
	}
	for i, name := range names {
		if name == "RcvbufErrors" && i < len(values) {
			n, _ := strconv.Atoi(values[i])
			return n
		}
	}
	return 0
}
