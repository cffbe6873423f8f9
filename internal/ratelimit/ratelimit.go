// Package ratelimit counts what accounts and addresses ask for. It is GCRA, the generic
// cell rate algorithm of ITU-T I.371 (virtual scheduling): of each key it keeps one
// instant, the theoretical arrival time, up to which the key's allowance is used up.
//
// Memory is fixed when a [Limiter] is made, a take costs the same whatever the limiter
// holds, and nothing is allocated. A limiter is local to its process: so many instances
// admit so many times more.
package ratelimit

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// Key is what a rate is counted by: a class of requests and an address, an account or
// another name. It is a hash, so that what strangers call themselves takes no memory.
type Key uint64

// Rate is one each Interval in the long run, and up to Burst at once after a rest. A key
// is asked with the same rate each time.
type Rate struct {
	Interval time.Duration
	Burst    int
}

// PerSecond is a rate of so many a second, and so many at once.
func PerSecond(n float64, burst int) Rate {
	return Rate{Interval: max(1, time.Duration(float64(time.Second)/n)), Burst: burst}
}

// Per is a rate of n in any span, all of them at once if need be.
func Per(n int, span time.Duration) Rate {
	return Rate{Interval: max(1, span/time.Duration(n)), Burst: n}
}

const (
	shardCount = 32
	ways       = 8 // keys that a hash may lie at
	// setBack is how far the clock may go back before it counts as set: less is two callers
	// that read it and came in the other order.
	setBack = int64(time.Second)
)

// Limiter holds the keys. It is safe for concurrent use.
type Limiter struct {
	seed   maphash.Seed
	base   time.Time
	shards [shardCount]shard
}

type shard struct {
	mu sync.Mutex
	// last is the latest reading of the clock since base, and shift what has been added to
	// readings because the clock was set back: the limiter's own time never goes back.
	last, shift int64
	sets        []set
	_           [24]byte // no two shards in one cache line
}

// set is the keys of one place in the table.
type set struct {
	tag [ways]uint64 // 0: free
	tat [ways]int64  // nanoseconds of the limiter's own time
}

// New makes a limiter that tells so many keys apart, 16 bytes each. With more than that
// in debt at the same time, the one that owes least is forgotten for the next: whoever is
// many is counted a little too leniently, and whoever is refused stays so.
func New(now time.Time, keys int) *Limiter {
	l := &Limiter{seed: maphash.MakeSeed(), base: now}
	perShard := max(1, (keys+shardCount*ways-1)/(shardCount*ways))
	for i := range l.shards {
		l.shards[i].sets = make([]set, perShard)
	}
	return l
}

// Address is the key of an IP address in a class; all of an IPv6 /64 is one, since one
// subscriber has it all.
func (l *Limiter) Address(class uint8, ip netip.Addr) Key {
	b := Network(ip).As16()
	var in [18]byte
	in[0], in[1] = 'a', class
	copy(in[2:], b[:])
	return Key(maphash.Bytes(l.seed, in[:]))
}

// Name is the key of an account, or of anything else that has a name, in a class.
func (l *Limiter) Name(class uint8, name string) Key {
	var in [10]byte
	in[0], in[1] = 'n', class
	binary.LittleEndian.PutUint64(in[2:], maphash.String(l.seed, name))
	return Key(maphash.Bytes(l.seed, in[:]))
}

// Network is what one subscriber has: an IPv4 address, or an IPv6 /64.
func Network(ip netip.Addr) netip.Addr {
	if ip = ip.Unmap().WithZone(""); !ip.Is6() {
		return ip
	}
	p, err := ip.Prefix(64)
	if err != nil {
		return ip
	}
	return p.Addr()
}

// Take takes n for key, all or none. When it may not, wait is when it may, if nobody else
// takes before; n above the burst never may. A clock that is set back stops nobody for
// longer than it would have been stopped, and one that is set forward gives each key its
// burst once, as so much rest would have.
func (l *Limiter) Take(now time.Time, key Key, r Rate, n int) (wait time.Duration, ok bool) {
	if n < 0 || n > r.Burst {
		return r.span(), false
	}
	s, place, tag := l.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.time(int64(now.Sub(l.base)))
	slot := place.slot(tag, at)
	tat := at
	if place.tag[slot] == tag {
		tat = max(tat, place.tat[slot])
	}
	tat += int64(n) * int64(r.Interval)
	if over := tat - at - int64(r.span()); over > 0 {
		return time.Duration(over), false
	}
	place.tag[slot], place.tat[slot] = tag, tat
	return 0, true
}

// GiveBack undoes a take of n. What is given back after a rest adds nothing to the burst.
func (l *Limiter) GiveBack(key Key, r Rate, n int) {
	s, place, tag := l.find(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range place.tag {
		if place.tag[i] == tag {
			place.tat[i] -= int64(n) * int64(r.Interval)
		}
	}
}

// span is how far ahead of now a key may be.
func (r Rate) span() time.Duration {
	hi, lo := bits.Mul64(uint64(max(0, r.Interval)), uint64(max(0, r.Burst)))
	if hi != 0 || lo > math.MaxInt64/4 {
		return math.MaxInt64 / 4 // 73 years
	}
	return time.Duration(lo)
}

// find splits the hash: its top says the shard, its middle the set; the whole is the tag.
func (l *Limiter) find(key Key) (s *shard, place *set, tag uint64) {
	h := uint64(key)
	s = &l.shards[h>>59]
	at, _ := bits.Mul64(h<<5, uint64(len(s.sets)))
	return s, &s.sets[at], h | 1
}

// time is the limiter's own time for a reading of the clock.
func (s *shard) time(reading int64) int64 {
	switch {
	case reading >= s.last:
		s.last = reading
	case s.last-reading > setBack:
		s.shift += s.last - reading
		s.last = reading
	}
	return s.last + s.shift
}

// slot is where the tag lies; or else a free place, or that of the key that owes least.
func (p *set) slot(tag uint64, at int64) int {
	best, least := 0, int64(math.MaxInt64)
	for i := range p.tag {
		if p.tag[i] == tag {
			return i
		}
		owes := int64(0)
		if p.tag[i] != 0 {
			owes = max(1, p.tat[i]-at+1)
		}
		if owes < least {
			best, least = i, owes
		}
	}
	return best
}
