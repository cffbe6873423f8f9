package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// consumer reads the topic as any of its consumers would, and notes how old each event is
// when it comes.
type consumer struct {
	client *kgo.Client
	done   sync.WaitGroup

	mu   sync.Mutex
	n    int64
	late []time.Duration
	err  error
}

func consume(ctx context.Context, seeds []string) (*consumer, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.ConsumeTopics(event.ClientDiagnostics), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	c := &consumer{client: client}
	c.done.Go(func() {
		for {
			fetches := client.PollFetches(ctx)
			if fetches.IsClientClosed() || ctx.Err() != nil {
				return
			}
			c.take(fetches)
		}
	})
	return c, nil
}

func (c *consumer) take(fetches kgo.Fetches) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range fetches.Errors() {
		c.err = e.Err
	}
	fetches.EachRecord(func(r *kgo.Record) {
		var env eventv1.Envelope
		if err := proto.Unmarshal(r.Value, &env); err != nil {
			c.err = err
			return
		}
		c.n++
		c.late = append(c.late, now.Sub(env.GetClientTime().AsTime()))
	})
}

// reset forgets the latencies, and gives how many events there were.
func (c *consumer) reset() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = nil
	return c.n
}

func (c *consumer) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func (c *consumer) latencies() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.late
}

func (c *consumer) close() {
	c.client.Close()
	c.done.Wait()
}
