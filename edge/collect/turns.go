package collect

import (
	"context"
	"sync"
	"time"
)

// publishLimit is how long diagnostics may take to become durable, whether their app still
// waits or not: what a broker is sent cannot be called back.
const publishLimit = 20 * time.Second

// turns let one request of a device publish at a time. An app that lost its answer sends a
// batch again while the first one is still on its way.
type turns struct {
	mu    sync.Mutex
	taken map[string]chan struct{} // closed at the end of the turn
}

// take waits for the device's turn, which done ends.
func (t *turns) take(ctx context.Context, device string) (done func(), err error) {
	for {
		t.mu.Lock()
		busy, ok := t.taken[device]
		if !ok {
			mine := make(chan struct{})
			t.taken[device] = mine
			t.mu.Unlock()
			return func() {
				t.mu.Lock()
				delete(t.taken, device)
				t.mu.Unlock()
				close(mine)
			}, nil
		}
		t.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
