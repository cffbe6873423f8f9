package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event"
)

// offset picks one partition of a listing.
func (l *Log) offset(list kadm.ListedOffsets, err error, topic string, partition int32) (int64, error) {
	if err == nil {
		o, ok := list.Lookup(topic, partition)
		if !ok {
			return 0, event.ErrTopic
		}
		if o.Err == nil {
			return o.Offset, nil
		}
		err = o.Err
	}
	return 0, l.mapError(err)
}

// Bounds implements [event.Log].
func (l *Log) Bounds(ctx context.Context, topic string, partition int32) (first, next int64, err error) {
	if err := l.check(ctx, topic, partition); err != nil {
		return 0, 0, err
	}
	list, err := l.admin.ListStartOffsets(ctx, l.name(topic))
	if first, err = l.offset(list, err, l.name(topic), partition); err != nil {
		return 0, 0, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	list, err = l.admin.ListEndOffsets(ctx, l.name(topic))
	if next, err = l.offset(list, err, l.name(topic), partition); err != nil {
		return 0, 0, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	return first, next, nil
}

// OffsetAt implements [event.Log]. Kafka's times are whole milliseconds.
func (l *Log) OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error) {
	if err := l.check(ctx, topic, partition); err != nil {
		return 0, err
	}
	ms := t.Add(time.Millisecond - time.Nanosecond).UnixMilli() // the first that is t or later
	list, err := l.admin.ListOffsetsAfterMilli(ctx, max(0, ms), l.name(topic))
	at, err := l.offset(list, err, l.name(topic), partition)
	if err != nil {
		return 0, fmt.Errorf("seek in %s: %w", topic, err)
	}
	return at, nil
}

// quiet is how long a read without follow waits before it asks what is still kept.
const quiet = 2 * time.Second

// Read implements [event.Log], with a connection of its own.
func (l *Log) Read(ctx context.Context, topic string, partition int32, from int64, follow bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		open, stop := l.whileOpen(ctx)
		defer stop()
		if err := l.read(open, topic, partition, from, follow, yield); err != nil {
			yield(event.Record{}, fmt.Errorf("read %s: %w", topic, l.mapError(err)))
		}
	}
}

func (l *Log) read(ctx context.Context, topic string, partition int32, from int64, follow bool, yield func(event.Record, error) bool) error {
	first, end, err := l.Bounds(ctx, topic, partition)
	if err != nil {
		return err
	}
	next := max(first, from)
	if !follow && next >= end {
		return nil
	}
	client, err := l.connect(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.name(topic): {partition: kgo.NewOffset().At(min(next, end))}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches, err := poll(ctx, client, follow)
		if errors.Is(err, errQuiet) {
			// Records are due and none come: retention has taken them since.
			if first, _, err = l.Bounds(ctx, topic, partition); err == nil && first >= end {
				return nil
			}
		}
		if err != nil {
			return err
		}
		for r := range fetches.RecordsAll() {
			if r.Offset < next {
				continue
			}
			if !follow && r.Offset >= end {
				return nil
			}
			if !yield(l.record(r), nil) {
				return nil
			}
			next = r.Offset + 1
		}
		if !follow && next >= end {
			return nil
		}
	}
}

var errQuiet = errors.New("no records for a while")

// poll waits for records, without follow only for a while.
func poll(ctx context.Context, client *kgo.Client, follow bool) (kgo.Fetches, error) {
	limited := ctx
	if !follow {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, quiet)
		defer cancel()
	}
	fetches := client.PollFetches(limited)
	err := fetches.Err()
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, errQuiet
	}
	return fetches, err
}

func (l *Log) record(r *kgo.Record) event.Record {
	out := event.Record{
		Topic: strings.TrimPrefix(r.Topic, l.opt.Prefix), Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UTC(), Key: r.Key, Value: r.Value,
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, event.Header{Name: h.Key, Value: h.Value})
	}
	return out
}
