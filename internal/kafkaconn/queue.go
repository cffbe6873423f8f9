package kafkaconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/internal/pause"
)

// Queue is a topic of others, whose messages a group of processes shares.
type Queue struct {
	Client []kgo.Opt
	Topic  string
	Group  string
	Log    *slog.Logger
}

const (
	// queueMost bounds what is read at a time, and what a crash makes come again.
	queueMost = 64
	// queueBytes bounds the memory for that.
	queueBytes = 8 << 20
	// queueAgain is the pause before what failed is tried again.
	queueAgain = 5 * time.Second
)

// Consume calls handle with each message from the oldest that the group has not had, until
// ctx ends, whose error it returns. A message that handle fails for comes again until it
// does not; one comes twice after a crash and when partitions change hands.
func (q *Queue) Consume(ctx context.Context, handle func(ctx context.Context, message []byte) error) error {
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumerGroup(q.Group), kgo.ConsumeTopics(q.Topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(queueBytes), kgo.FetchMaxPartitionBytes(queueBytes), kgo.MaxBufferedRecords(4 * queueMost),
	}, q.Client...)...)
	if err != nil {
		return fmt.Errorf("consume %s: %w", q.Topic, err)
	}
	defer client.Close()
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, queueMost)
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil {
				q.Log.WarnContext(ctx, "messages of a queue wait", "topic", q.Topic, "err", e.Err)
			}
		}
		if len(fetches.Errors()) > 0 && !pause.For(ctx, queueAgain) {
			break
		}
		done, err := q.handle(ctx, fetches, handle)
		if len(done) > 0 {
			// The effect is there, so this is done even when ctx has ended.
			commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueAgain)
			err = errors.Join(err, client.CommitRecords(commit, done...))
			cancel()
		}
		if err != nil && ctx.Err() == nil {
			q.Log.WarnContext(ctx, "messages of a queue come again", "topic", q.Topic, "err", err)
		}
	}
	return ctx.Err()
}

// handle handles what was read, in order, and returns what is done.
func (q *Queue) handle(ctx context.Context, fetches kgo.Fetches, handle func(context.Context, []byte) error) (done []*kgo.Record, err error) {
	for _, r := range fetches.Records() {
		for {
			if err = handle(ctx, r.Value); err == nil {
				break
			}
			if ctx.Err() != nil {
				return done, ctx.Err()
			}
			q.Log.WarnContext(ctx, "message of a queue waits", "topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "err", err)
			if !pause.For(ctx, queueAgain) {
				return done, ctx.Err()
			}
		}
		done = append(done, r)
	}
	return done, nil
}
