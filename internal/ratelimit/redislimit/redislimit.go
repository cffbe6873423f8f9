// Package redislimit counts rates for all instances together, in Redis: GCRA as one
// script, by the clock of Redis, in one round trip.
//
// Who asks often is leased some of the rate ahead, so that most takes cost no round trip.
// A lease is what its holder has just used up within a lease's life, and never more than an
// eighth of the burst; what is left of it when its life ends is lost. So in any span all
// instances together let through no more than the rate does in the span and one life more.
package redislimit

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/internal/redisdb"
)

const (
	// Life is how long what was leased may be used.
	Life = 250 * time.Millisecond
	// share of the burst is the most that one instance is leased.
	share = 8
	// alone is how long a key that Redis did not answer for is not asked for again: those
	// who waited for the same answer are not to wait one by one.
	alone = 100 * time.Millisecond

	prefix = "segue:rate:"
)

// Limiter is a [ratelimit.Shared]. It is safe for concurrent use.
type Limiter struct {
	redis  *redisdb.Client
	prefix string
	leases *leases
	// clock is what Redis' own is replaced by in tests, in microseconds.
	clock func() int64
	// single has each take make a round trip: what leases are measured by.
	single bool
}

var _ ratelimit.Shared = (*Limiter)(nil)

// New makes a limiter of what has a name of its own, as those of another name know nothing
// of it. It knows the leases of so many keys, about 200 bytes each; those of more are given
// up early.
func New(client *redisdb.Client, of string, keys int) *Limiter {
	return &Limiter{redis: client, prefix: prefix + of + ":", leases: newLeases(keys)}
}

// take has the debt of a key, in nanoseconds, and when it was that, in microseconds. It
// takes from ARGV[3] to ARGV[4], as many as there are.
//
//nolint:gochecknoglobals // never changes
var take = redisdb.NewScript("rate", `
local interval, burst, need, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[5])
if not now then
	local time = redis.call("TIME")
	now = time[1] * 1000000 + time[2]
end
local debt = 0
local kept = redis.call("GET", KEYS[1])
if kept then
	local at, owed = string.match(kept, "^(%d+) (%d+)$")
	debt = math.max(0, tonumber(owed) - math.max(0, now - tonumber(at)) * 1000)
end
local room = burst * interval - debt
if need * interval > room then
	return {0, string.format("%.0f", need * interval - room)}
end
local n = math.min(want, math.floor(room / interval))
debt = debt + n * interval
if n > 0 then
	redis.call("SET", KEYS[1], string.format("%.0f %.0f", now, debt), "PX", string.format("%.0f", math.ceil(debt / 1000000) + 1))
end
return {n, "0"}`)

// Take implements [ratelimit.Shared].
func (l *Limiter) Take(ctx context.Context, now time.Time, name string, r ratelimit.Rate, n int) (wait time.Duration, ok bool, err error) {
	switch {
	case n < 0 || n > r.Burst:
		return r.Interval * time.Duration(r.Burst), false, nil
	case n == 0:
		return 0, true, nil
	}
	k := l.leases.of(name, now)
	k.mu.Lock()
	defer k.mu.Unlock()
	if wait := k.refused.Sub(now); n == k.refusedN && wait > 0 && wait <= r.Interval*time.Duration(r.Burst) {
		return wait, false, nil
	}
	if n <= k.left && k.holds(now) {
		k.left -= n
		return 0, true, nil
	}
	if now.Before(k.alone) {
		return 0, false, redisdb.ErrAway
	}
	want := n
	if !l.single {
		want = max(n, min(k.demand(now, n), r.Burst/share))
	}
	got, wait, err := l.ask(ctx, name, r, n, want)
	switch {
	case err != nil:
		k.alone = now.Add(alone)
		return 0, false, err
	case got < n:
		k.refused, k.refusedN = now.Add(wait), n
		return wait, false, nil
	}
	k.refusedN, k.refused = 0, time.Time{}
	k.size, k.left, k.ends = got, got-n, now.Add(Life)
	return 0, true, nil
}

// back takes ARGV[2] from the debt of a key.
//
//nolint:gochecknoglobals // never changes
var back = redisdb.NewScript("rate_back", `
local interval, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = redis.call("GET", KEYS[1])
if kept then
	local at, owed = string.match(kept, "^(%d+) (%d+)$")
	local debt = tonumber(owed) - n * interval
	if debt > 0 then
		redis.call("SET", KEYS[1], string.format("%s %.0f", at, debt), "KEEPTTL")
	else
		redis.call("DEL", KEYS[1])
	end
end
return {}`)

// GiveBack implements [ratelimit.Shared].
func (l *Limiter) GiveBack(ctx context.Context, now time.Time, name string, r ratelimit.Rate, n int) error {
	k := l.leases.of(name, now)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusedN, k.refused = 0, time.Time{}
	_, err := l.redis.Do(ctx, back, l.prefix+name, int64(r.Interval), n)
	return err
}

// ask makes the round trip.
func (l *Limiter) ask(ctx context.Context, name string, r ratelimit.Rate, need, want int) (got int, wait time.Duration, err error) {
	clock := ""
	if l.clock != nil {
		clock = strconv.FormatInt(l.clock(), 10)
	}
	a, err := l.redis.Do(ctx, take, l.prefix+name, int64(r.Interval), r.Burst, need, want, clock)
	if err != nil {
		return 0, 0, err
	}
	if len(a) == 2 {
		n, isInt := a[0].(int64)
		text, isText := a[1].(string)
		ns, err := strconv.ParseInt(text, 10, 64)
		if isInt && isText && err == nil {
			return int(n), time.Duration(ns), nil
		}
	}
	return 0, 0, fmt.Errorf("rate script answers %v", a)
}

// lease is what this instance has of one key.
type lease struct {
	mu   sync.Mutex // held during the round trip, so that others of the key wait for its lease
	size int
	left int
	ends time.Time
	// refused is until when refusedN are refused.
	refused  time.Time
	refusedN int
	alone    time.Time
}

// holds tells whether what is left may be used; a clock that was set back ends a lease.
func (k *lease) holds(now time.Time) bool { return now.Before(k.ends) && k.ends.Sub(now) <= Life }

// demand is how many are likely to be taken in the next life: twice the last lease where
// that was used up in its life, and else what was used of it, when that was just now.
func (k *lease) demand(now time.Time, n int) int {
	switch {
	case k.holds(now):
		return n + 2*k.size
	case now.Before(k.ends.Add(Life)):
		return k.size - k.left
	}
	return n
}
