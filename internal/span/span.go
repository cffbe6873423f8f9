// Package span is how code below a request says what it does for it. Only what runs for
// a request that is being traced makes spans: for every other one [Start] costs a look
// at the context. The trace's id, which logs and events carry, is there for every
// request, kept or not, and also where no traces are sent at all.
package span

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/segue-music/segue/stream/id"
)

// Scope is the instrumentation scope of every span of Segue.
const Scope = "github.com/segue-music/segue"

// Start begins a span below the one in ctx. Where that one is not recorded nothing is
// begun, and the span returned records nothing.
func Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, noop.Span{}
	}
	return parent.TracerProvider().Tracer(Scope).Start(ctx, name, opts...)
}

// End ends a span that Start began, failed where err is not nil. An end that the caller
// asked for is no failure. The error's text is not kept: it may hold what a listener
// wrote.
func End(s trace.Span, err error) {
	if err != nil && !errors.Is(err, context.Canceled) && s.IsRecording() {
		s.SetStatus(codes.Error, "")
	}
	s.End()
}

// TraceID is the trace of ctx as 32 hex digits, or empty.
func TraceID(ctx context.Context) string {
	if sc := trace.SpanContextFromContext(ctx); sc.HasTraceID() {
		return sc.TraceID().String()
	}
	return ""
}

// OfPlay is the trace of one start of one track: the play id, which every part that
// handles the play knows, so that no header has to carry it. It is empty for what is no
// play id.
func OfPlay(playID string) string {
	p, err := id.Parse(playID)
	if err != nil || p.IsZero() {
		return ""
	}
	return hex.EncodeToString(p[:])
}

// Root is a context in which the next span is the first of the trace id: the trace goes
// on, but no span of another program is its parent. asked says that the client asks for
// the trace to be kept. An id of zero gets a fresh one with the first span.
func Root(ctx context.Context, id trace.TraceID, asked bool) context.Context {
	c := trace.SpanContextConfig{TraceID: id}
	if asked {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
}

// Link leads to another trace. Where only its id is known, as of an event, the span
// named is the id's second half: tools want one, and follow the trace alone.
func Link(traceID string, attrs ...attribute.KeyValue) (trace.Link, bool) {
	id, err := trace.TraceIDFromHex(traceID)
	if err != nil {
		return trace.Link{}, false
	}
	var of trace.SpanID
	copy(of[:], id[8:])
	if !of.IsValid() {
		of[7] = 1
	}
	return trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: of, Remote: true}), Attributes: attrs}, true
}

// Header is the header of W3C Trace Context. Its companion tracestate is neither read
// nor sent: nothing here needs it, and a stranger may fill it.
const Header = "Traceparent"

// Text is the span of ctx as a traceparent, or empty where there is none.
func Text(ctx context.Context) string { return text(trace.SpanContextFromContext(ctx)) }

func text(sc trace.SpanContext) string {
	if !sc.IsValid() {
		return ""
	}
	const digits = "0123456789abcdef"
	var b [textLen]byte
	b[0], b[1], b[2], b[35], b[52], b[53], b[54] = '0', '0', '-', '-', '-', '0', digits[sc.TraceFlags()&trace.FlagsSampled]
	t, s := sc.TraceID(), sc.SpanID()
	hex.Encode(b[3:35], t[:])
	hex.Encode(b[36:52], s[:])
	return string(b[:])
}

// textLen is the length of a traceparent of version 00.
const textLen = 55

// Parse reads a traceparent of version 00, and nothing else: anything a stranger could
// have made of it is no traceparent, and its sender gets a trace of their own.
func Parse(s string) (sc trace.SpanContext, ok bool) {
	if len(s) != textLen || s[:3] != "00-" || s[35] != '-' || s[52] != '-' {
		return sc, false
	}
	id, err1 := trace.TraceIDFromHex(s[3:35]) // refuses upper case and zero
	of, err2 := trace.SpanIDFromHex(s[36:52])
	var flags [1]byte
	_, err3 := hex.Decode(flags[:], []byte(s[53:]))
	if err := errors.Join(err1, err2, err3); err != nil || s[53] > 'f' || s[54] > 'f' || s[53] >= 'A' && s[53] <= 'F' || s[54] >= 'A' && s[54] <= 'F' {
		return sc, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: id, SpanID: of, TraceFlags: trace.TraceFlags(flags[0]) & trace.FlagsSampled, Remote: true,
	}), true
}

// Inject writes the trace of ctx into the header of a call.
func Inject(ctx context.Context, h http.Header) {
	if s := Text(ctx); s != "" {
		h[Header] = []string{s}
	}
}

// Extract continues the trace that a call's header names. It is for callers that were
// checked: what it names is believed.
func Extract(ctx context.Context, h http.Header) context.Context {
	if v := h[Header]; len(v) == 1 {
		return Continue(ctx, v[0])
	}
	return ctx
}

// Continue goes on with a trace that was kept as text, as by a job.
func Continue(ctx context.Context, text string) context.Context {
	if sc, ok := Parse(text); ok {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}
