package ratelimit

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// The peer is golang.org/x/time/rate, a token bucket per key in a map under a lock, which
// is how it is used for many clients; its map grows with every stranger.
type peer struct {
	mu   sync.Mutex
	keys map[netip.Addr]*rate.Limiter
}

func (p *peer) take(now time.Time, ip netip.Addr) bool {
	p.mu.Lock()
	l, ok := p.keys[ip]
	if !ok {
		l = rate.NewLimiter(100, 200)
		p.keys[ip] = l
	}
	p.mu.Unlock()
	return l.AllowN(now, 1)
}

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// BenchmarkTake: a take of one client, of 10,000 in turn, and of strangers who never come
// again, beside the peer.
func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name    string
		clients int
	}{{"one", 1}, {"10000", 10_000}, {"strangers", 1 << 24}} {
		b.Run(c.name+"/gcra", func(b *testing.B) {
			b.ReportAllocs()
			l, r, now := New(start, 1<<16), PerSecond(100, 200), start
			for i := 0; b.Loop(); i++ {
				now = now.Add(time.Microsecond)
				l.Take(now, l.Address(0, address(i%c.clients)), r, 1)
			}
		})
		b.Run(c.name+"/x-time-rate", func(b *testing.B) {
			b.ReportAllocs()
			p, now := &peer{keys: map[netip.Addr]*rate.Limiter{}}, start
			for i := 0; b.Loop(); i++ {
				now = now.Add(time.Microsecond)
				p.take(now, address(i%c.clients))
			}
		})
	}
}
