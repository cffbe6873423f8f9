package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/test/deploy"
)

const root = "../.."

func rules(t *testing.T) []deploy.Rule {
	t.Helper()
	all, err := deploy.Rules(root)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestAlerts_Runbooks: every alert says how bad it is, what it means and where its runbook
// is; the runbook is there, and there is none without an alert.
func TestAlerts_Runbooks(t *testing.T) {
	const dir = root + "/docs/operations/runbooks"
	alerts := map[string]bool{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts[r.Alert] = true
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", r.Alert, s)
		}
		for _, a := range []string{"summary", "description", "runbook_url"} {
			if r.Annotations[a] == "" {
				t.Errorf("%s has no %s", r.Alert, a)
			}
		}
		if want := "/docs/operations/runbooks/" + r.Alert + ".md"; !strings.HasSuffix(r.Annotations["runbook_url"], want) {
			t.Errorf("%s leads to %s", r.Alert, r.Annotations["runbook_url"])
		}
		b, err := os.ReadFile(filepath.Join(dir, r.Alert+".md"))
		if err != nil {
			t.Errorf("%s has no runbook: %v", r.Alert, err)
			continue
		}
		for _, part := range []string{"# " + r.Alert + "\n", "**Means.**", "**Listeners notice.**", "**Confirm.**", "**Mitigate.**", "**Fix.**"} {
			if !strings.Contains(string(b), part) {
				t.Errorf("the runbook of %s has no %q", r.Alert, part)
			}
		}
	}
	if len(alerts) < 15 {
		t.Errorf("only %d alerts were read", len(alerts))
	}
	files, err := filepath.Glob(dir + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimSuffix(filepath.Base(f), ".md"); !alerts[name] {
			t.Errorf("the runbook %s is of no alert", name)
		}
	}
}

// TestAlerts_Tested: each alert has a test in which it fires and one in which it does not.
func TestAlerts_Tested(t *testing.T) {
	b, err := os.ReadFile(root + "/deploy/prometheus/segue.rules.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		for _, what := range []string{" fires\n", " stays quiet\n"} {
			if !strings.Contains(string(b), "name: "+r.Alert+what) {
				t.Errorf("no test %q of %s", strings.TrimSpace(what), r.Alert)
			}
		}
	}
}

var code = regexp.MustCompile("(?s)```(?:promql)?\n(.*?)```")

// TestRunbooks_Metrics: the metrics that runbooks speak of are those of alerts or of the
// dashboard, which are held to the live page.
func TestRunbooks_Metrics(t *testing.T) {
	var known []string
	for _, r := range rules(t) {
		known = append(known, r.Record)
		known = append(known, deploy.Metrics(r.Expr)...)
	}
	panels, err := deploy.Dashboard(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range panels {
		for _, target := range p.Targets {
			known = append(known, deploy.Metrics(target.Expr)...)
		}
	}
	files, _ := filepath.Glob(root + "/docs/operations/runbooks/*.md")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range code.FindAllStringSubmatch(string(b), -1) {
			for _, m := range deploy.Metrics(block[1]) {
				if strings.HasPrefix(m, "segue_") && !slices.Contains(known, m) {
					t.Errorf("%s speaks of %s, which no alert or panel has", filepath.Base(f), m)
				}
			}
		}
	}
}

func TestDashboard_Rows(t *testing.T) {
	panels, err := deploy.Dashboard(root)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, p := range panels {
		switch {
		case p.Type == "row":
			rows = append(rows, p.Title)
		case len(p.Targets) == 0:
			t.Errorf("the panel %q asks for nothing", p.Title)
		}
	}
	if diff := cmp.Diff([]string{"Listening", "Requests", "Ingest", "Event log", "Machine"}, rows); diff != "" {
		t.Error(diff)
	}
}

func TestMetrics(t *testing.T) {
	for expr, want := range map[string][]string{
		`sum by (le, x_y) (rate(a_b_total{l_l="c_d",m=~"$instance"}[5m])) / on (i_i) (e_f or vector(0))`: {"a_b_total", "e_f"},
		`segue:x:rate5m > 14.4 * 0.001 and up{job="a_b"} == 0`:                                           {"segue:x:rate5m", "up"},
		`histogram_quantile(0.9, sum by (le) (rate(a_bucket[$__rate_interval])))`:                        {"a_bucket"},
		`changes(process_start_time_seconds[1h]) unless x_y offset 10m`:                                  {"process_start_time_seconds", "x_y"},
	} {
		if diff := cmp.Diff(want, deploy.Metrics(expr)); diff != "" {
			t.Errorf("%s: %s", expr, diff)
		}
	}
}
