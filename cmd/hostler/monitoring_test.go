package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promtool is where testdata/lab/install.sh unpacks it.
func promtool(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(cache, "hostler-lab", "promtool"), args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

const monitoring = "../../examples/monitoring/"

// queries are the expressions of the dashboard, with Grafana's variables filled in.
func queries(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(monitoring + "dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Annotations struct{ List []struct{ Expr string } }
		Panels      []struct{ Targets []struct{ Expr string } }
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range dashboard.Annotations.List {
		all = append(all, a.Expr)
	}
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			all = append(all, q.Expr)
		}
	}
	if len(all) < 20 {
		t.Fatalf("the dashboard has %d queries", len(all))
	}
	fill := strings.NewReplacer("$__rate_interval", "5m", "$instance", ".*", "$subnet", ".*", "$image", ".*")
	for i := range all {
		all[i] = fill.Replace(all[i])
		if strings.Contains(all[i], "$") {
			t.Errorf("a variable is left in %s", all[i])
		}
	}
	return all
}

// TestMonitoringExamples holds what people copy against promtool: rules, their tests, Prometheus' configuration, and each query
// of the dashboard, as a rule.
func TestMonitoringExamples(t *testing.T) {
	promtool(t, "", "check", "config", monitoring+"prometheus.yml")
	promtool(t, "", "check", "rules", monitoring+"alerts.yml")
	promtool(t, "", "test", "rules", monitoring+"alerts_test.yml")
	tests, err := os.ReadFile(monitoring + "alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(alerts(t), -1) {
		if !regexp.MustCompile(`alertname: ` + name[1] + `\n\s+exp_alerts`).Match(tests) {
			t.Errorf("no test has %s fire", name[1])
		}
	}
	rules := "groups:\n- name: dashboard\n  rules:\n"
	for i, q := range queries(t) {
		expr, err := json.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		rules += fmt.Sprintf("  - record: panel:query%d\n    expr: %s\n", i, expr)
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

func alerts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(monitoring + "alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMetrics scrapes a server that booted a machine, over TCP as Prometheus does.
func TestMetrics(t *testing.T) {
	l := newLab(t)
	config := filepath.Join(l.dir, "server.hcl")
	if err := os.WriteFile(config, []byte(`listen { metrics = "127.0.0.1:9100" }`), 0o644); err != nil {
		t.Fatal(err)
	}
	repo := l.repository()
	s := l.serve("-config="+config, "-var", "files="+l.files(), repo)
	l.lease("-x", "0x5d:0000")
	l.inMachine("curl", "-sS", "-o", filepath.Join(l.dir, "loader"), "tftp://10.77.0.1/undionly.kpxe")
	for range 2 { // a boot, then another before the first is ready
		l.script(machineMAC)
		l.lease("-x", "0x5d:0000", "-V", "PXEClient")
	}
	fetch := func(path string) string {
		return must(t, "ip", "netns", "exec", l.server, "curl", "-sS", "http://127.0.0.1:9100"+path)
	}
	text := fetch("/metrics")
	if out := promtool(t, text, "check", "metrics"); strings.Contains(out, "hostler_") {
		t.Errorf("promtool finds fault: %s", out)
	}
	t.Run("values", func(t *testing.T) {
		for _, line := range []string{
			`hostler_dhcp_messages_total{direction="out",result="ok",subnet="lab",type="ack"} 3`,
			`hostler_tftp_transfers_total{result="ok"} 1`,
			`hostler_tftp_sent_bytes_total 93955`,
			`hostler_http_requests_total{code="200",handler="script"} 2`,
			`hostler_nodes{state="booting",subnet="lab"} 1`,
			`hostler_nodes{state="unseen",subnet="lab"} 1`,
			`hostler_health{check="config"} 1`,
			`hostler_boot_stage_seconds_count{image="busybox",stage="script"} 1`,
		} {
			if !strings.Contains(text, "\n"+line+"\n") {
				t.Errorf("not there: %s", line)
			}
		}
		for _, secret := range []string{machineMAC, "10.77.0.11", "bios1"} {
			if strings.Contains(text, secret) {
				t.Errorf("a label or a help text holds %s", secret)
			}
		}
	})
	t.Run("what the examples use is there", func(t *testing.T) {
		used := regexp.MustCompile(`\bhostler_[a-z_]+\b`).FindAllString(alerts(t)+strings.Join(queries(t), "\n"), -1)
		for _, name := range used {
			if !strings.Contains(text, "\n"+name+"{") && !strings.Contains(text, "\n"+name+" ") && !strings.Contains(text, "\n"+name+"_bucket{") && !onlySometimes[name] {
				t.Errorf("%s is not among the metrics", name)
			}
		}
	})
	t.Run("everything is documented", func(t *testing.T) {
		doc, err := os.ReadFile("../../docs/operating.md")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^# TYPE (hostler_\S+)`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(doc), "`"+m[1]+"`") {
				t.Errorf("docs/operating.md does not name %s", m[1])
			}
		}
	})
	t.Run("ready", func(t *testing.T) {
		if got := fetch("/readyz"); got != "ready\n" {
			t.Errorf("got %s", got)
		}
		if got := fetch("/healthz"); got != "ok\n" {
			t.Errorf("got %s", got)
		}
		edit(t, filepath.Join(repo, "lab.boot.hcl"), "hugepages = 64", "hugepages = = 64")
		l.commit(repo, "a mistake")
		s.eventually("the mistake in /readyz", func() bool { return fetch("/readyz") == "degraded  config\nready, but degraded\n" })
		if out, code := s.hostler("status"); code != exitNo || !strings.Contains(out, "\nHealth      config degraded: still serving main@sha1:") {
			t.Errorf("exit %d: %s", code, out)
		}
	})
}

// onlySometimes are metrics of what this server does not have.
var onlySometimes = map[string]bool{
	"hostler_tls_certificate_expiry_timestamp_seconds": true, // without a TLS listener
	"hostler_boots_total":                              true, // before a boot has ended
	"hostler_nodes_stuck":                              true, // while no machine is
}
