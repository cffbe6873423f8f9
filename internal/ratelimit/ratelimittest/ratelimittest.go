// Package ratelimittest checks that a limiter is GCRA: whichever process or server counts,
// it answers as the bucket of ITU-T I.371 does.
package ratelimittest

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/segue-music/segue/internal/ratelimit"
)

// Subject is a limiter and the clock it goes by, which moves in microseconds.
type Subject interface {
	Take(name string, r ratelimit.Rate, n int) (wait time.Duration, ok bool)
	GiveBack(name string, r ratelimit.Rate, n int)
	Advance(d time.Duration)
}

// Run runs the suite. Each subject begins with nothing taken.
func Run(t *testing.T, fresh func() Subject) {
	t.Run("burst", func(t *testing.T) { burst(t, fresh()) })
	t.Run("give_back", func(t *testing.T) { giveBack(t, fresh()) })
	t.Run("exact", func(t *testing.T) { rapid.Check(t, func(t *rapid.T) { exact(t, fresh()) }) })
}

func burst(t *testing.T, s Subject) {
	r := ratelimit.Per(3, time.Minute)
	take := func(name string, n int) bool { _, ok := s.Take(name, r, n); return ok }
	if !take("a", 1) || !take("a", 2) || take("a", 1) {
		t.Error("a burst of 3 is not 3")
	}
	if !take("b", 3) {
		t.Error("another key is counted along")
	}
	wait, ok := s.Take("a", r, 1)
	if ok || wait != 20*time.Second {
		t.Errorf("wait %s, %v; want 20s", wait, ok)
	}
	if wait, ok := s.Take("a", r, 2); ok || wait != 40*time.Second {
		t.Errorf("wait for two %s, %v; want 40s", wait, ok)
	}
	if wait, ok := s.Take("a", r, 1); ok || wait != 20*time.Second {
		t.Errorf("wait for one after that %s, %v; want 20s", wait, ok)
	}
	s.Advance(40 * time.Second)
	if !take("a", 2) || take("a", 1) {
		t.Error("after the wait for two there are not exactly two")
	}
	s.Advance(time.Hour)
	if !take("a", 3) || take("a", 1) {
		t.Error("rest saves more than a burst")
	}
	if take("c", 4) || take("c", -1) || !take("c", 3) {
		t.Error("more than a burst is taken, or costs something")
	}
}

// giveBack: what was given back can be taken again, and no more than that.
func giveBack(t *testing.T, s Subject) {
	r := ratelimit.Per(3, time.Minute)
	take := func(name string) bool { _, ok := s.Take(name, r, 1); return ok }
	all := func(name string) (n int) {
		for take(name) {
			n++
		}
		return n
	}
	if n := all("a"); n != 3 {
		t.Errorf("%d are taken", n)
	}
	s.GiveBack("a", r, 2)
	if n := all("a"); n != 2 {
		t.Errorf("of two that were given back %d are taken", n)
	}
	s.Advance(time.Hour)
	if !take("a") {
		t.Error("nothing is there after a rest")
	}
	s.GiveBack("a", r, 1)
	s.GiveBack("unknown", r, 1)
	for _, name := range []string{"a", "unknown"} {
		if n := all(name); n != 3 {
			t.Errorf("%s: %d are taken after a rest, want the burst of 3", name, n)
		}
	}
}

// exact compares every answer with a model that counts in exact time: the bucket holds
// burst intervals and leaks.
func exact(t *rapid.T, s Subject) {
	r := ratelimit.Rate{
		Interval: time.Duration(rapid.Int64Range(1, int64(3*time.Second/time.Microsecond)).Draw(t, "interval")) * time.Microsecond,
		Burst:    rapid.IntRange(1, 12).Draw(t, "burst"),
	}
	level := map[string]time.Duration{} // of water; what of the bucket is used up
	full := r.Interval * time.Duration(r.Burst)
	for range rapid.IntRange(1, 40).Draw(t, "steps") {
		gap := time.Duration(rapid.Int64Range(0, 2*int64(r.Interval/time.Microsecond)).Draw(t, "gap")) * time.Microsecond
		s.Advance(gap)
		for k := range level {
			level[k] = max(0, level[k]-gap)
		}
		who := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "who")
		n := rapid.IntRange(0, r.Burst).Draw(t, "n")
		need := level[who] + r.Interval*time.Duration(n)
		wait, ok := s.Take(who, r, n)
		if ok != (need <= full) {
			t.Fatalf("take of %d: %v at a level of %s of %s", n, ok, level[who], full)
		}
		if !ok && wait != need-full {
			t.Fatalf("wait %s, want %s", wait, need-full)
		}
		if ok {
			level[who] = need
		}
	}
}
