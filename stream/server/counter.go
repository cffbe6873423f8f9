package server

import (
	"context"
	"sync"
	"time"
)

// counter counts plays per session.
type counter struct {
	mu sync.Mutex
	n  map[[16]byte]int
	// left is closed when a play of the session ends; there is one while somebody waits.
	left map[[16]byte]chan struct{}
}

// acquire takes a place among limit, waiting so long for one, and tells whether it has one.
func (c *counter) acquire(ctx context.Context, id [16]byte, limit int, wait time.Duration) bool {
	left := c.take(id, limit)
	if left == nil {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for left != nil {
		select {
		case <-left:
			left = c.take(id, limit)
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// take takes a place, or gives what is closed when one is left.
func (c *counter) take(id [16]byte, limit int) (left <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n[id] < limit {
		c.n[id]++
		return nil
	}
	if c.left[id] == nil {
		c.left[id] = make(chan struct{})
	}
	return c.left[id]
}

func (c *counter) release(id [16]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.left[id]; left != nil {
		close(left)
		delete(c.left, id)
	}
	if c.n[id]--; c.n[id] <= 0 {
		delete(c.n, id)
	}
}
