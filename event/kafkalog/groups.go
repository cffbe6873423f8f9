package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
)

// Commit implements [event.Log].
func (l *Log) Commit(ctx context.Context, group, topic string, partition int32, next int64) error {
	if err := errors.Join(event.CheckGroup(group), l.check(ctx, topic, partition)); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if next < 0 {
		return fmt.Errorf("commit %s of %s: offset %d is negative", topic, group, next)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(l.name(topic), partition, next, -1)
	if err := l.admin.CommitAllOffsets(ctx, l.name(group), offsets); err != nil {
		return fmt.Errorf("commit %s of %s: %w", topic, group, l.mapError(err))
	}
	return nil
}

// Committed implements [event.Log].
func (l *Log) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	if err := errors.Join(event.CheckGroup(group), l.check(ctx, topic, partition)); err != nil {
		return 0, fmt.Errorf("read offsets: %w", err)
	}
	offsets, err := l.admin.FetchOffsets(ctx, l.name(group))
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read offsets of %s: %w", group, l.mapError(err))
	}
	o, ok := offsets.Lookup(l.name(topic), partition)
	if ok && o.Err != nil {
		return 0, fmt.Errorf("read offsets of %s: %w", group, o.Err)
	}
	return max(0, o.At), nil // absent: the zero value
}

// pollMost bounds what a crash makes a consumer handle again.
const pollMost = 256

// commitWait bounds what a broker that is away delays the end of Consume.
const commitWait = 15 * time.Second

const (
	// sessionTime is how long a member that crashed holds up the others of its group, and
	// its own next start.
	sessionTime = 10 * time.Second
	// leaveWait bounds how long the end of Consume waits to be let into a group that it
	// then leaves: the broker may keep a join waiting for a minute.
	leaveWait = 2 * time.Second
)

// Consume implements [event.Log] as a member of a consumer group. It goes on when a
// broker was away or the membership was lost; what was not committed then comes again.
func (l *Log) Consume(ctx context.Context, group string, topics []string, handle event.Handler) error {
	names, err := l.names(group, topics)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	client, err := l.connect(
		kgo.ConsumerGroup(l.name(group)), kgo.ConsumeTopics(names...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(sessionTime), kgo.WithContext(life),
	)
	if err != nil {
		return fmt.Errorf("consume as %s: %w", group, err)
	}
	defer func() {
		defer time.AfterFunc(leaveWait, end).Stop()
		client.CloseAllowingRebalance()
	}()
	open, stop := l.whileOpen(ctx)
	defer stop()
	for {
		if err := l.consumeOnce(open, client, handle); err != nil {
			return fmt.Errorf("consume as %s: %w", group, l.mapError(err))
		}
		client.AllowRebalance()
	}
}

// names are what the cluster calls the topics that group wants.
func (l *Log) names(group string, topics []string) ([]string, error) {
	if err := event.CheckGroup(group); err != nil {
		return nil, err
	}
	names := make([]string, len(topics))
	for i, topic := range topics {
		if _, ok := event.Lookup(topic); !ok {
			return nil, fmt.Errorf("%w: %q", event.ErrTopic, topic)
		}
		names[i] = l.name(topic)
	}
	return names, nil
}

// broken is what a member of a group does not get over by itself.
func broken(ctx context.Context, fetches kgo.Fetches) error {
	for _, e := range fetches.Errors() {
		var session *kgo.ErrGroupSession
		if ctx.Err() != nil || !errors.As(e.Err, &session) || !passes(e.Err) {
			return e.Err
		}
	}
	return nil
}

func (l *Log) consumeOnce(ctx context.Context, client *kgo.Client, handle event.Handler) error {
	fetches := client.PollRecords(ctx, pollMost)
	if err := broken(ctx, fetches); err != nil {
		return err
	}
	done, err := l.handleAll(ctx, fetches, handle)
	if len(done) == 0 {
		return err
	}
	// The effect is there, so this is done even when ctx has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitWait)
	defer cancel()
	if cerr := client.CommitRecords(ctx, done...); cerr != nil && !passes(cerr) {
		return errors.Join(err, fmt.Errorf("commit: %w", cerr))
	}
	return err
}

// passes reports whether an error of the cluster is one that it gets over.
func passes(err error) bool {
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return refused.Retriable || slices.Contains([]*kerr.Error{
			kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress, // the client joins anew
		}, refused)
	}
	var network net.Error // a broker cannot be reached, or did not answer in time
	return errors.As(err, &network) || kgo.IsRetryableBrokerErr(err)
}

// handleAll handles one poll, partitions side by side, and returns the last record of
// each that was handled.
func (l *Log) handleAll(ctx context.Context, fetches kgo.Fetches, handle event.Handler) ([]*kgo.Record, error) {
	var mu sync.Mutex
	var done []*kgo.Record
	eg, ctx := errgroup.WithContext(ctx)
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
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := handle(ctx, l.record(r)); err != nil {
					return err
				}
				last = r
			}
			return nil
		})
	})
	err := eg.Wait()
	return done, err
}
