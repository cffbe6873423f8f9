package gateway

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

const (
	shards   = 64
	perShard = 4096 // keys; the whole limiter stays under 40 MB
)

// limitKey is what a rate is counted by: a class and either an address or an account.
type limitKey struct {
	class class
	addr  netip.Addr
	user  string
}

// limiter is GCRA (ITU-T I.371): of each key it keeps one instant, the theoretical
// arrival time, until which its allowance is used up.
type limiter struct {
	seed   maphash.Seed
	shards [shards]limiterShard
}

type limiterShard struct {
	mu    sync.Mutex
	tat   map[limitKey]int64 // Unix nanoseconds
	swept int64
}

func newLimiter() *limiter {
	l := &limiter{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].tat = map[limitKey]int64{}
	}
	return l
}

// allow counts one request; when it is one too many, retry is when the next will pass.
func (l *limiter) allow(now time.Time, key limitKey, rate Rate) (retry time.Duration, ok bool) {
	s := &l.shards[maphash.Comparable(l.seed, key)%shards]
	interval := float64(time.Second) / rate.PerSecond
	burst := int64(interval * float64(rate.Burst-1))
	at := now.UnixNano()
	s.mu.Lock()
	defer s.mu.Unlock()
	tat, known := s.tat[key]
	if !known && len(s.tat) >= perShard && !s.sweep(at) {
		// More strangers than can be told apart: they share one allowance.
		key = limitKey{class: key.class}
		tat = s.tat[key]
	}
	tat = max(tat, at)
	if wait := tat - at - burst; wait > 0 {
		return time.Duration(wait), false
	}
	s.tat[key] = tat + int64(interval)
	return 0, true
}

// sweep forgets keys with their whole allowance back, at most once a second; false when
// there is still no room.
func (s *limiterShard) sweep(at int64) bool {
	if at-s.swept >= int64(time.Second) {
		s.swept = at
		for k, tat := range s.tat {
			if tat <= at {
				delete(s.tat, k)
			}
		}
	}
	return len(s.tat) < perShard
}
