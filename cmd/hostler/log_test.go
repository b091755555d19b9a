package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLogOptions(t *testing.T) {
	for _, c := range []struct{ format, level, want string }{
		{"text", "info", "level=INFO msg=b mac=x\nlevel=WARN msg=c\n"},
		{"text", "debug", "level=DEBUG msg=a\nlevel=INFO msg=b mac=x\nlevel=WARN msg=c\n"},
		{"json", "warn", `{"level":"WARN","msg":"c"}` + "\n"},
		{"json", "error", ""},
		{"xml", "info", "-log-format=xml: it is text or json"},
		{"text", "info+2", "-log-level=info+2: it is debug, info, warn or error"},
	} {
		var out bytes.Buffer
		o := logOptions{format: c.format, level: c.level}
		log, err := o.logger(&out)
		if err != nil {
			if err.Error() != c.want {
				t.Errorf("%s %s: got %v, want %s", c.format, c.level, err, c.want)
			}
			continue
		}
		log.Debug("a")
		log.Info("b", "mac", "x")
		log.Warn("c")
		got := regexp.MustCompile(`time=\S+ |"time":"[^"]*",`).ReplaceAllString(out.String(), "")
		if got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.format, c.level, got, c.want)
		}
	}
}

// An error that each packet brings about is told a few times, and then once a minute that there are more.
func TestLogOfOneFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log, err := (&logOptions{format: "text", level: "info"}).logger(&out)
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			log.With("mac", "x").Error("a fault", "stack", "...")
			log.Info("an answer")
		}
		log.Error("another")
		time.Sleep(time.Minute)
		log.Error("a fault")
		text := out.String()
		for line, want := range map[string]int{"a fault": 31, "an answer": 1000, "another": 1, "left out": 1} {
			if n := strings.Count(text, line); n != want {
				t.Errorf("%d lines have %q, want %d", n, line, want)
			}
		}
	})
}

// TestLog holds what an operator reads after a machine booted, line by line: the lease, the script, that it is ready. And that a
// stranger's words cannot begin a line.
func TestLog(t *testing.T) {
	l := newLab(t)
	s := l.serve("-log-format=json", "-var", "files="+l.files(), l.repository())
	l.lease("-x", "0x5d:0000")
	token := regexp.MustCompile(`hostler\.boot=(\S+)`).FindStringSubmatch(l.script(machineMAC))
	if token == nil {
		t.Fatal("the script has no token")
	}
	if out, err := l.inMachine("curl", "-sS", "-d", "boot="+token[1], "http://10.77.0.1:8080/phone-home"); err != nil || out != "ok\n" {
		t.Fatal(out, err)
	}
	l.inMachine("curl", "-sS", "-A", "x\r\nlevel=ERROR", "--path-as-is", "http://10.77.0.1:8080/%0d%0a{\"level\":\"ERROR\"}")
	s.kill(syscall.SIGTERM)
	var got []string
	for line := range strings.Lines(s.log.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if v["mac"] == nil {
			continue
		}
		for _, varies := range []string{"time", "boot", "revision", "after", "duration"} {
			if v[varies] != nil {
				v[varies] = "-"
			}
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	want := []string{
		`{"address":"10.77.0.11","client":"rom","file":"undionly.kpxe","level":"INFO","mac":"52:54:00:77:00:01","msg":"dhcp: DHCP ACK","node":"bios1","revision":"-","time":"-","what":"DHCP ACK"}`,
		`{"after":"-","boot":"-","image":"busybox","level":"INFO","mac":"52:54:00:77:00:01","msg":"boot: script","node":"bios1","revision":"-","stage":"script","time":"-"}`,
		`{"after":"-","boot":"-","image":"busybox","level":"INFO","mac":"52:54:00:77:00:01","msg":"boot: ready","node":"bios1","revision":"-","stage":"ready","time":"-"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(fmt.Sprint(s.log), token[1][27:]) {
		t.Error("the log holds the secret of a boot")
	}
}
