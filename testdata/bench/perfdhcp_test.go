package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mixedReport = `Running: perfdhcp -4 -r 1000 -f 400 -F 100 10.64.0.1
***Rate statistics***
Rate: 861.183 4-way exchanges/second, expected rate: 1000

***Malformed Packets***
Malformed packets: 0
***Statistics for: DISCOVER-OFFER***
sent packets: 3999
received packets: 3950
drops: 49
drops ratio: 1.22531 %

min delay: 0.031 ms
avg delay: 18.019 ms

***Statistics for: REQUEST-ACK***
sent packets: 3950
received packets: 3876
avg delay: 17.769 ms

***Statistics for: REQUEST-ACK (renewal)***
sent packets: 1561
received packets: 1539
avg delay: 31.419 ms

***Statistics for: RELEASE***
sent packets: 383
received packets: 0
min delay: inf ms
avg delay: min delay: n/a
avg delay: n/a
`

func TestParse(t *testing.T) {
	r := parse(mixedReport)
	want := map[string]exchange{
		"": {}, offers: {3999, 3950, 18.019}, acks: {3950, 3876, 17.769}, renewal: {1561, 1539, 31.419}, "RELEASE": {383, 0, 0},
	}
	if diff := cmp.Diff(want, r.exchange, cmp.AllowUnexported(exchange{})); diff != "" || r.rate != 861.183 {
		t.Errorf("rate %v %s", r.rate, diff)
	}
	r.deaf = 100 // of the 145 that are missing: a RELEASE has no reply
	if got, want := r.lost(), 45.0/(3999+3950+1561); got != want {
		t.Errorf("%v of the requests are lost, not %v", got, want)
	}
}
