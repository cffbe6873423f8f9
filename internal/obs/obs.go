// Package obs gives a process its log, its metrics and its traces.
package obs

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/url"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Config of a process's own reports.
type Config struct {
	Level      string
	Format     string
	TraceURL   string
	TraceRate  float64
	TraceAsked float64
}

// RegisterFlags adds the settings under prefix.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Level, prefix+".log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.Format, prefix+".log-format", "text", "text or json")
	fs.StringVar(&c.TraceURL, prefix+".trace-url", "", "OTLP/HTTP endpoint for traces, such as http://127.0.0.1:4318; empty sends none")
	fs.Float64Var(&c.TraceRate, prefix+".trace-rate", 0.01, "share of traces kept, 0 to 1")
	fs.Float64Var(&c.TraceAsked, prefix+".trace-asked", 1, "traces a second kept beyond that because a client asks for it, 0 or more")
}

// Metrics makes a registry with what every Go process tells, and the page that shows it.
func Metrics(version string) (*prometheus.Registry, http.Handler) {
	reg := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "segue_build_info", Help: "1, with the version as a label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	reg.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{})
}

// Check refuses settings that cannot work.
func (c *Config) Check() error {
	switch {
	case !(c.TraceRate >= 0 && c.TraceRate <= 1):
		return fmt.Errorf("trace rate %v is not between 0 and 1", c.TraceRate)
	case !(c.TraceAsked >= 0 && c.TraceAsked <= 1000):
		return fmt.Errorf("trace asked %v is not between 0 and 1000", c.TraceAsked)
	}
	return nil
}

// Tracer makes the traces of a process; the function returned sends what is left. Spans
// wait in memory, and are dropped where the endpoint does not take them: nothing else
// waits for it.
func (c *Config) Tracer(ctx context.Context, target, version string) (trace.TracerProvider, func(context.Context) error, error) {
	if c.TraceURL == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	exp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(tracesURL(c.TraceURL)))
	if err != nil {
		return nil, nil, fmt.Errorf("open traces: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.AttributeValueLengthLimit, limits.LinkCountLimit = 256, 64
	tp := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exp),
		sdktrace.WithRawSpanLimits(limits),
		sdktrace.WithSampler(newSampler(c.TraceRate, c.TraceAsked)),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "segue-"+target), attribute.String("service.version", version))),
	)
	return tp, tp.Shutdown, nil
}

// tracesURL adds OTLP's own path where the endpoint has none.
func tracesURL(at string) string {
	if u, err := url.Parse(at); err == nil && (u.Path == "" || u.Path == "/") {
		return u.JoinPath("/v1/traces").String()
	}
	return at
}
