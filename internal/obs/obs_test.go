package obs

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
)

// kept starts n first spans, each of a trace that prepare names, and counts what is sent.
func kept(t *testing.T, share, asked float64, n int, prepare func(int) (context.Context, []trace.SpanStartOption)) int {
	t.Helper()
	mem := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem), sdktrace.WithSampler(newSampler(share, asked)))
	for i := range n {
		ctx, opts := prepare(i)
		_, s := span.NewTracer(tp).Start(ctx, "x", opts...)
		s.End()
	}
	return len(mem.GetSpans())
}

func id(low uint64) (out trace.TraceID) {
	out[0] = 1
	binary.BigEndian.PutUint64(out[8:], low)
	return out
}

// TestSampler: whatever a stranger writes into ids and flags, what is kept is bounded.
func TestSampler(t *testing.T) {
	const many = 20_000
	// The bounds are per second: under them fits what comes in the time that a test takes.
	within := func(name string, got, least, rate int, began time.Time) {
		t.Helper()
		most := 10*rate + int(float64(rate)*(time.Since(began).Seconds()+1))
		if got < least || got > most {
			t.Errorf("%s: %d kept, want %d to %d", name, got, least, most)
		}
	}
	began := time.Now()
	within("flag", kept(t, 0, 1, many, func(i int) (context.Context, []trace.SpanStartOption) {
		return span.Root(t.Context(), id(1<<63|uint64(i)), true), nil
	}), 5, 1, began)
	began = time.Now()
	within("chosen id", kept(t, 0.01, 0, many, func(int) (context.Context, []trace.SpanStartOption) {
		return span.Root(t.Context(), id(1), false), nil
	}), 2*mostBegun, mostBegun, began)
	began = time.Now()
	within("marked", kept(t, 0, 0, many, func(int) (context.Context, []trace.SpanStartOption) {
		return t.Context(), []trace.SpanStartOption{trace.WithAttributes(span.Kept.String("error"))}
	}), 10*mostKept, mostKept, began)
	if n := kept(t, 0, 0, many, func(i int) (context.Context, []trace.SpanStartOption) {
		return span.Root(t.Context(), id(uint64(i)), true), nil
	}); n != 0 {
		t.Errorf("off for everyone: %d kept", n)
	}
	parent := func(flags trace.TraceFlags) (context.Context, []trace.SpanStartOption) {
		return trace.ContextWithRemoteSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: id(1), SpanID: trace.SpanID{1}, TraceFlags: flags, Remote: true,
		})), nil
	}
	if n := kept(t, 0, 0, many, func(int) (context.Context, []trace.SpanStartOption) { return parent(trace.FlagsSampled) }); n != many {
		t.Errorf("of a parent that is kept: %d", n)
	}
	if n := kept(t, 1, 100, many, func(int) (context.Context, []trace.SpanStartOption) { return parent(0) }); n != 0 {
		t.Errorf("of a parent that is not kept: %d", n)
	}
	if n := kept(t, 0, 0, 1, func(int) (context.Context, []trace.SpanStartOption) {
		c := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id(1), SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
		return t.Context(), []trace.SpanStartOption{trace.WithLinks(trace.Link{SpanContext: c})}
	}); n != 1 {
		t.Error("what links to a trace that is kept is not")
	}
}

func TestLogger_NamesTheTrace(t *testing.T) {
	var out bytes.Buffer
	c := Config{Level: "info", Format: "json"}
	log, err := c.Logger(&out)
	if err != nil {
		t.Fatal(err)
	}
	ctx := span.Root(t.Context(), id(7), false)
	log.With("a", 1).WithGroup("g").InfoContext(ctx, "with")
	log.InfoContext(t.Context(), "without")
	lines := strings.Split(out.String(), "\n")
	if !strings.Contains(lines[0], `"trace_id":"`+id(7).String()+`"`) || strings.Contains(lines[1], "trace_id") {
		t.Errorf("%s", out.String())
	}
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		good bool
	}{
		"default": {nil, true}, "all": {[]string{"-obs.trace-rate=1"}, true}, "over": {[]string{"-obs.trace-rate=1.1"}, false},
		"none": {[]string{"-obs.trace-rate=NaN"}, false}, "asked": {[]string{"-obs.trace-asked=-1"}, false},
	} {
		var conf Config
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		conf.RegisterFlags("obs", fs)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if err := conf.Check(); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
	for in, want := range map[string]string{
		"http://h:4318": "http://h:4318/v1/traces", "http://h:4318/": "http://h:4318/v1/traces", "https://h/otlp/v1/traces": "https://h/otlp/v1/traces",
	} {
		if got := tracesURL(in); got != want {
			t.Errorf("%s is %s", in, got)
		}
	}
}
