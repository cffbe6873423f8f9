// Package kafkalog is the event log on Kafka or a broker that speaks its protocol:
// idempotent producer, acks=all, consumer groups. Topics are made with the broker's own
// clock (LogAppendTime), so that time does not go back within a partition.
package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
)

// Options of [Open].
type Options struct {
	// Seeds are "host:port" of some brokers.
	Seeds []string
	// Replicas of each topic that Open makes; 0 or less is the broker's default.
	Replicas int16
	// Client options to add to every connection: TLS, SASL, logging.
	Client []kgo.Opt
}

// Log is an [event.Log] on a cluster. Commit is for groups that nobody consumes as at
// the moment: the broker refuses it for others.
type Log struct {
	opt    Options
	client *kgo.Client
	admin  *kadm.Client

	mu         sync.Mutex
	partitions map[string]int32
}

var _ event.Log = (*Log)(nil)

// Open connects and makes the topics that do not exist.
func Open(ctx context.Context, opt Options) (*Log, error) {
	l := &Log{opt: opt, partitions: map[string]int32{}}
	client, err := l.connect(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)),
		kgo.ProducerBatchCompression(kgo.ZstdCompression(), kgo.NoCompression()),
	)
	if err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	l.client, l.admin = client, kadm.NewClient(client)
	if err := l.makeTopics(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("make topics: %w", err)
	}
	return l, nil
}

func (l *Log) connect(opts ...kgo.Opt) (*kgo.Client, error) {
	all := append([]kgo.Opt{kgo.SeedBrokers(l.opt.Seeds...), kgo.ClientID("segue")}, l.opt.Client...)
	return kgo.NewClient(append(all, opts...)...)
}

func (l *Log) makeTopics(ctx context.Context) error {
	replicas := l.opt.Replicas
	if replicas <= 0 {
		replicas = -1
	}
	have, err := l.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	for _, t := range event.Topics() {
		if have.Has(t.Name) {
			continue
		}
		ms := int64(-1)
		if t.Retention > 0 {
			ms = t.Retention.Milliseconds()
		}
		_, err := l.admin.CreateTopic(ctx, t.Partitions, replicas, map[string]*string{
			"message.timestamp.type": kadm.StringPtr("LogAppendTime"),
			"retention.ms":           kadm.StringPtr(strconv.FormatInt(ms, 10)),
		}, t.Name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

// Append implements [event.Log].
func (l *Log) Append(ctx context.Context, recs ...event.Record) error {
	out := make([]*kgo.Record, len(recs))
	for i, r := range recs {
		if err := r.Check(); err != nil {
			return fmt.Errorf("append to %q: %w", r.Topic, err)
		}
		out[i] = &kgo.Record{Topic: r.Topic, Key: append([]byte{}, r.Key...), Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	if err := l.client.ProduceSync(ctx, out...).FirstErr(); err != nil {
		return fmt.Errorf("append: %w", mapError(err))
	}
	return nil
}

func mapError(err error) error {
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return fmt.Errorf("%w: %w", event.ErrClosed, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: %w", event.ErrTopic, err)
	}
	return err
}

// Partitions implements [event.Log].
func (l *Log) Partitions(ctx context.Context, topic string) (int32, error) {
	if _, ok := event.Lookup(topic); !ok {
		return 0, fmt.Errorf("%w: %q", event.ErrTopic, topic)
	}
	l.mu.Lock()
	n, ok := l.partitions[topic]
	l.mu.Unlock()
	if ok {
		return n, nil
	}
	details, err := l.admin.ListTopics(ctx, topic)
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("count partitions of %s: %w", topic, mapError(err))
	}
	n = int32(len(details[topic].Partitions))
	l.mu.Lock()
	l.partitions[topic] = n
	l.mu.Unlock()
	return n, nil
}

func (l *Log) check(ctx context.Context, topic string, partition int32) error {
	n, err := l.Partitions(ctx, topic)
	if err == nil && (partition < 0 || partition >= n) {
		err = fmt.Errorf("%w: %s has no partition %d", event.ErrTopic, topic, partition)
	}
	return err
}

// offset picks one partition of a listing.
func offset(list kadm.ListedOffsets, err error, topic string, partition int32) (int64, error) {
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
	return 0, mapError(err)
}

// Bounds implements [event.Log].
func (l *Log) Bounds(ctx context.Context, topic string, partition int32) (first, next int64, err error) {
	if err := l.check(ctx, topic, partition); err != nil {
		return 0, 0, err
	}
	list, err := l.admin.ListStartOffsets(ctx, topic)
	if first, err = offset(list, err, topic, partition); err != nil {
		return 0, 0, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	list, err = l.admin.ListEndOffsets(ctx, topic)
	if next, err = offset(list, err, topic, partition); err != nil {
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
	list, err := l.admin.ListOffsetsAfterMilli(ctx, max(0, ms), topic)
	at, err := offset(list, err, topic, partition)
	if err != nil {
		return 0, fmt.Errorf("seek in %s: %w", topic, err)
	}
	return at, nil
}

// Read implements [event.Log], with a connection of its own.
func (l *Log) Read(ctx context.Context, topic string, partition int32, from int64, follow bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		if err := l.read(ctx, topic, partition, from, follow, yield); err != nil {
			yield(event.Record{}, fmt.Errorf("read %s: %w", topic, err))
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
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(min(next, end))}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return mapError(err)
		}
		for r := range fetches.RecordsAll() {
			if r.Offset < next {
				continue
			}
			if !follow && r.Offset >= end {
				return nil
			}
			if !yield(record(r), nil) {
				return nil
			}
			next = r.Offset + 1
		}
		if !follow && next >= end {
			return nil
		}
	}
}

func record(r *kgo.Record) event.Record {
	out := event.Record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp.UTC(), Key: r.Key, Value: r.Value,
	}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, event.Header{Name: h.Key, Value: h.Value})
	}
	return out
}

// Commit implements [event.Log].
func (l *Log) Commit(ctx context.Context, group, topic string, partition int32, next int64) error {
	if err := errors.Join(event.CheckGroup(group), l.check(ctx, topic, partition)); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if next < 0 {
		return fmt.Errorf("commit %s of %s: offset %d is negative", topic, group, next)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, partition, next, -1)
	if err := l.admin.CommitAllOffsets(ctx, group, offsets); err != nil {
		return fmt.Errorf("commit %s of %s: %w", topic, group, err)
	}
	return nil
}

// Committed implements [event.Log].
func (l *Log) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	if err := errors.Join(event.CheckGroup(group), l.check(ctx, topic, partition)); err != nil {
		return 0, fmt.Errorf("read offsets: %w", err)
	}
	offsets, err := l.admin.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read offsets of %s: %w", group, mapError(err))
	}
	o, ok := offsets.Lookup(topic, partition)
	if ok && o.Err != nil {
		return 0, fmt.Errorf("read offsets of %s: %w", group, o.Err)
	}
	return max(0, o.At), nil // absent: the zero value
}

// pollMost bounds what a crash makes a consumer handle again.
const pollMost = 256

// Consume implements [event.Log] as a member of a consumer group.
func (l *Log) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	if err := event.CheckGroup(group); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	for _, topic := range topics {
		if _, ok := event.Lookup(topic); !ok {
			return fmt.Errorf("consume: %w: %q", event.ErrTopic, topic)
		}
	}
	client, err := l.connect(
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return fmt.Errorf("consume as %s: %w", group, err)
	}
	defer client.CloseAllowingRebalance()
	for {
		fetches := client.PollRecords(ctx, pollMost)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("consume as %s: %w", group, mapError(err))
		}
		if err := handleAll(ctx, client, fetches, handle); err != nil {
			return fmt.Errorf("consume as %s: %w", group, err)
		}
		client.AllowRebalance()
	}
}

// handleAll handles one poll, partitions side by side, and commits what was handled.
func handleAll(ctx context.Context, client *kgo.Client, fetches kgo.Fetches, handle event.Handler) error {
	var mu sync.Mutex
	var done []*kgo.Record
	eg, ectx := errgroup.WithContext(ctx)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		eg.Go(func() error {
			var last *kgo.Record
			defer func() {
				if last != nil {
					mu.Lock()
					done = append(done, last)
					mu.Unlock()
				}
			}()
			for _, r := range p.Records {
				if err := ectx.Err(); err != nil {
					return err
				}
				if err := handle(ectx, record(r)); err != nil {
					return err
				}
				last = r
			}
			return nil
		})
	})
	err := eg.Wait()
	if len(done) > 0 {
		// The effect is there, so this is done even when ctx has ended.
		if cerr := client.CommitRecords(context.WithoutCancel(ctx), done...); cerr != nil {
			err = errors.Join(err, fmt.Errorf("commit: %w", cerr))
		}
	}
	return err
}

// Close implements [event.Log].
func (l *Log) Close() error {
	l.client.Close()
	return nil
}
