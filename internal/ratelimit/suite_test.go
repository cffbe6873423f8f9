package ratelimit_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/internal/ratelimit/ratelimittest"
)

// local is a limiter of one process and its clock.
type local struct {
	l   *ratelimit.Limiter
	now time.Time
}

func (s *local) Advance(d time.Duration) { s.now = s.now.Add(d) }

func (s *local) Take(name string, r ratelimit.Rate, n int) (time.Duration, bool) {
	return s.l.Take(s.now, s.l.Name(0, name), r, n)
}

func (s *local) GiveBack(name string, r ratelimit.Rate, n int) {
	s.l.GiveBack(s.l.Name(0, name), r, n)
}

func TestLimiter_Suite(t *testing.T) {
	ratelimittest.Run(t, func() ratelimittest.Subject {
		now := time.Unix(1_760_000_000, 0)
		return &local{ratelimit.New(now, 1000), now}
	})
}

// others answers as it is told, and counts.
type others struct {
	ok    bool
	err   error
	names map[string]int
}

func (o *others) Take(_ context.Context, _ time.Time, name string, _ ratelimit.Rate, _ int) (time.Duration, bool, error) {
	o.names[name]++
	return time.Second, o.ok, o.err
}

func (o *others) GiveBack(_ context.Context, _ time.Time, name string, _ ratelimit.Rate, n int) error {
	o.names[name] -= n
	return o.err
}

func TestJoint(t *testing.T) {
	now, r, ip := time.Unix(1_760_000_000, 0), ratelimit.Per(2, time.Minute), netip.MustParseAddr("203.0.113.7")
	for name, c := range map[string]struct {
		others *others
		passed int // of four, two being the burst
		asked  int
	}{
		"alone":         {nil, 2, 0},
		"others_agree":  {&others{ok: true}, 2, 2},
		"others_refuse": {&others{}, 0, 4},
		"others_away":   {&others{err: errors.New("away")}, 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			j := ratelimit.Joint{Local: ratelimit.New(now, 100)}
			if c.others != nil {
				c.others.names = map[string]int{}
				j.Shared = c.others
			}
			passed := 0
			for range 4 {
				_, byAddress := j.Address(t.Context(), now, 1, ip, r, 1)
				if _, byName := j.Name(t.Context(), now, 1, "ann", r, 1); byName != byAddress {
					t.Error("names and addresses differ")
				} else if byName {
					passed++
				}
			}
			if passed != c.passed {
				t.Errorf("%d passed, want %d", passed, c.passed)
			}
			if c.others == nil {
				return
			}
			if len(c.others.names) > 2 {
				t.Errorf("names: %v", c.others.names)
			}
			for name, n := range c.others.names {
				if n != c.asked {
					t.Errorf("others were asked %d times about %q, want %d", n, name, c.asked)
				}
			}
			if c.others.ok = true; c.passed == 0 {
				if _, ok := j.Name(t.Context(), now, 1, "ann", r, 2); !ok {
					t.Error("what others refused was counted here")
				}
			}
		})
	}
}
