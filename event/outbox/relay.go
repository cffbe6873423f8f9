package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/span"
)

const (
	relayBatch  = 256
	retryFirst  = 50 * time.Millisecond
	retryMost   = 5 * time.Second
	forgetEvery = time.Hour
)

// Relay moves events of an outbox to the log. One runs per process and outbox.
type Relay struct {
	box    Source
	pub    *event.Publisher
	log    *slog.Logger
	forgot time.Time // when replies were last dropped

	tracer span.Tracer
}

// NewRelay makes the relay of an outbox.
func NewRelay(box Source, log event.Log, logger *slog.Logger) *Relay {
	return &Relay{box: box, pub: event.NewPublisher(log, box.Owner()), log: logger}
}

// Trace sends a span for each batch with events of a trace that is kept. It is for
// before Run.
func (r *Relay) Trace(tp trace.TracerProvider) { r.tracer = span.NewTracer(tp) }

// Run publishes until ctx ends, which is no error. It begins with what was left behind
// and is then woken by every commit. While the log or the database is away it tries
// again, at most every 5 s; a log that has failed for good or a closed database ends it
// with that error.
func (r *Relay) Run(ctx context.Context) error {
	retry := retryFirst
	for {
		again, err := r.drain(ctx)
		woken := r.box.Woken()
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // ctx has ended
		case errors.Is(err, event.ErrFailed), errors.Is(err, event.ErrClosed), errors.Is(err, ErrClosed):
			return fmt.Errorf("relay outbox: %w", err)
		case err != nil:
			r.log.WarnContext(ctx, "outbox waits", "owner", r.box.Owner(), "retry", retry, "err", err)
			again, woken = retry, nil
			retry = min(2*retry, retryMost)
		default:
			retry = retryFirst
		}
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-woken:
		case <-timer:
		case <-ctx.Done():
		}
	}
}

// drain publishes until the outbox is empty, and says when to look again by itself.
func (r *Relay) drain(ctx context.Context) (again time.Duration, err error) {
	for {
		t, err := r.box.Take(ctx, relayBatch, r.publish)
		if err != nil {
			return 0, fmt.Errorf("take from outbox: %w", err)
		}
		if t.Events == 0 {
			return t.Again, r.forget(ctx)
		}
	}
}

// linksMost bounds the links of a batch's span.
const linksMost = 32

// publish gives a batch to the log. It is no part of the requests that wrote the events,
// which did not wait for it, so its span links to theirs.
func (r *Relay) publish(ctx context.Context, b Batch) (err error) {
	if links := r.links(b.Traces); len(links) > 0 {
		var sp trace.Span
		ctx, sp = r.tracer.Start(ctx, "outbox relay", trace.WithNewRoot(), trace.WithLinks(links...), trace.WithAttributes(
			attribute.String("segue.owner", string(r.box.Owner())), attribute.Int("segue.events", len(b.Records))))
		defer func() { span.End(sp, err) }()
	}
	if err := r.pub.Append(ctx, b.Records...); err != nil {
		return fmt.Errorf("publish outbox: %w", err)
	}
	return nil
}

// links lead to what wrote the events of a batch.
func (r *Relay) links(traces []string) (links []trace.Link) {
	if !r.tracer.On() {
		return nil
	}
	for _, text := range traces {
		sc, ok := span.Parse(text)
		if !ok {
			continue
		}
		// Events of one change stand together.
		if n := len(links); n == 0 || !links[n-1].SpanContext.Equal(sc) {
			links = append(links, trace.Link{SpanContext: sc})
		}
		if len(links) == linksMost {
			break
		}
	}
	return links
}

// forget drops replies that are over their time, once an hour.
func (r *Relay) forget(ctx context.Context) error {
	now := r.box.Now()
	if now.Sub(r.forgot) < forgetEvery {
		return nil
	}
	if err := r.box.Forget(ctx); err != nil {
		return fmt.Errorf("drop idempotency keys: %w", err)
	}
	r.forgot = now
	return nil
}
