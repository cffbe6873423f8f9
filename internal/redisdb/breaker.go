package redisdb

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// breaker says whether Redis is worth asking. It opens at the third failure in a row, and
// when more than a third of the calls fail for a while; only a probe closes it.
type breaker struct {
	shut   atomic.Bool // calls pass
	opened chan struct{}

	mu     sync.Mutex
	debt   int
	closed time.Time
	wait   time.Duration
}

const (
	failureCosts = 2
	mostDebt     = 3 * failureCosts
)

func newBreaker() *breaker {
	return &breaker{opened: make(chan struct{}, 1), wait: firstPause}
}

func (b *breaker) allows() bool { return b.shut.Load() }

func (b *breaker) answered() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.debt = max(0, b.debt-1)
}

func (b *breaker) failed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.debt += failureCosts; b.debt < mostDebt || !b.shut.Load() {
		return
	}
	b.shut.Store(false)
	select {
	case b.opened <- struct{}{}:
	default:
	}
}

// close lets calls pass.
func (b *breaker) close(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.debt, b.closed = 0, now
	select {
	case <-b.opened: // of the time before
	default:
	}
	b.shut.Store(true)
}

// pause is how long to wait for the next probe: longer each time, unless Redis had been
// there for a while.
func (b *breaker) pause(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed.IsZero() && now.Sub(b.closed) > calm {
		b.wait, b.closed = firstPause, time.Time{}
	}
	wait := b.wait
	b.wait = min(2*b.wait, lastPause)
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads the instances, guards nothing
}
