package user

import (
	"net/netip"
	"sync"
	"time"
)

// limitKeys bounds a limiter's memory.
const limitKeys = 100_000

// limiter is GCRA, the leaky bucket as a meter: burst at once, then one each interval.
// It is local: several instances of the service admit so many times more.
type limiter struct {
	interval time.Duration
	burst    int

	mu   sync.Mutex
	full map[string]time.Time // when a key's bucket is empty again
}

func newLimiter(burst int, per time.Duration) *limiter {
	return &limiter{interval: per / time.Duration(burst), burst: burst, full: map[string]time.Time{}}
}

// take takes one from key, or says how long to wait.
func (l *limiter) take(now time.Time, key string) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.full[key]
	if at.Before(now) {
		at = now
	}
	at = at.Add(l.interval)
	if over := at.Sub(now) - l.interval*time.Duration(l.burst); over > 0 {
		return over, false
	}
	if _, had := l.full[key]; !had && len(l.full) >= limitKeys {
		l.shrink(now)
	}
	l.full[key] = at
	return 0, true
}

// giveBack undoes one take.
func (l *limiter) giveBack(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.full[key]; ok {
		l.full[key] = at.Add(-l.interval)
	}
}

// shrink forgets the keys that are at rest, and where none is, any tenth: whoever sprays
// names and addresses must not fill the memory.
func (l *limiter) shrink(now time.Time) {
	for k, at := range l.full {
		if at.Before(now) {
			delete(l.full, k)
		}
	}
	for k := range l.full {
		if len(l.full) <= limitKeys*9/10 {
			return
		}
		delete(l.full, k)
	}
}

// addressKey is what is counted of an address: an IPv6 customer has a /64.
func addressKey(ip string) string {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.String()
}
