package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"
)

// BenchmarkFlood has a declared machine ask for its script, on a connection of its own each time, and for its loader's first block, each 5
// ms, while strangers flood every port as in TestFlood. The limit to compare with is the same flood of ports that nobody has: what it
// costs the network and the processors alone. -benchtime says how often it asks.
func BenchmarkFlood(b *testing.B) {
	for _, c := range []struct {
		name  string
		above int // -1: no flood
	}{{"none", -1}, {"closed-ports", 10_000}, {"open-ports", 0}} {
		b.Run(c.name, func(b *testing.B) {
			l := newLab(b)
			l.serveAll(l.repository())
			must(b, "ip", "-n", l.machine, "addr", "add", "10.78.0.2/32", "dev", "lo")
			must(b, "ip", "-n", l.machine, "route", "add", "10.77.0.1", "dev", "eth0", "src", "10.78.0.2")
			must(b, "ip", "-n", l.server, "route", "add", "10.78.0.0/24", "dev", "eth0")
			if c.above >= 0 {
				defer l.flood(c.above).stop()
			}
			b.ResetTimer()
			var script, block []time.Duration
			err := inNamespace(l.machine, func() error {
				for range b.N {
					next := time.Now().Add(5 * time.Millisecond)
					for _, x := range []struct {
						ask  func() error
						took *[]time.Duration
					}{{askScript, &script}, {askBlock, &block}} {
						began := time.Now()
						if err := x.ask(); err != nil {
							return err
						}
						*x.took = append(*x.took, time.Since(began))
					}
					time.Sleep(time.Until(next))
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			reportTimes(b, "script", script)
			reportTimes(b, "block", block)
		})
	}
}

// declared is the address of the machine that asks.
func declared() net.IP { return net.IPv4(10, 77, 0, 11) }

// askScript dials in the calling thread, as askBlock does.
func askScript() error {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: declared()}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp4", "10.77.0.1:8080")
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(c, "GET /boot/v1/bootscript?mac=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", machineMAC); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(resp.Body); err != nil || !bytes.Contains(text.Bytes(), []byte("hostler.boot=0")) {
		return fmt.Errorf("%v: no script with a token: %s", err, &text)
	}
	return nil
}

// askBlock gives up after the first block, as a size probe does.
func askBlock() error {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: declared()})
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.WriteTo([]byte("\x00\x01undionly.kpxe\x00octet\x00"), &net.UDPAddr{IP: net.IPv4(10, 77, 0, 1), Port: 69}); err != nil {
		return err
	}
	buf := make([]byte, 1500)
	n, from, err := conn.ReadFrom(buf)
	if err != nil || n != 516 || buf[1] != 3 {
		return fmt.Errorf("%v: no block: %q", err, buf[:n])
	}
	_, err = conn.WriteTo([]byte("\x00\x05\x00\x00enough\x00"), from)
	return err
}

func reportTimes(b *testing.B, name string, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), name+"-p50-us")
	b.ReportMetric(float64(took[(len(took)*99-1)/100].Microseconds()), name+"-p99-us")
}
