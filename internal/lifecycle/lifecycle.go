// Package lifecycle starts the parts of a process in the order they were added and stops
// them one by one in reverse.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Component is one part of a process. Every function may be nil.
type Component struct {
	Name string
	// Start returns when the component works; an error ends the whole start.
	Start func(ctx context.Context) error
	// Run works until its context ends, which is no error. Returning before that stops
	// the process, with or without an error.
	Run func(ctx context.Context) error
	// Drain refuses new work and waits for what is under way. All components drain, in
	// reverse, before the first one stops.
	Drain func(ctx context.Context) error
	// Stop releases what Start took, after Run has returned.
	Stop func(ctx context.Context) error
	// Limit bounds Drain and Stop each; 0 is 10 s.
	Limit time.Duration
}

const defaultLimit = 10 * time.Second

// Group is the parts of a process. Add them first, then Run once.
type Group struct {
	log   *slog.Logger
	parts []Component
}

// New makes an empty group.
func New(log *slog.Logger) *Group { return &Group{log: log} }

// Add appends a component.
func (g *Group) Add(c Component) { g.parts = append(g.parts, c) }

// Run starts everything, calls ready, and waits until ctx ends or a component does.
// Then it drains and stops. The error is the first of a start or a run, joined with
// those of stopping.
func (g *Group) Run(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var up []*part
	err := g.start(ctx, cancel, &up)
	if err == nil && ready != nil {
		err = ready()
	}
	if err == nil {
		<-ctx.Done()
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			err = cause
		}
		g.log.Info("stopping", "cause", context.Cause(ctx))
	}
	return errors.Join(err, g.stop(up))
}

// part is a component under way.
type part struct {
	Component
	end context.CancelFunc
	run sync.WaitGroup
}

func (g *Group) start(ctx context.Context, failed context.CancelCauseFunc, up *[]*part) error {
	for _, c := range g.parts {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if c.Start != nil {
			if err := c.Start(ctx); err != nil {
				return fmt.Errorf("start %s: %w", c.Name, err)
			}
		}
		p := &part{Component: c}
		// Not a child of ctx: a component goes on until its turn to stop.
		var own context.Context
		own, p.end = context.WithCancel(context.WithoutCancel(ctx))
		*up = append(*up, p)
		if c.Run == nil {
			continue
		}
		p.run.Go(func() {
			err := c.Run(own)
			switch {
			case own.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
			case err != nil:
				failed(fmt.Errorf("%s: %w", c.Name, err))
			default:
				failed(fmt.Errorf("%s: ended by itself", c.Name))
			}
		})
	}
	return nil
}

func (g *Group) stop(up []*part) error {
	var errs []error
	each := func(verb string, fn func(*part) func(context.Context) error) {
		for i := len(up) - 1; i >= 0; i-- {
			p := up[i]
			do := fn(p)
			if do == nil {
				continue
			}
			limit := p.Limit
			if limit <= 0 {
				limit = defaultLimit
			}
			ctx, done := context.WithTimeout(context.Background(), limit)
			if err := do(ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", verb, p.Name, err))
			}
			done()
		}
	}
	each("drain", func(p *part) func(context.Context) error { return p.Drain })
	each("stop", func(p *part) func(context.Context) error {
		return func(ctx context.Context) error {
			p.end()
			ended := make(chan struct{})
			go func() { p.run.Wait(); close(ended) }()
			var late error
			select {
			case <-ended:
			case <-ctx.Done():
				late = errors.New("did not end in time")
			}
			if p.Stop == nil {
				return late
			}
			return errors.Join(late, p.Stop(ctx))
		}
	})
	return errors.Join(errs...)
}
