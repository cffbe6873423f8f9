package stream

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// slowStart is from when on the start of a play whose trace is not kept leaves a span
// all the same.
const slowStart = time.Second

// playTracer is the [server.Tracer] of one transport. The trace of a play is its play
// id: a frame has no room for a header, and needs none.
//
// Two spans tell of a play: "PLAY", from the frame to the first record written or the
// refusal, and below it "PLAY stream", from there to the end of the stream. Nothing in
// them says who listens.
type playTracer struct {
	tracer    span.Tracer
	transport string
	now       func() time.Time
}

var _ server.Tracer = (*playTracer)(nil)

// Play implements [server.Tracer].
func (t *playTracer) Play(ctx context.Context, p *wire.Play, early bool) (context.Context, server.Trace) {
	x := &playTrace{t: t, play: p, early: early, began: t.now()}
	// By the fallback a request brought the frame, with a trace of its own.
	var links []trace.Link
	if by := trace.SpanContextFromContext(ctx); by.IsValid() && by.TraceID() != trace.TraceID(p.PlayID) {
		links = []trace.Link{{SpanContext: by}}
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}
	if trace.SpanFromContext(ctx).IsRecording() {
		opts = append(opts, trace.WithLinks(links...))
	}
	x.ctx, x.span = t.tracer.Start(span.Root(ctx, trace.TraceID(p.PlayID), false), "PLAY", opts...)
	x.describe()
	return x.ctx, x
}

// playTrace is one play that is followed.
type playTrace struct {
	t     *playTracer
	ctx   context.Context //nolint:containedctx // of the start, which is over before the play
	play  *wire.Play
	early bool
	began time.Time
	span  trace.Span // "PLAY", then "PLAY stream"
	sound bool       // the start succeeded
}

func (x *playTrace) describe() {
	if !x.span.IsRecording() {
		return
	}
	x.span.SetAttributes(
		attribute.String("segue.transport", x.t.transport), attribute.Bool("segue.early", x.early),
		attribute.Bool("segue.prefetch", x.play.Flags&wire.Prefetch != 0), attribute.Int64("segue.quality_kbps", int64(x.play.Quality.Kbps())),
		attribute.Int64("segue.from_ms", int64(min(x.play.FromMs, 1<<62))),
	)
}

// Verified implements [server.Trace].
func (x *playTrace) Verified() {
	if x.span.IsRecording() {
		x.span.AddEvent("ticket is genuine")
	}
}

// Started implements [server.Trace].
func (x *playTrace) Started() {
	x.sound = true
	if !x.span.IsRecording() {
		if x.t.now().Sub(x.began) >= slowStart {
			x.late("slow", "OK")
		}
		return
	}
	x.span.AddEvent("first record is written")
	x.finish("OK", false)
	_, x.span = span.Start(trace.ContextWithSpan(x.ctx, recorded{x.span}), "PLAY stream")
}

// recorded lets a span that has ended have children still: what goes on after it.
type recorded struct{ trace.Span }

func (recorded) IsRecording() bool { return true }

// Ended implements [server.Trace].
func (x *playTrace) Ended(err error) {
	code, failed := "OK", false
	if err != nil {
		c := wire.CodeOf(err)
		if errors.Is(err, context.Canceled) {
			c = wire.Cancelled // the client went away while others were asked
		}
		code, failed = c.String(), c == wire.Internal
	}
	if !x.span.IsRecording() && failed && !x.sound {
		x.late("error", code)
		return
	}
	x.finish(code, failed)
}

func (x *playTrace) finish(code string, failed bool) {
	if !x.span.IsRecording() {
		return
	}
	x.span.SetAttributes(attribute.String("segue.code", code))
	if failed {
		x.span.SetStatus(codes.Error, code)
	}
	x.span.End()
}

// late makes the span of a start whose trace is not kept, after the fact.
func (x *playTrace) late(why, code string) {
	if !x.t.tracer.On() {
		return
	}
	_, x.span = x.t.tracer.Start(span.Root(context.Background(), trace.TraceID(x.play.PlayID), false), "PLAY",
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.began), trace.WithAttributes(span.Kept.String(why)))
	x.describe()
	x.finish(code, code != "OK")
}
