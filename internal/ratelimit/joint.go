package ratelimit

import (
	"context"
	"net/netip"
	"time"
)

// Shared counts for several processes together.
type Shared interface {
	// Take takes n for the key of a name as [Limiter.Take] does. now is this process'
	// clock. An error says that nothing is known: whoever counts for all is away.
	Take(ctx context.Context, now time.Time, name string, r Rate, n int) (wait time.Duration, ok bool, err error)
	// GiveBack undoes a take of n as [Limiter.GiveBack] does.
	GiveBack(ctx context.Context, now time.Time, name string, r Rate, n int) error
}

// Joint counts in this process first, since what is too much here is too much in all, and
// then with others. When those are away, this process decides by itself.
type Joint struct {
	Local *Limiter
	// Shared is nil where there are no others.
	Shared Shared
}

// Address takes n for an address, or an IPv6 /64, in a class.
func (j *Joint) Address(ctx context.Context, now time.Time, class uint8, ip netip.Addr, r Rate, n int) (wait time.Duration, ok bool) {
	key := j.Local.Address(class, ip)
	wait, ok = j.Local.Take(now, key, r, n)
	if !ok || j.Shared == nil {
		return wait, ok
	}
	b := Network(ip).As16()
	return j.share(ctx, now, key, string(append([]byte{'a', class}, b[:]...)), r, n)
}

// Name takes n for an account, or anything else that has a name, in a class.
func (j *Joint) Name(ctx context.Context, now time.Time, class uint8, name string, r Rate, n int) (wait time.Duration, ok bool) {
	key := j.Local.Name(class, name)
	wait, ok = j.Local.Take(now, key, r, n)
	if !ok || j.Shared == nil {
		return wait, ok
	}
	return j.share(ctx, now, key, string([]byte{'n', class})+name, r, n)
}

// NameBack undoes a take by Name. Where others counted it and are away now, they keep it.
func (j *Joint) NameBack(ctx context.Context, now time.Time, class uint8, name string, r Rate, n int) {
	j.Local.GiveBack(j.Local.Name(class, name), r, n)
	if j.Shared != nil {
		_ = j.Shared.GiveBack(ctx, now, string([]byte{'n', class})+name, r, n) // as above
	}
}

func (j *Joint) share(ctx context.Context, now time.Time, key Key, name string, r Rate, n int) (wait time.Duration, ok bool) {
	wait, ok, err := j.Shared.Take(ctx, now, name, r, n)
	if err != nil {
		return 0, true
	}
	if !ok {
		j.Local.GiveBack(key, r, n)
	}
	return wait, ok
}
