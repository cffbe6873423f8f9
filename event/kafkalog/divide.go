package kafkalog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
)

var errGone = errors.New("the partition has gone to another member of the group")

// member is one caller of Divide. Its portions change only in callbacks of the client,
// which come one at a time.
type member struct {
	log    *Log
	work   func(context.Context, event.Portion) error
	ctx    context.Context //nolint:containedctx // of one call of Divide
	eg     *errgroup.Group
	client *kgo.Client
	has    map[slot]holding
}

type slot struct {
	name      string
	partition int32
}

// holding is a portion that is worked on.
type holding struct {
	stop  context.CancelFunc
	ended chan struct{}
}

// Divide implements [event.Log] as a member of a consumer group that fetches nothing: work
// reads by itself.
func (l *Log) Divide(ctx context.Context, group string, topics []string, work func(context.Context, event.Portion) error) error {
	names, err := l.names(group, topics)
	if err != nil {
		return fmt.Errorf("divide: %w", err)
	}
	open, stop := l.whileOpen(ctx)
	defer stop()
	m := &member{log: l, work: work, has: map[slot]holding{}}
	m.eg, m.ctx = errgroup.WithContext(open)
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	m.client, err = l.connect(
		kgo.ConsumerGroup(l.name(group)), kgo.ConsumeTopics(names...), kgo.DisableAutoCommit(), kgo.SessionTimeout(sessionTime), kgo.WithContext(life),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.revoked),
	)
	if err != nil {
		return fmt.Errorf("divide as %s: %w", group, err)
	}
	m.client.PauseFetchTopics(names...)
	m.eg.Go(func() error {
		for {
			if err := broken(m.ctx, m.client.PollFetches(m.ctx)); err != nil {
				return err
			}
		}
	})
	<-m.ctx.Done()
	leave := time.AfterFunc(leaveWait, end)
	m.client.CloseAllowingRebalance() // revokes everything
	leave.Stop()
	return fmt.Errorf("divide as %s: %w", group, l.mapError(m.eg.Wait()))
}

func (m *member) assigned(_ context.Context, client *kgo.Client, parts map[string][]int32) {
	for name, partitions := range parts {
		for _, p := range partitions {
			ctx, stop := context.WithCancel(m.ctx)
			h := holding{stop, make(chan struct{})}
			m.has[slot{name, p}] = h
			portion := event.Portion{
				Topic: strings.TrimPrefix(name, m.log.opt.Prefix), Partition: p,
				Commit: func(cctx context.Context, next int64) error { return m.commit(cctx, ctx, client, slot{name, p}, next) },
			}
			m.eg.Go(func() error {
				defer close(h.ended)
				return m.work(ctx, portion)
			})
		}
	}
}

// revoked returns when nobody works on the partitions any more; until then no other member
// gets them, unless this one was silent too long.
func (m *member) revoked(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	var ending []chan struct{}
	for name, partitions := range parts {
		for _, p := range partitions {
			if h, ok := m.has[slot{name, p}]; ok {
				h.stop()
				ending = append(ending, h.ended)
				delete(m.has, slot{name, p})
			}
		}
	}
	for _, ended := range ending {
		<-ended
	}
}

// commit is refused by the broker when this member is one of an earlier generation, and
// here when it is of this one and has given up the partition.
func (m *member) commit(ctx, held context.Context, client *kgo.Client, s slot, next int64) error {
	if held.Err() != nil && m.ctx.Err() == nil {
		return errGone
	}
	err := errors.New("no answer for the partition")
	offsets := map[string]map[int32]kgo.EpochOffset{s.name: {s.partition: {Epoch: -1, Offset: next}}}
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, cerr error) {
		if cerr != nil {
			err = cerr
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				err = kerr.ErrorForCode(p.ErrorCode)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("commit %s/%d: %w", s.name, s.partition, m.log.mapError(err))
	}
	return nil
}
