// Package kafkalog is the event log on Kafka or a broker that speaks its protocol:
// idempotent producer, acks=all, consumer groups. Topics are made with the broker's own
// clock (LogAppendTime), so that time does not go back within a partition.
package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segue-music/segue/event"
)

// Options of [Open].
type Options struct {
	// Client is how the cluster is reached: its brokers, TLS, SASL.
	Client []kgo.Opt
	// Prefix of the names of topics and groups on the cluster, so that several Segues may
	// share one: letters, digits, ".", "_" and "-".
	Prefix string
	// Replicas of each topic that Open makes; 0 or less is the broker's default. Of three or
	// more two must have a record before it is acknowledged: any one broker may be away, or
	// be lost.
	Replicas int16
}

// Log is an [event.Log] on a cluster. Commit is for groups that nobody consumes as at
// the moment: the broker refuses it for others.
type Log struct {
	opt    Options
	client *kgo.Client
	admin  *kadm.Client
	closed chan struct{}
	close  func() // once

	turn    chan struct{} // of who hands records to the client
	stamped time.Time     // the last time given to a record

	mu         sync.Mutex
	partitions map[string]int32
}

var _ event.Log = (*Log)(nil)

// Open connects and makes the topics that do not exist.
func Open(ctx context.Context, opt Options) (*Log, error) {
	l := &Log{opt: opt, closed: make(chan struct{}), partitions: map[string]int32{}, turn: make(chan struct{}, 1)}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	client, err := l.connect(
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProduceRequestTimeout(answerWait),
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

// answerWait is how long a broker may take to have a record everywhere, and how much longer
// its answer may take. A broker that stands still loses its partitions to another after 9 s:
// to wait much longer for it is in vain, and the next try does not store a record twice.
const answerWait = 5 * time.Second

func (l *Log) connect(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(slices.Concat(l.opt.Client, []kgo.Opt{kgo.RequestTimeoutOverhead(answerWait)}, opts)...)
}

// name is what the cluster calls one of our topics or groups.
func (l *Log) name(own string) string { return l.opt.Prefix + own }

// makeTopics makes what is missing and returns when the cluster takes records for it.
func (l *Log) makeTopics(ctx context.Context) error {
	replicas := l.opt.Replicas
	if replicas <= 0 {
		replicas = -1
	}
	have, err := l.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var made []string
	for _, t := range event.Topics() {
		name := l.name(t.Name)
		if have.Has(name) {
			continue
		}
		ms := int64(-1)
		if t.Retention > 0 {
			ms = t.Retention.Milliseconds()
		}
		conf := map[string]*string{
			"message.timestamp.type": kadm.StringPtr("LogAppendTime"),
			"retention.ms":           kadm.StringPtr(strconv.FormatInt(ms, 10)),
		}
		if replicas >= 3 {
			conf["min.insync.replicas"] = kadm.StringPtr("2")
		}
		_, err := l.admin.CreateTopic(ctx, t.Partitions, replicas, conf, name)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("%s: %w", name, err)
		}
		made = append(made, name)
	}
	return l.await(ctx, made)
}

// await returns when all partitions of the topics have a leader. A controller answers
// that a topic is made before the brokers have heard of it: until then they call it
// unknown, seconds on a busy one.
func (l *Log) await(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	req := kmsg.NewPtrMetadataRequest() // kadm would answer from its cache
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		req.Topics = append(req.Topics, topic)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		resp, err := req.RequestWith(ctx, l.client)
		if err == nil {
			err = led(resp)
		}
		if !kerr.IsRetriable(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// led is the first reason why a topic cannot take records.
func led(resp *kmsg.MetadataResponse) error {
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return err
		}
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return err
			}
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
		out[i] = &kgo.Record{Topic: l.name(r.Topic), Key: append([]byte{}, r.Key...), Value: r.Value}
		for _, h := range r.Headers {
			out[i].Headers = append(out[i].Headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	if err := l.produce(ctx, out); err != nil {
		return fmt.Errorf("append: %w", l.mapError(err))
	}
	return nil
}

// produce hands records to the client and waits for all of them. One caller at a time
// hands over, so that times rise with offsets also on a broker that keeps the producer's.
func (l *Log) produce(ctx context.Context, recs []*kgo.Record) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if now := time.Now(); now.After(l.stamped) {
		l.stamped = now
	}
	var mu sync.Mutex
	var first error
	var done sync.WaitGroup
	done.Add(len(recs))
	for _, r := range recs {
		r.Timestamp = l.stamped
		l.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			mu.Lock()
			if first == nil {
				first = err
			}
			mu.Unlock()
			done.Done()
		})
	}
	<-l.turn
	done.Wait()
	return first
}

// mapError gives an error of the client the kind that event knows. Requests that Close
// cuts off end with errors of all sorts.
func (l *Log) mapError(err error) error {
	switch {
	case err == nil, errors.Is(err, event.ErrClosed), errors.Is(err, event.ErrTopic):
		return err
	case l.isClosed():
		return fmt.Errorf("%w: %w", event.ErrClosed, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w: %w", event.ErrTopic, err)
	}
	return err
}

var errNoPartitions = errors.New("they are not known yet")

// Partitions implements [event.Log].
func (l *Log) Partitions(ctx context.Context, topic string) (int32, error) {
	if _, ok := event.Lookup(topic); !ok {
		return 0, fmt.Errorf("%w: %q", event.ErrTopic, topic)
	}
	if l.isClosed() {
		return 0, event.ErrClosed
	}
	l.mu.Lock()
	n, ok := l.partitions[topic]
	l.mu.Unlock()
	if ok {
		return n, nil
	}
	details, err := l.admin.ListTopics(ctx, l.name(topic))
	if err == nil {
		err = details.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("count partitions of %s: %w", topic, l.mapError(err))
	}
	// None is no answer: the broker, or the client's cache, has not heard of the topic yet.
	if n = int32(len(details[l.name(topic)].Partitions)); n == 0 {
		return 0, fmt.Errorf("count partitions of %s: %w", topic, errNoPartitions)
	}
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

// Close implements [event.Log].
func (l *Log) Close() error {
	l.close()
	l.client.Close()
	return nil
}

func (l *Log) isClosed() bool {
	select {
	case <-l.closed:
		return true
	default:
		return false
	}
}

// whileOpen is a context that ends with ctx, and when the log is closed.
func (l *Log) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	open, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-l.closed:
			cancel()
		case <-open.Done():
		}
	}()
	return open, cancel
}
