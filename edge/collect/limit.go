package collect

import (
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
)

// limitedListeners are told apart: 1 MB.
const limitedListeners = 1 << 16

// limit counts the events of listeners.
type limit struct {
	listeners *ratelimit.Limiter
	rate      ratelimit.Rate
}

func newLimit(c Config, now time.Time) limit {
	return limit{ratelimit.New(now, limitedListeners), ratelimit.PerSecond(float64(c.Rate), c.Burst)}
}

// take takes n events of a listener, all or none; wait is when they could be taken.
func (l limit) take(now time.Time, listener string, n int) (wait time.Duration, ok bool) {
	return l.listeners.Take(now, l.listeners.Name(0, listener), l.rate, n)
}
