// Package obs gives a process its log, its metrics and its traces.
package obs

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"

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
	Level     string
	Format    string
	TraceURL  string
	TraceRate float64
}

// RegisterFlags adds the settings under prefix.
func (c *Config) RegisterFlags(prefix string, fs *flag.FlagSet) {
	fs.StringVar(&c.Level, prefix+".log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.Format, prefix+".log-format", "text", "text or json")
	fs.StringVar(&c.TraceURL, prefix+".trace-url", "", "OTLP/HTTP endpoint for traces, such as http://127.0.0.1:4318; empty sends none")
	fs.Float64Var(&c.TraceRate, prefix+".trace-rate", 0.01, "share of traces kept, 0 to 1")
}

// Logger makes the log of a process.
func (c *Config) Logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log level: %w", err)
	}
	opt := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opt)), nil
	}
	return nil, fmt.Errorf("log format %q is not text or json", c.Format)
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

// Tracer makes the traces of a process; the function returned sends what is left.
func (c *Config) Tracer(ctx context.Context, target, version string) (trace.TracerProvider, func(context.Context) error, error) {
	if c.TraceURL == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	exp, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.TraceURL))
	if err != nil {
		return nil, nil, fmt.Errorf("open traces: %w", err)
	}
	tp := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exp),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.TraceRate))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "segue-"+target), attribute.String("service.version", version))),
	)
	return tp, tp.Shutdown, nil
}
