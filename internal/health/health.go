// Package health tells whether a process can do its work, and whether it is stuck. The
// parts that it cannot work without are asked, each on a goroutine of its own, so that one
// that hangs holds up neither the others nor who wants to know.
package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// readyLimit is how long a part may take to answer before the process is not ready.
	readyLimit = 3 * time.Second
	// stuckAfter is how long a part may not answer before the process counts as stuck: a
	// disk that hangs for some seconds mends itself, a deadlock never does.
	stuckAfter = time.Minute
	// answersFor is how long an answer counts: strangers may ask as often as they like.
	answersFor = time.Second
	// askEvery is how often the parts are asked where nobody wants to know.
	askEvery = 10 * time.Second
)

var (
	errStarting = errors.New("starting")
	errDraining = errors.New("draining")
	errNoAnswer = errors.New("does not answer")
)

// Health knows the parts that a process cannot work without, and whether they answer.
type Health struct {
	now      func() time.Time
	parts    []*part // fixed before the first question
	started  atomic.Bool
	draining atomic.Bool
}

// part is one of them. Its check runs on a goroutine of its own, one at a time, so that a
// check that hangs, whatever its context says, holds up nobody.
type part struct {
	name  string
	check func(context.Context) error

	mu    sync.Mutex
	since time.Time     // when the check under way began; zero when none is
	done  chan struct{} // closed when it has ended
	err   error         // of the last one
	at    time.Time     // when that ended
}

// New makes a Health without parts; now is its clock.
func New(now func() time.Time) *Health { return &Health{now: now} }

// Needs adds a part, before the first question. check may be called at any time, once at a
// time, with a context that ends after some seconds.
func (h *Health) Needs(name string, check func(context.Context) error) {
	h.parts = append(h.parts, &part{name: name, check: check})
}

// Started says that the process serves.
func (h *Health) Started() { h.started.Store(true) }

// Drain says that the process takes no new work.
func (h *Health) Drain() { h.draining.Store(true) }

// ask begins a check where none is under way and the last answer is old.
func (p *part) ask(now func() time.Time) (ended <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		return p.done
	}
	if age := now().Sub(p.at); p.done != nil && age >= 0 && age < answersFor {
		return p.done
	}
	p.since, p.done = now(), make(chan struct{})
	go func(done chan struct{}) {
		ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
		defer cancel()
		err := p.check(ctx)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err, p.at, p.since = err, now(), time.Time{}
		close(done)
	}(p.done)
	return p.done
}

// answer is what the last check said, or that the one under way has not come back.
func (p *part) answer() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.since.IsZero() {
		return errNoAnswer
	}
	return p.err
}

// hangs is how long the check under way has been.
func (p *part) hangs(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since.IsZero() {
		return 0
	}
	return now.Sub(p.since)
}

// Ready says which parts keep the process from its work; nil is none. It takes no longer
// than a part may take to answer.
func (h *Health) Ready(ctx context.Context) error {
	switch {
	case h.draining.Load():
		return errDraining
	case !h.started.Load():
		return errStarting
	}
	ctx, cancel := context.WithTimeout(ctx, readyLimit+readyLimit/10)
	defer cancel()
	var waits []<-chan struct{}
	for _, p := range h.parts {
		waits = append(waits, p.ask(h.now))
	}
	var errs []error
	for i, p := range h.parts {
		select {
		case <-waits[i]:
		case <-ctx.Done():
		}
		if err := p.answer(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(errs...)
}

// Alive says which parts hang; nil is none. It asks nobody: Run does.
func (h *Health) Alive() error {
	var stuck []string
	for _, p := range h.parts {
		if d := p.hangs(h.now()); d >= stuckAfter {
			stuck = append(stuck, fmt.Sprintf("%s has not answered for %s", p.name, d.Truncate(time.Second)))
		}
	}
	if len(stuck) == 0 {
		return nil
	}
	return errors.New(strings.Join(stuck, ", "))
}

// Run asks the parts from time to time, so that Alive knows, until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		for _, p := range h.parts {
			p.ask(h.now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Metrics tell of each part whether it answered when it was last asked.
func (h *Health) Metrics() prometheus.Collector {
	return parts{h, prometheus.NewDesc("segue_ready", "Whether a part that this process needs answered when last asked.", []string{"part"}, nil)}
}

type parts struct {
	h    *Health
	desc *prometheus.Desc
}

func (c parts) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

func (c parts) Collect(ch chan<- prometheus.Metric) {
	for _, p := range c.h.parts {
		up := 1.0
		if p.hangs(c.h.now()) > readyLimit || p.failed() {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, up, p.name)
	}
}

// failed says whether the last check that ended found a fault.
func (p *part) failed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}
