package collect

import (
	"sync"
	"time"
)

// limiter is the generic cell rate algorithm (ITU-T I.371, virtual scheduling) per
// listener: one time each, the theoretical arrival of the next event. A listener whose
// time has passed holds no debt and is forgotten.
type limiter struct {
	every time.Duration // between two events in the long run
	burst time.Duration // how far ahead of now the time may be

	mu   sync.Mutex
	next map[string]time.Time
}

// maxListeners is when those without debt are forgotten.
const maxListeners = 100_000

func newLimiter(rate, burst int) *limiter {
	every := time.Second / time.Duration(rate)
	return &limiter{every: every, burst: every * time.Duration(burst), next: map[string]time.Time{}}
}

// take takes n events, all or none; wait is when they could be taken.
func (l *limiter) take(who string, n int, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.next[who]
	// A clock that was set back must not lock a listener out for longer than a burst.
	if at.Before(now) || at.Sub(now) > l.burst {
		at = now
	}
	at = at.Add(l.every * time.Duration(n))
	if over := at.Sub(now) - l.burst; over > 0 {
		return over, false
	}
	if _, known := l.next[who]; !known && len(l.next) >= maxListeners {
		l.forget(now)
	}
	l.next[who] = at
	return 0, true
}

func (l *limiter) forget(now time.Time) {
	for who, at := range l.next {
		if !at.After(now) {
			delete(l.next, who)
		}
	}
	for who := range l.next {
		if len(l.next) < maxListeners {
			return
		}
		delete(l.next, who) // rather too lenient for one than without bound
	}
}
