package httpd

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"hostler/render/fact"
)

// TestSeedListener: the listener for cloud-init has what that asks for, and nothing else; what it gives names the main one.
func TestSeedListener(t *testing.T) {
	f := start(t, func(c *Config) { c.Seed = netip.MustParseAddrPort("0.0.0.0:0") })
	if len(f.Addrs()) != 2 {
		t.Fatal(f.Addrs())
	}
	port := f.Addrs()[1].(*net.TCPAddr).Port
	base := "http://" + (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}).String()
	client := http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for path, want := range map[string]int{
		"/meta-data": 200, "/user-data": 200, "/vendor-data": 200, "/network-config": 200, "/healthz": 200, "/apis/bss/meta-data?key=name": 200,
		"/cloud-init/boot=" + proof + "/vendor-data": 200, "/phone-home": 405,
		"/boot/v1/bootscript?mac=52:54:00:00:00:01": 404, "/boot.ipxe": 404, "/boot/v1/bootparameters": 404, "/config/setup?boot=" + proof: 404,
		"/files/" + string(digest(contents["vmlinuz-2"])) + "/x": 404,
	} {
		resp, err := client.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %d, want %d; %v\n%s", path, resp.StatusCode, want, err, body)
		}
		if strings.HasSuffix(path, "/vendor-data") && strings.Contains(path, "boot=") && !strings.Contains(string(body), "http://127.0.0.1:8080/apis/bss/phone-home?boot="+proof) {
			t.Errorf("where to report:\n%s", body)
		}
	}
}

// TestSecret: late values that are not known to be public are secret, so that a new kind is one.
func TestSecret(t *testing.T) {
	for text, want := range map[fact.Text]bool{
		"nothing": false,
		"at " + fact.NewLate(fact.LateServer, "") + fact.NewLate(fact.LateSeed, "") + fact.NewLate(fact.LateConfig, "x"): false,
		fact.NewLate(fact.LateURL, "kernel") + fact.NewLate("secret", "password"):                                        true,
		fact.NewLate("new", ""): true,
	} {
		if got := !public(text); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}

// TestProofIsMasked: what proves a boot is in the path here, and must not be in events, captures and logs.
func TestProofIsMasked(t *testing.T) {
	packets := make(chan fact.Packet, 10)
	f := start(t, func(c *Config) {
		c.Packet = func(p fact.Packet) {
			p.Payload = append([]byte(nil), p.Payload...)
			packets <- p
		}
	})
	for _, path := range []string{"/cloud-init/boot=" + proof + "/vendor-data", "/cloud-init/boot=" + proof + "/x", "/apis/bss/cloud-init/boot=" + proof, "/elsewhere/boot=" + proof + "/user-data"} {
		f.get(t, path)
		if e := f.event(t); strings.Contains(e.File+e.Detail, string(token)) {
			t.Errorf("%s: event %+v", path, e)
		}
		for range 2 {
			if p := <-packets; strings.Contains(string(p.Payload), string(token)) {
				t.Errorf("%s: packet\n%s", path, p.Payload)
			}
		}
	}
}

// TestProofIsNamed: without its name the proof would not be found where it is masked, and counts for nothing.
func TestProofIsNamed(t *testing.T) {
	f := start(t, nil)
	if _, answer := f.raw(t, "127.0.0.1", "GET /cloud-init/"+proof+"/vendor-data HTTP/1.1"); !strings.Contains(answer, "this boot is not known") {
		t.Error(answer)
	}
}

// TestLeaseOfAnEarlierNode: a machine that the node was once keeps its lease for a while, and nothing of the node's.
func TestLeaseOfAnEarlierNode(t *testing.T) {
	var named []fact.NodeName
	srv := start(t, func(c *Config) {
		withSecrets(t)(c)
		lease := fact.Lease{MAC: fact.MAC{0x52, 0x54, 0, 0, 0, 0x99}, Node: "c0001", State: fact.Bound}
		c.Leases = leases{c0001: lease}
		c.Boots = naming{&boots{}, &named}
	})
	for _, ask := range []string{"/boot/v1/bootscript?mac=52:54:00:00:00:99", "/boot/v1/bootscript?name=c0001", "/boot/v1/bootscript?mac=52:54:00:00:00:01"} {
		if _, script := srv.raw(t, "127.0.0.1", "GET "+ask+" HTTP/1.1"); ask[len(ask)-2:] != "99" && strings.Contains(script, string(token)) {
			t.Errorf("%s: the token of c0001's boot is in\n%s", ask, script)
		}
	}
	for _, n := range named {
		if n != "" {
			t.Errorf("it has a boot of %s", n)
		}
	}
	if _, data := srv.raw(t, "127.0.0.1", "GET /meta-data HTTP/1.1"); strings.Contains(data, "c0001") {
		t.Errorf("it is told\n%s", data)
	}
}

// naming notes for which node a boot is named.
type naming struct {
	*boots
	nodes *[]fact.NodeName
}

func (n naming) Script(m fact.MAC, node fact.NodeName, a netip.Addr, terms fact.Terms) (fact.BootID, fact.Token, error) {
	*n.nodes = append(*n.nodes, node)
	return n.boots.Script(m, node, a, terms)
}
