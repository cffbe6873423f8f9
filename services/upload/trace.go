package upload

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
)

// traceJob goes on with the trace of the request, or the find, that the job came from.
func (s *Service) traceJob(ctx context.Context, job Upload) (context.Context, func()) {
	ctx, sp := s.tracer.Start(span.Continue(ctx, job.Trace), "upload "+job.Stage.String(), trace.WithSpanKind(trace.SpanKindConsumer))
	if sp.IsRecording() {
		sp.SetAttributes(attribute.String("segue.upload", job.ID), attribute.Int64("segue.attempt", int64(job.Attempts)+1))
	}
	return ctx, func() { sp.End() }
}

// traceFailure marks the span of a step that has failed for good. One whose trace is not
// kept leaves a span all the same.
func (s *Service) traceFailure(ctx context.Context, step string, began time.Time, code string) {
	sp := trace.SpanFromContext(ctx)
	if !sp.IsRecording() && s.tracer.On() {
		root := span.Root(context.Background(), trace.SpanContextFromContext(ctx).TraceID(), false)
		_, late := s.tracer.Start(root, "upload "+step, trace.WithTimestamp(began), trace.WithAttributes(span.Kept.String("error")))
		defer late.End()
		sp = late
	}
	sp.SetAttributes(attribute.String("segue.code", code))
	sp.SetStatus(codes.Error, code)
}

// found is the trace that begins with a file in the watched folder: nobody asked for it.
func (s *Service) found(ctx context.Context) string {
	ctx, sp := s.tracer.Start(span.Root(ctx, trace.TraceID{}, false), "upload found")
	sp.End()
	return span.Text(ctx)
}
