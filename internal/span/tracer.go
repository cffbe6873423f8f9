package span

import (
	"context"
	"crypto/rand"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// Kept asks for a span, the first of its trace, to be recorded whatever the share of
// traces kept: what is rare, or went wrong. The value says why: "error", "slow",
// "background". How many are kept so is bounded.
const Kept = attribute.Key("segue.kept")

// Tracer begins the first spans of traces: where a request comes in, or work begins by
// itself. The zero Tracer, and one of nil, record nothing, but give every trace its id.
type Tracer struct {
	tracer trace.Tracer
}

// NewTracer makes the tracer of a provider; nil, or one that records nothing, is none.
func NewTracer(tp trace.TracerProvider) Tracer {
	switch tp.(type) {
	case nil, noop.TracerProvider, *noop.TracerProvider:
		return Tracer{}
	}
	return Tracer{tp.Tracer(Scope)}
}

// On reports whether traces are sent.
func (t Tracer) On() bool { return t.tracer != nil }

// Start begins a span: below that of ctx, or the first of a trace. After it ctx has a
// trace id in any case.
func (t Tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if t.tracer != nil {
		return t.tracer.Start(ctx, name, opts...)
	}
	sc := trace.SpanContextFromContext(ctx)
	if sc.IsValid() {
		return ctx, noop.Span{}
	}
	// Tracing is off: the ids are made here, for logs, events and the calls that follow.
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails
	random[15] |= 1
	random[23] |= 1
	c := trace.SpanContextConfig{TraceID: sc.TraceID()}
	if !c.TraceID.IsValid() {
		c.TraceID = trace.TraceID(random[:16])
	}
	c.SpanID = trace.SpanID(random[16:])
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c)), noop.Span{}
}
