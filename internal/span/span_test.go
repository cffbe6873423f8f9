package span_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
)

const example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestParse(t *testing.T) {
	sc, ok := span.Parse(example)
	if !ok || !sc.IsSampled() || !sc.IsRemote() || sc.TraceID().String() != "4bf92f3577b34da6a3ce929d0e0e4736" {
		t.Fatalf("%v %v", sc, ok)
	}
	if got := span.Text(trace.ContextWithSpanContext(t.Context(), sc)); got != example {
		t.Errorf("written as %s", got)
	}
	for name, s := range map[string]string{
		"empty": "", "cut": example[:54], "longer": example + "-x", "other version": "01" + example[2:], "upper case": strings.ToUpper(example),
		"upper flags": example[:53] + "0F", "zero trace": "00-" + strings.Repeat("0", 32) + example[35:], "zero span": example[:36] + strings.Repeat("0", 16) + example[52:],
		"no hex": strings.Replace(example, "4bf", "xyz", 1), "dots": strings.ReplaceAll(example, "-", "."), "huge": strings.Repeat("0", 1<<20),
		"sign": example[:53] + "+1",
	} {
		if sc, ok := span.Parse(s); ok {
			t.Errorf("%s: taken as %v", name, sc)
		}
	}
}

// FuzzParse: what is taken is written the same, but for flags that nobody knows.
func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add(example[:53] + "ff")
	f.Add(example[:54])
	f.Fuzz(func(t *testing.T, s string) {
		sc, ok := span.Parse(s)
		if !ok {
			return
		}
		if !sc.IsValid() {
			t.Fatalf("%q is taken and not valid", s)
		}
		if got := span.Text(trace.ContextWithSpanContext(t.Context(), sc)); got[:53] != s[:53] {
			t.Errorf("%q is written as %q", s, got)
		}
	})
}

func TestExtract_OneHeader(t *testing.T) {
	h := http.Header{}
	h.Add(span.Header, example)
	if got := span.TraceID(span.Extract(t.Context(), h)); got != example[3:35] {
		t.Errorf("trace %q", got)
	}
	h.Add(span.Header, strings.Replace(example, "4bf", "000", 1))
	if got := span.TraceID(span.Extract(t.Context(), h)); got != "" {
		t.Errorf("of two headers %q is taken", got)
	}
}

// TestTracer_Off: without a provider every trace has its id all the same.
func TestTracer_Off(t *testing.T) {
	ctx, s := span.Tracer{}.Start(t.Context(), "x")
	first := span.TraceID(ctx)
	if s.IsRecording() || len(first) != 32 || span.Text(ctx) == "" {
		t.Fatalf("recording %v, trace %q, text %q", s.IsRecording(), first, span.Text(ctx))
	}
	if again, _ := (span.Tracer{}).Start(ctx, "y"); span.TraceID(again) != first {
		t.Error("the trace changes on its way")
	}
	id := trace.TraceID{1, 2, 3}
	if ctx, _ := (span.Tracer{}).Start(span.Root(t.Context(), id, false), "x"); span.TraceID(ctx) != id.String() || span.Text(ctx) == "" {
		t.Errorf("the trace asked for is %q", span.TraceID(ctx))
	}
}

// TestStart_OnlyBelowRecorded also holds Root to its promise: the id goes on, no parent.
func TestStart_OnlyBelowRecorded(t *testing.T) {
	mem := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem))
	id := trace.TraceID{9, 15: 1}
	ctx, root := span.NewTracer(tp).Start(span.Root(t.Context(), id, false), "root")
	_, child := span.Start(ctx, "child")
	span.End(child, nil)
	span.End(root, context.DeadlineExceeded)
	_, lost := span.Start(t.Context(), "lost")
	span.End(lost, nil)
	got := mem.GetSpans()
	if len(got) != 2 || got[0].Name != "child" || got[0].Parent.SpanID() != got[1].SpanContext.SpanID() {
		t.Fatalf("%+v", got)
	}
	if got[1].SpanContext.TraceID() != id || got[1].Parent.HasSpanID() || got[1].Status.Code.String() != "Error" {
		t.Errorf("root %+v", got[1])
	}
}
