package spool

import (
	"context"
	"iter"
	"time"

	"github.com/segue-music/segue/event"
)

// Partitions implements [event.Log].
func (l *Log) Partitions(ctx context.Context, topic string) (int32, error) {
	next, err := l.ask(ctx, topic)
	if err != nil {
		return 0, err
	}
	return next.Partitions(ctx, topic)
}

// ask is the cluster's log for a question about a topic.
func (l *Log) ask(ctx context.Context, topic string) (event.Log, error) {
	if _, ok := event.Lookup(topic); !ok {
		return nil, event.ErrTopic // also while the cluster is away
	}
	return l.log(ctx)
}

// Read implements [event.Log].
func (l *Log) Read(ctx context.Context, topic string, partition int32, offset int64, follow bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		wait := l.log
		if follow {
			wait = l.await
		}
		next, err := wait(ctx)
		if err != nil {
			yield(event.Record{}, err)
			return
		}
		next.Read(ctx, topic, partition, offset, follow)(yield)
	}
}

// OffsetAt implements [event.Log].
func (l *Log) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	next, err := l.ask(ctx, topic)
	if err != nil {
		return 0, err
	}
	return next.OffsetAt(ctx, topic, partition, t)
}

// Bounds implements [event.Log].
func (l *Log) Bounds(ctx context.Context, topic string, partition int32) (first, end int64, err error) {
	next, err := l.ask(ctx, topic)
	if err != nil {
		return 0, 0, err
	}
	return next.Bounds(ctx, topic, partition)
}

// Commit implements [event.Log].
func (l *Log) Commit(ctx context.Context, group, topic string, partition int32, offset int64) error {
	next, err := l.ask(ctx, topic)
	if err != nil {
		return err
	}
	return next.Commit(ctx, group, topic, partition, offset)
}

// Committed implements [event.Log].
func (l *Log) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	next, err := l.ask(ctx, topic)
	if err != nil {
		return 0, err
	}
	return next.Committed(ctx, group, topic, partition)
}

// Consume implements [event.Log]. It waits for a cluster that was not reached yet.
func (l *Log) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	next, err := l.awaitFor(ctx, topics)
	if err != nil {
		return err
	}
	return next.Consume(ctx, group, topics, handle)
}

// Divide implements [event.Log]. It waits for a cluster that was not reached yet.
func (l *Log) Divide(ctx context.Context, group string, topics []string, work func(context.Context, event.Portion) error) error {
	next, err := l.awaitFor(ctx, topics)
	if err != nil {
		return err
	}
	return next.Divide(ctx, group, topics, work)
}

func (l *Log) awaitFor(ctx context.Context, topics []string) (event.Log, error) {
	for _, t := range topics {
		if _, ok := event.Lookup(t); !ok {
			return nil, event.ErrTopic // also while the cluster is away
		}
	}
	return l.await(ctx)
}
