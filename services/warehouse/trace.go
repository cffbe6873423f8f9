package warehouse

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
)

// linksMost bounds the traces that the span of one file links to: a file may hold rows of
// many thousands.
const linksMost = 32

// traceFile begins the span of one file of the lake, with links to the traces whose
// events it holds, the first of them. Files are few, so it is kept whether or not the
// others are: a click's trace is found from the row, and the row from the click's trace.
func (s *Service) traceFile(ctx context.Context, p place, rows []Row) (context.Context, func(error)) {
	if !s.tracer.On() {
		return ctx, func(error) {}
	}
	var links []trace.Link
	seen := map[string]bool{}
	for i := range rows {
		id := rows[i].Envelope.GetTraceId()
		if seen[id] {
			continue
		}
		seen[id] = true
		if l, ok := span.Link(id, attribute.String("segue.event", rows[i].Envelope.GetId())); ok && len(links) < linksMost {
			links = append(links, l)
		}
	}
	ctx, sp := s.tracer.Start(ctx, "lake file", trace.WithLinks(links...), trace.WithAttributes(
		span.Kept.String("background"), attribute.String("segue.topic", p.topic), attribute.Int64("segue.partition", int64(p.partition)),
		attribute.Int("segue.events", len(rows)), attribute.Int("segue.traces", len(seen)),
	))
	return ctx, func(err error) { span.End(sp, err) }
}
