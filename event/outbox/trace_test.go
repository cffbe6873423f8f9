package outbox_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/internal/sqlitedb"
)

// TestRelay_Links: an event names the trace of the request that wrote it, and the relay's
// span links to that request's; events of requests that are not kept have no part in it.
func TestRelay_Links(t *testing.T) {
	f := setUp(t)
	mem := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(mem))
	ctx, request := span.NewTracer(tp).Start(t.Context(), "request")
	off, _ := span.Tracer{}.Start(t.Context(), "off")
	write := func(ctx context.Context, rev int) {
		e := envelope(t, "upload:1", rev)
		if err := f.db.Write(ctx, func(tx *sqlitedb.Tx) error { return f.box.Add(ctx, tx, event.Upload, "1", e) }); err != nil {
			t.Fatal(err)
		}
	}
	write(ctx, 1)
	write(ctx, 2)
	write(off, 3)
	request.End()

	run, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	relay := outbox.NewRelay(f.box, f.log, slog.New(slog.DiscardHandler))
	relay.Trace(tp)
	done := make(chan error, 1)
	go func() { done <- relay.Run(run) }()
	var traces []string
	for r, err := range f.log.Read(run, event.Upload, 0, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if traces = append(traces, e.GetTraceId()); len(traces) == 3 {
			break
		}
	}
	for n, err := f.box.Pending(run); n > 0 || err != nil; n, err = f.box.Pending(run) {
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if of := request.SpanContext().TraceID().String(); traces[0] != of || traces[1] != of || traces[2] != span.TraceID(off) {
		t.Errorf("events are of %v, the request is %s", traces, of)
	}
	found := 0
	for _, s := range mem.GetSpans() {
		if s.Name != "outbox relay" {
			continue
		}
		found++
		if len(s.Links) != 1 || !s.Links[0].SpanContext.Equal(request.SpanContext().WithRemote(true)) || s.SpanContext.TraceID() == request.SpanContext().TraceID() {
			t.Errorf("links %+v", s.Links)
		}
	}
	if found != 1 {
		t.Errorf("%d spans of the relay", found)
	}
}
