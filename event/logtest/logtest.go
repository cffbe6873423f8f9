// Package logtest checks that an engine keeps the promises of event.Log. It is ordinary
// code, so that an engine's test is three lines and the suite itself can be tested on
// logs that break a promise.
package logtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
)

// Check is one promise; Run returns an error where log, which must be empty, breaks it.
type Check struct {
	Name string
	Run  func(ctx context.Context, log event.Log) error
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"append_and_read", appendAndRead},
		{"append_much_at_once", appendMuch},
		{"order_per_key", orderPerKey},
		{"read_from_offset", readFromOffset},
		{"follow", follow},
		{"follow_ends_with_context", followEnds},
		{"time", times},
		{"committed_offsets", committed},
		{"consume", consume},
		{"consume_again_after_error", consumeAgain},
		{"consume_one_per_group", consumeOnce},
		{"divide", divide},
		{"divide_ends_with_error", divideEnds},
		{"bounds_of_records", bounds},
		{"unknown_topic", unknownTopic},
	}
}

// limit ends a check on a log that never delivers.
const limit = 20 * time.Second

// Run runs every check as a subtest on a log of its own.
func Run(t *testing.T, open func(t *testing.T) event.Log) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

const topic = event.Playback

func record(key string, i int) event.Record {
	return event.Record{
		Topic: topic, Key: []byte(key), Value: fmt.Appendf(nil, "%s/%d/%s", key, i, bytes.Repeat([]byte{'x'}, i%300)),
		Headers: []event.Header{{Name: "id", Value: fmt.Appendf(nil, "%s-%d", key, i)}},
	}
}

// all reads every partition to its end, by key in the order read.
func all(ctx context.Context, log event.Log) (map[string][]event.Record, error) {
	n, err := log.Partitions(ctx, topic)
	if err != nil {
		return nil, err
	}
	got := map[string][]event.Record{}
	for p := range n {
		last := event.Record{Offset: -1}
		for r, err := range log.Read(ctx, topic, p, 0, false) {
			if err != nil {
				return nil, err
			}
			if r.Topic != topic || r.Partition != p {
				return nil, fmt.Errorf("record of %s/%d says it is of %s/%d", topic, p, r.Topic, r.Partition)
			}
			if r.Offset <= last.Offset {
				return nil, fmt.Errorf("offset %d follows %d", r.Offset, last.Offset)
			}
			if r.Time.IsZero() || r.Time.Before(last.Time) {
				return nil, fmt.Errorf("time %v follows %v", r.Time, last.Time)
			}
			last = r
			got[string(r.Key)] = append(got[string(r.Key)], r)
		}
	}
	return got, nil
}

func same(what string, got []event.Record, want []event.Record) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		headers := slices.EqualFunc(g.Headers, w.Headers, func(a, b event.Header) bool {
			return a.Name == b.Name && bytes.Equal(a.Value, b.Value)
		})
		if !bytes.Equal(g.Key, w.Key) || !bytes.Equal(g.Value, w.Value) || !headers {
			return fmt.Errorf("%s: record %d is %.40q, want %.40q", what, i, g.Value, w.Value)
		}
	}
	return nil
}

func appendAndRead(ctx context.Context, log event.Log) error {
	var want []event.Record
	for i := range 50 {
		want = append(want, record("a", i))
		if err := log.Append(ctx, want[i]); err != nil {
			return err
		}
	}
	batch := []event.Record{record("a", 50), record("a", 51), {Topic: topic, Key: []byte("a"), Value: make([]byte, event.MaxValue)}}
	if err := log.Append(ctx, batch...); err != nil {
		return err
	}
	got, err := all(ctx, log)
	if err != nil {
		return err
	}
	if err := log.Append(ctx); err != nil {
		return fmt.Errorf("append nothing: %w", err)
	}
	big := event.Record{Topic: topic, Value: make([]byte, event.MaxValue+1)}
	if err := log.Append(ctx, big); !errors.Is(err, event.ErrTooLarge) {
		return fmt.Errorf("append over the bounds: %v", err)
	}
	return same("read back", got["a"], append(want, batch...))
}

// appendMuch appends more in one call than an engine writes at once.
func appendMuch(ctx context.Context, log event.Log) error {
	want := make([]event.Record, 40)
	for i := range want {
		want[i] = record("a", i)
		want[i].Value = append(want[i].Value, make([]byte, event.MaxValue-len(want[i].Value))...)
	}
	if err := log.Append(ctx, want...); err != nil {
		return err
	}
	got, err := all(ctx, log)
	if err != nil {
		return err
	}
	return same("read back", got["a"], want)
}

func orderPerKey(ctx context.Context, log event.Log) error {
	const producers, each = 16, 40
	errs := make([]error, producers)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := 0; i < each && errs[p] == nil; i += 2 {
				key := fmt.Sprintf("key-%d", p)
				errs[p] = log.Append(ctx, record(key, i), record(key, i+1))
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	got, err := all(ctx, log)
	if err != nil {
		return err
	}
	for p := range producers {
		key := fmt.Sprintf("key-%d", p)
		var want []event.Record
		for i := range each {
			want = append(want, record(key, i))
		}
		if err := same(key, got[key], want); err != nil {
			return err
		}
	}
	return nil
}

// fill appends n records of one key and returns them as read, all of one partition.
func fill(ctx context.Context, log event.Log, n int) ([]event.Record, error) {
	for i := range n {
		if err := log.Append(ctx, record("k", i)); err != nil {
			return nil, err
		}
	}
	got, err := all(ctx, log)
	if err != nil {
		return nil, err
	}
	if len(got["k"]) != n {
		return nil, fmt.Errorf("%d records, want %d", len(got["k"]), n)
	}
	return got["k"], nil
}

func readFromOffset(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 20)
	if err != nil {
		return err
	}
	for _, from := range []int{0, 7, 19} {
		var got []event.Record
		for r, err := range log.Read(ctx, topic, recs[0].Partition, recs[from].Offset, false) {
			if err != nil {
				return err
			}
			got = append(got, r)
		}
		if err := same(fmt.Sprintf("from record %d", from), got, recs[from:]); err != nil {
			return err
		}
	}
	for r, err := range log.Read(ctx, topic, recs[0].Partition, recs[19].Offset+1, false) {
		return fmt.Errorf("read from the end gives offset %d, error %v", r.Offset, err)
	}
	return nil
}

func follow(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 3)
	if err != nil {
		return err
	}
	var got []event.Record
	want := slices.Clone(recs)
	for r, err := range log.Read(ctx, topic, recs[0].Partition, recs[0].Offset, true) {
		if err != nil {
			return err
		}
		if got = append(got, r); len(got) == 8 {
			break
		}
		if len(got) >= 3 { // at the end: what it waits for comes now
			next := record("k", len(got))
			want = append(want, next)
			if err := log.Append(ctx, next); err != nil {
				return err
			}
		}
	}
	return same("followed", got, want)
}

func followEnds(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, err := range log.Read(ctx, topic, recs[0].Partition, recs[0].Offset, true) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		cancel()
	}
	return errors.New("a follower ends without the error of its context")
}

func times(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 30)
	if err != nil {
		return err
	}
	p := recs[0].Partition
	for _, i := range []int{0, 11, 29} {
		at := recs[i].Time
		want := slices.IndexFunc(recs, func(r event.Record) bool { return !r.Time.Before(at) })
		if got, err := log.OffsetAt(ctx, topic, p, at); err != nil || got != recs[want].Offset {
			return fmt.Errorf("offset at record %d: %d, %w, want %d", i, got, err, recs[want].Offset)
		}
	}
	if got, err := log.OffsetAt(ctx, topic, p, recs[0].Time.Add(-time.Hour)); err != nil || got != recs[0].Offset {
		return fmt.Errorf("offset before all: %d, %w, want %d", got, err, recs[0].Offset)
	}
	if got, err := log.OffsetAt(ctx, topic, p, recs[29].Time.Add(time.Hour)); err != nil || got != recs[29].Offset+1 {
		return fmt.Errorf("offset after all: %d, %w, want %d", got, err, recs[29].Offset+1)
	}
	return nil
}

func committed(ctx context.Context, log event.Log) error {
	for _, c := range []struct {
		group, topic string
		next         int64
	}{{"g1", topic, 5}, {"g2", topic, 7}, {"g1", event.Catalogue, 9}, {"g1", topic, 3}} {
		if err := log.Commit(ctx, c.group, c.topic, 0, c.next); err != nil {
			return err
		}
		if got, err := log.Committed(ctx, c.group, c.topic, 0); err != nil || got != c.next {
			return fmt.Errorf("committed of %s on %s: %d, %w, want %d", c.group, c.topic, got, err, c.next)
		}
	}
	for _, c := range []struct {
		group, topic string
		want         int64
	}{{"g2", topic, 7}, {"g1", event.Catalogue, 9}, {"g3", topic, 0}} {
		if got, err := log.Committed(ctx, c.group, c.topic, 0); err != nil || got != c.want {
			return fmt.Errorf("committed of %s on %s: %d, %w, want %d", c.group, c.topic, got, err, c.want)
		}
	}
	return nil
}

var errEnough = errors.New("enough")

func consume(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 25)
	if err != nil {
		return err
	}
	var got []event.Record
	err = log.Consume(ctx, "g", []string{topic}, func(_ context.Context, r event.Record) error {
		if len(got) == 25 {
			return errEnough
		}
		if got = append(got, r); len(got) == 25 {
			return log.Append(ctx, record("k", 25)) // handled last, with the error
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("consume: %w", err)
	}
	if err := same("consumed", got, recs); err != nil {
		return err
	}
	next, err := log.Committed(ctx, "g", topic, recs[0].Partition)
	if err != nil || next != recs[24].Offset+1 {
		return fmt.Errorf("committed after 25 handled: %d, %w", next, err)
	}
	lag, err := event.Lag(ctx, log, "g", topic)
	if err != nil || lag != 1 {
		return fmt.Errorf("lag with one record left: %d, %w", lag, err)
	}
	return nil
}

func consumeAgain(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 10)
	if err != nil {
		return err
	}
	var got []event.Record
	for _, stop := range []int{4, 10} {
		err := log.Consume(ctx, "g", []string{topic}, func(_ context.Context, r event.Record) error {
			if len(got) == stop-1 && stop == 4 {
				stop = 0
				return errEnough // not handled: it comes again
			}
			if got = append(got, r); len(got) == 10 {
				return errEnough
			}
			return nil
		})
		if !errors.Is(err, errEnough) {
			return fmt.Errorf("consume: %w", err)
		}
	}
	return same("consumed in two parts", got, recs)
}

func consumeOnce(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 30)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var got []event.Record
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() {
			errs[i] = log.Consume(ctx, "g", []string{topic}, func(_ context.Context, r event.Record) error {
				mu.Lock()
				defer mu.Unlock()
				if got = append(got, r); len(got) == len(recs) {
					cancel()
				}
				return nil
			})
		})
	}
	wg.Wait()
	for _, err := range errs {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("consume: %w", err)
		}
	}
	return same("consumed by three", got, recs)
}

func bounds(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 4)
	if err != nil {
		return err
	}
	first, next, err := log.Bounds(ctx, topic, recs[0].Partition)
	if err != nil || first != recs[0].Offset || next != recs[3].Offset+1 {
		return fmt.Errorf("bounds %d, %d, %w, want %d, %d", first, next, err, recs[0].Offset, recs[3].Offset+1)
	}
	return nil
}

func unknownTopic(ctx context.Context, log event.Log) error {
	const none = "no-such-topic"
	_, parts := log.Partitions(ctx, none)
	_, _, bounds := log.Bounds(ctx, none, 0)
	_, at := log.OffsetAt(ctx, none, 0, time.Time{})
	_, comm := log.Committed(ctx, "g", none, 0)
	for _, err := range []error{
		log.Append(ctx, event.Record{Topic: none}), parts, bounds, at, comm, log.Commit(ctx, "g", none, 0, 1),
		log.Consume(ctx, "g", []string{none}, func(context.Context, event.Record) error { return nil }),
		log.Divide(ctx, "g", []string{none}, func(context.Context, event.Portion) error { return nil }),
	} {
		if !errors.Is(err, event.ErrTopic) {
			return fmt.Errorf("unknown topic: %w", errors.Join(errors.New("want ErrTopic"), err))
		}
	}
	return nil
}
