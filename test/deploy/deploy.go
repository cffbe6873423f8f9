// Package deploy reads what is in deploy/: the alerts, the dashboard and the queries in
// them, for the tests that hold them to the programs and to the runbooks.
package deploy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Rule is an alert, or a rate that alerts are made from.
type Rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

// Rules reads the rules of the repository at root.
func Rules(root string) ([]Rule, error) {
	b, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/segue.rules.yml"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Groups []struct {
			Name     string `yaml:"name"`
			Interval string `yaml:"interval"`
			Rules    []Rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("read rules: %w", err)
	}
	var out []Rule
	for _, g := range file.Groups {
		out = append(out, g.Rules...)
	}
	return out, nil
}

// Panel is one of the dashboard.
type Panel struct {
	Type, Title string
	Targets     []struct{ Expr string }
}

// Dashboard reads the panels of the dashboard, and the queries of its variables and
// annotations as panels of their own.
func Dashboard(root string) ([]Panel, error) {
	b, err := os.ReadFile(filepath.Join(root, "deploy/grafana/segue.json"))
	if err != nil {
		return nil, err
	}
	var d struct {
		Panels      []Panel
		Annotations struct {
			List []struct{ Name, Expr string }
		}
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return nil, fmt.Errorf("read dashboard: %w", err)
	}
	for _, a := range d.Annotations.List {
		d.Panels = append(d.Panels, Panel{"annotation", a.Name, []struct{ Expr string }{{a.Expr}}})
	}
	return d.Panels, nil
}

var (
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	// labels are within braces or follow one of the words that take a list of them.
	braces   = regexp.MustCompile(`\{[^}]*\}`)
	grouping = regexp.MustCompile(`\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)`)
	ranges   = regexp.MustCompile(`\[[^\]]*\]`)
	word     = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
)

// metric tells names of metrics from the words of the language: they have an underscore
// or a colon, but for Prometheus' own up.
func metric(w string) bool {
	switch w {
	case "histogram_quantile", "clamp_min", "clamp_max", "predict_linear", "label_values", "label_replace", "avg_over_time", "max_over_time":
		return false
	}
	return w == "up" || strings.ContainsAny(w, "_:")
}

// Metrics are the names of metrics in a query.
func Metrics(expr string) []string {
	e := quoted.ReplaceAllString(expr, `""`)
	e = braces.ReplaceAllString(e, " ")
	e = grouping.ReplaceAllString(e, " ")
	e = ranges.ReplaceAllString(e, " ")
	var out []string
	for _, w := range word.FindAllString(e, -1) {
		if metric(w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}

// NodeExporter are the metrics that come from the machine's own exporter, as
// docs/operations/README.md says.
func NodeExporter() []string { return []string{"node_timex_offset_seconds", "node_timex_sync_status"} }

// Prometheus are the metrics that Prometheus makes itself.
func Prometheus() []string { return []string{"up"} }

// Spool are the metrics of processes with -event.spool.
func Spool() []string {
	return []string{"segue_event_spool_oldest_seconds", "segue_event_spool_refused_total"}
}

// Postgres are the metrics of processes with -postgres.url.
func Postgres() []string {
	return []string{
		"segue_postgres_busy_connections", "segue_postgres_connections", "segue_postgres_max_connections", "segue_postgres_retries_total",
		"segue_postgres_waits_total", "segue_postgres_connects_total", "segue_postgres_writes_total", "segue_postgres_failed_writes_total",
	}
}

// Cassandra are the metrics of processes with -cassandra.hosts.
func Cassandra() []string {
	return []string{
		"segue_cassandra_failures_total", "segue_cassandra_refused_total", "segue_cassandra_resolved_total", "segue_cassandra_seconds", "segue_cassandra_seconds_bucket",
		"segue_cassandra_seconds_count",
	}
}

// Redis are the metrics of processes with -redis.addr.
func Redis() []string {
	return []string{"segue_redis_up", "segue_redis_calls_total", "segue_redis_call_seconds", "segue_redis_call_seconds_bucket", "segue_redis_connections"}
}

// Calls are the metrics of processes with -rpc.listen or -rpc.peers.
func Calls() []string {
	return []string{"segue_rpc_shed_total", "segue_rpc_repeated_total", "segue_rpc_breaker_refused_total", "segue_rpc_instances"}
}

// SQLite are the metrics of processes whose store is in their data folder.
func SQLite() []string {
	return []string{"segue_sqlite_wal_bytes", "segue_sqlite_waiting_writes", "segue_sqlite_writes_total", "segue_sqlite_commits_total", "segue_sqlite_write_seconds_bucket", "segue_sqlite_write_seconds_count"}
}
