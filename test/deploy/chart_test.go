//go:build deploy

package deploy_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const chart = root + "/deploy/helm/segue"

// object is what the tests read of an object of Kubernetes.
type object struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Replicas    *int
		PodSelector selector `yaml:"podSelector"`
		Ingress     []struct {
			From  []peer
			Ports []struct{ Port string }
		}
		Egress []struct {
			To    []peer
			Ports []struct{ Port string }
		}
		Groups   []map[string]any
		Template struct{ Spec pod }
	}
}

type selector struct {
	MatchLabels map[string]string `yaml:"matchLabels"`
}

type peer struct {
	PodSelector selector `yaml:"podSelector"`
}

func (s selector) component() string { return s.MatchLabels["app.kubernetes.io/component"] }

type pod struct {
	EnableServiceLinks *bool `yaml:"enableServiceLinks"`
	SecurityContext    struct {
		RunAsNonRoot bool `yaml:"runAsNonRoot"`
		RunAsUser    int  `yaml:"runAsUser"`
	} `yaml:"securityContext"`
	Containers []struct {
		Image string
		Args  []string
		Env   []struct {
			Name, Value string
			ValueFrom   any `yaml:"valueFrom"`
		}
		SecurityContext struct {
			ReadOnly     bool  `yaml:"readOnlyRootFilesystem"`
			Escalation   *bool `yaml:"allowPrivilegeEscalation"`
			Capabilities struct{ Drop, Add []string }
		} `yaml:"securityContext"`
		Resources struct{ Limits struct{ Memory string } }
	}
}

// render makes the chart's objects; HELM is the program, which scripts/check-deploy.sh names.
func render(t *testing.T, args ...string) []object {
	t.Helper()
	helm := os.Getenv("HELM")
	if helm == "" {
		t.Fatal("HELM is not set: make check-deploy sets it")
	}
	cmd := exec.Command(helm, append([]string{"template", "segue", chart, "-f", chart + "/ci/values.yaml"}, args...)...)
	var diag strings.Builder
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("helm template: %v\n%s", err, diag.String())
	}
	var all []object
	for dec := yaml.NewDecoder(bytes.NewReader(out)); ; {
		var o object
		err := dec.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("read what helm made: %v", err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}

func find(t *testing.T, all []object, kind, name string) object {
	t.Helper()
	for _, o := range all {
		if o.Kind == kind && o.Metadata.Name == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return object{}
}

// workload is the one that runs a target.
func workload(t *testing.T, all []object, target string) object {
	t.Helper()
	for _, o := range all {
		if (o.Kind == "Deployment" || o.Kind == "StatefulSet") && o.Metadata.Name == "segue-"+target {
			return o
		}
	}
	t.Fatalf("nothing runs %s", target)
	return object{}
}

// TestChart_Settings: the real program takes the settings of each pod.
func TestChart_Settings(t *testing.T) {
	for name, args := range map[string][]string{"certificates": nil, "in_the_clear": {"--set", "rpc.certificates="}} {
		t.Run(name, func(t *testing.T) { settings(t, render(t, args...)) })
	}
}

func settings(t *testing.T, all []object) {
	file := filepath.Join(t.TempDir(), "segue.yaml")
	if err := os.WriteFile(file, []byte(find(t, all, "ConfigMap", "segue").Data["segue.yaml"]), 0o600); err != nil {
		t.Fatal(err)
	}
	for target := range calls(t) {
		c := workload(t, all, target).Spec.Template.Spec.Containers[0]
		if !slices.Equal(c.Args, []string{"-config.file=/etc/segue/segue.yaml", "-target=" + target}) {
			t.Errorf("%s runs %q", target, c.Args)
			continue
		}
		var environ []string
		for _, e := range c.Env {
			if e.ValueFrom != nil {
				e.Value = "segue-edge-0"
			}
			environ = append(environ, e.Name+"="+e.Value)
		}
		if err := shipped(file, c.Args[1:], environ); err != nil {
			t.Errorf("%s would not start: %v", target, err)
		}
	}
}

// TestChart_LockedUp: no pod has more rights than it needs, none is told of services by
// variables that are no settings, and the Go heap ends below the limit.
func TestChart_LockedUp(t *testing.T) {
	all := render(t)
	for target := range calls(t) {
		p := workload(t, all, target).Spec.Template.Spec
		c := p.Containers[0]
		s := c.SecurityContext
		if !p.SecurityContext.RunAsNonRoot || p.SecurityContext.RunAsUser == 0 || !s.ReadOnly || s.Escalation == nil || *s.Escalation ||
			!slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || len(s.Capabilities.Add) > 0 {
			t.Errorf("%s is not locked up: %+v %+v", target, p.SecurityContext, s)
		}
		if p.EnableServiceLinks == nil || *p.EnableServiceLinks {
			t.Errorf("%s gets variables of services", target)
		}
		limit := bytesOf(t, c.Resources.Limits.Memory+"B")
		for _, e := range c.Env {
			if e.Name == "GOMEMLIMIT" && bytesOf(t, e.Value)*10 > limit*9 {
				t.Errorf("%s has a heap of %s in %s", target, e.Value, c.Resources.Limits.Memory)
			}
		}
	}
}

func bytesOf(t *testing.T, s string) int64 {
	t.Helper()
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(s, unit); ok {
			v, err := strconv.ParseInt(n, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return v << (10 * (i + 1))
		}
	}
	t.Fatalf("%q is no size", s)
	return 0
}

// TestChart_Network: who may call whom is the table, seen from both ends.
func TestChart_Network(t *testing.T) {
	all := render(t)
	in, out := map[string][]string{}, map[string][]string{}
	for target := range calls(t) {
		in[target], out[target] = []string{}, []string{}
	}
	for target := range in {
		p := find(t, all, "NetworkPolicy", "segue-"+target)
		if p.Spec.PodSelector.component() != target {
			t.Errorf("the policy of %s is about %v", target, p.Spec.PodSelector)
		}
		for _, rule := range p.Spec.Ingress {
			if rule.Ports[0].Port != "rpc" {
				continue
			}
			if len(rule.From) == 0 {
				t.Errorf("everybody calls %s", target)
			}
			for _, from := range rule.From {
				in[target] = append(in[target], from.PodSelector.component())
			}
		}
		for _, rule := range p.Spec.Egress {
			for _, to := range rule.To {
				callee := to.PodSelector.component()
				out[callee] = append(out[callee], target)
			}
		}
	}
	for callee := range out {
		slices.Sort(out[callee])
	}
	if diff := cmp.Diff(calls(t), in); diff != "" {
		t.Errorf("ingress: %s", diff)
	}
	if diff := cmp.Diff(calls(t), out); diff != "" {
		t.Errorf("egress: %s", diff)
	}
}

// TestChart_Rules: the alerts of the chart are those of deploy/prometheus.
func TestChart_Rules(t *testing.T) {
	b, err := os.ReadFile(root + "/deploy/prometheus/segue.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []map[string]any }
	if err := yaml.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(file.Groups, find(t, render(t), "PrometheusRule", "segue").Spec.Groups); diff != "" || len(file.Groups) == 0 {
		t.Error(diff)
	}
}

// TestChart_Shapes: who has events to tell has a disk on which they can wait; what keeps
// its data there too is one pod, and with its engine it scales.
func TestChart_Shapes(t *testing.T) {
	shape := func(all []object, target string) string {
		o := workload(t, all, target)
		switch {
		case slices.ContainsFunc(all, func(h object) bool { return h.Kind == "HorizontalPodAutoscaler" && h.Metadata.Name == o.Metadata.Name }):
			return o.Kind + " scales"
		case o.Spec.Replicas == nil:
			return o.Kind + " of nobody's number"
		default:
			return o.Kind + " " + strconv.Itoa(*o.Spec.Replicas)
		}
	}
	engines := map[string]string{
		"user": "StatefulSet scales", "metadata": "StatefulSet scales", "playback": "StatefulSet scales", "upload": "StatefulSet scales",
		"warehouse": "Deployment 1", "charts": "Deployment scales", "collect": "StatefulSet scales", "edge": "StatefulSet scales", "gateway": "Deployment scales",
	}
	embedded := maps.Clone(engines)
	for _, target := range []string{"user", "metadata", "playback", "upload", "charts"} {
		embedded[target] = "StatefulSet 1"
	}
	for want, args := range map[*map[string]string][]string{
		&engines: nil, &embedded: {"--set", "config.postgres.url=", "--set", "config.cassandra.hosts="},
	} {
		all := render(t, args...)
		got := map[string]string{}
		for target := range calls(t) {
			got[target] = shape(all, target)
		}
		if diff := cmp.Diff(*want, got); diff != "" {
			t.Errorf("with %q: %s", args, diff)
		}
	}
}

// TestChart_Refuses what it cannot make a cluster of.
func TestChart_Refuses(t *testing.T) {
	for name, args := range map[string][]string{
		"no_address":   {"--set", "publicURL="},
		"no_stream":    {"--set", "streamHost="},
		"misspelt":     {"--set", "ingres.enabled=true"},
		"no_replicas":  {"--set", "targets.edge.replicas=0"},
		"other_target": {"--set", "targets.radio.replicas=1"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Getenv("HELM"), append([]string{"template", "segue", chart, "-f", chart + "/ci/values.yaml"}, args...)...)
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("it was made: %.200s", out)
			}
		})
	}
}
