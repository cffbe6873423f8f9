package warehouse

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/internal/pause"
)

// divideRetry is the pause after the log would not give out partitions.
const divideRetry = time.Second

// portion is a partition that this process writes to the lake.
type portion struct {
	place
	commit func(ctx context.Context, next int64) error
	held   context.Context //nolint:containedctx // ends when another is to have it
	busy   sync.Mutex      // held while it is written
}

// enter begins to write it. ctx ends when it must be given up; not ok where it has been.
func (p *portion) enter(ctx context.Context) (_ context.Context, release func(), ok bool) {
	p.busy.Lock()
	if p.held.Err() != nil {
		p.busy.Unlock()
		return nil, nil, false
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.held, cancel)
	return ctx, func() {
		stop()
		cancel()
		p.busy.Unlock()
	}, true
}

// portions are what this process is to write: what it was given while it divides the log
// with others, everything where nobody runs.
func (s *Service) portions(ctx context.Context) ([]*portion, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*portion
	if s.dividing {
		for _, p := range s.held {
			out = append(out, p)
		}
		return out, nil
	}
	places, err := s.places(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range places {
		out = append(out, &portion{place: p, held: ctx, commit: func(ctx context.Context, next int64) error {
			return s.deps.Events.Commit(ctx, Group, p.topic, p.partition, next)
		}})
	}
	return out, nil
}

// hold has a portion written until ctx ends.
func (s *Service) hold(ctx context.Context, given event.Portion) error {
	p := &portion{place: place{given.Topic, given.Partition}, commit: given.Commit, held: ctx}
	s.mu.Lock()
	s.held[p.place] = p
	s.mu.Unlock()
	<-ctx.Done()
	p.busy.Lock() // a file that is being written is the last
	defer p.busy.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.held, p.place)
	delete(s.peeked, p.place)
	return nil
}

// Run writes finished hours and full files of its portions until ctx ends. What fails is
// tried again.
func (s *Service) Run(ctx context.Context) error {
	s.mu.Lock()
	s.dividing = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.dividing = false
		s.mu.Unlock()
	}()
	var topics []string
	for _, t := range event.Topics() {
		topics = append(topics, t.Name)
	}
	eg, ctx := errgroup.WithContext(ctx)
	eg.Go(func() error {
		for ctx.Err() == nil {
			if err := s.deps.Events.Divide(ctx, Group, topics, s.hold); ctx.Err() == nil {
				s.metrics.failures.Inc()
				s.deps.Log.ErrorContext(ctx, "lake is behind: the log gives out no partitions", "err", err)
				pause.For(ctx, divideRetry)
			}
		}
		return nil
	})
	eg.Go(func() error {
		for s.deps.Config.CompactEvery > 0 && ctx.Err() == nil {
			pause.For(ctx, s.deps.Config.CompactEvery)
			if err := s.compactDue(ctx); err != nil && ctx.Err() == nil {
				s.metrics.failures.Inc()
				s.deps.Log.ErrorContext(ctx, "files of the lake could not be made fewer", "err", err)
			}
		}
		return nil
	})
	eg.Go(func() error {
		for ctx.Err() == nil {
			if err := s.flushDue(ctx); err != nil && ctx.Err() == nil {
				s.metrics.failures.Inc()
				s.deps.Log.ErrorContext(ctx, "lake is behind: files could not be written", "err", err)
			}
			pause.For(ctx, s.deps.Config.FlushEvery)
		}
		return nil
	})
	return eg.Wait()
}
