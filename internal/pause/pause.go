// Package pause waits for a time, or until somebody gives up.
package pause

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d, and reports whether ctx lives on.
func For(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// About is For of between half and one and a half times d, drawn anew each time, so that
// those who collided do not meet again. d is more than 0.
func About(ctx context.Context, d time.Duration) bool {
	return For(ctx, d/2+rand.N(d)) //nolint:gosec // a draw, no secret
}
