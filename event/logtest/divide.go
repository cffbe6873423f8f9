package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segue-music/segue/event"
)

// holders is who of some callers of Divide works on what.
type holders struct {
	mu    sync.Mutex
	of    map[int32]string
	twice []int32 // partitions that two had at a time
}

// divideAs calls Divide until the end of ctx and returns how it ended.
func (h *holders) divideAs(ctx context.Context, log event.Log, who string, work func(context.Context, event.Portion) error) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- log.Divide(ctx, "g", []string{topic}, func(ctx context.Context, p event.Portion) error {
			h.mu.Lock()
			if h.of[p.Partition] != "" {
				h.twice = append(h.twice, p.Partition)
			}
			h.of[p.Partition] = who
			h.mu.Unlock()
			err := work(ctx, p)
			if err == nil {
				<-ctx.Done()
			}
			h.mu.Lock()
			delete(h.of, p.Partition)
			h.mu.Unlock()
			return err
		})
	}()
	return ended
}

// until waits until somebody, or who where that is not empty, works on each of n.
func (h *holders) until(ctx context.Context, n int32, who string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		h.mu.Lock()
		have, twice := int32(0), h.twice
		for _, w := range h.of {
			if who == "" || w == who {
				have++
			}
		}
		h.mu.Unlock()
		if len(twice) > 0 {
			return fmt.Errorf("two work on partition %d at a time", twice[0])
		}
		if have == n {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d partitions are worked on: %w", have, n, ctx.Err())
		}
	}
}

// divide: each partition is one caller's, and goes to another when that one ends.
func divide(ctx context.Context, log event.Log) error {
	recs, err := fill(ctx, log, 3)
	if err != nil {
		return err
	}
	n, err := log.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &holders{of: map[int32]string{}}
	nothing := func(context.Context, event.Portion) error { return nil }
	first, end := context.WithCancel(ctx)
	defer end()
	a := h.divideAs(first, log, "a", nothing)
	if err := h.until(ctx, n, "a"); err != nil {
		return err
	}
	commit := func(ctx context.Context, p event.Portion) error {
		if p.Partition == recs[0].Partition {
			return p.Commit(ctx, recs[2].Offset)
		}
		return nil
	}
	second, endSecond := context.WithCancel(ctx)
	defer endSecond()
	b, c := h.divideAs(second, log, "b", commit), h.divideAs(ctx, log, "c", commit)
	end()
	if err := <-a; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("divide ended with %w", errors.Join(errors.New("want the context's error"), err))
	}
	if err := h.until(ctx, n, ""); err != nil {
		return err
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for at := int64(-1); at != recs[2].Offset; <-tick.C {
		if at, err = log.Committed(ctx, "g", topic, recs[0].Partition); err != nil {
			return err
		}
	}
	endSecond()
	if err := <-b; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("divide ended with %w", err)
	}
	if err := h.until(ctx, n, "c"); err != nil {
		return err
	}
	cancel()
	if err := <-c; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("divide ended with %w", err)
	}
	return h.until(context.WithoutCancel(ctx), 0, "")
}

func divideEnds(ctx context.Context, log event.Log) error {
	h := &holders{of: map[int32]string{}}
	if err := <-h.divideAs(ctx, log, "a", func(context.Context, event.Portion) error { return errEnough }); !errors.Is(err, errEnough) {
		return fmt.Errorf("divide ended with %w", errors.Join(errors.New("want the error of work"), err))
	}
	return nil
}
