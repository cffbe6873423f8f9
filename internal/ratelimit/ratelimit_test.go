package ratelimit

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1_760_000_000, 0) //nolint:gochecknoglobals // a constant

func TestLimiter(t *testing.T) {
	now := start
	l, r := New(now, 1000), Per(3, time.Minute)
	take := func(name string, n int) bool { _, ok := l.Take(now, l.Name(0, name), r, n); return ok }
	if !take("a", 1) || !take("a", 2) || take("a", 1) {
		t.Error("a burst of 3 is not 3")
	}
	if !take("b", 3) {
		t.Error("another key is counted along")
	}
	wait, ok := l.Take(now, l.Name(0, "a"), r, 1)
	if ok || wait != 20*time.Second {
		t.Errorf("wait %s, %v; want 20s", wait, ok)
	}
	if wait, ok := l.Take(now, l.Name(0, "a"), r, 2); ok || wait != 40*time.Second {
		t.Errorf("wait for two %s, %v; want 40s", wait, ok)
	}
	now = now.Add(wait)
	if !take("a", 1) || take("a", 1) {
		t.Error("after the wait there is not exactly one")
	}
	l.GiveBack(l.Name(0, "a"), r, 1)
	l.GiveBack(l.Name(0, "nobody"), r, 1)
	if !take("a", 1) || take("a", 1) {
		t.Error("what was given back cannot be taken once")
	}
	now = now.Add(time.Hour)
	l.GiveBack(l.Name(0, "a"), r, 1)
	if !take("a", 3) || take("a", 1) {
		t.Error("rest saves more than a burst")
	}
	if take("c", 4) || take("c", -1) || !take("c", 3) {
		t.Error("more than a burst is taken, or costs something")
	}
}

func TestLimiter_Keys(t *testing.T) {
	l := New(start, 1000)
	a := netip.MustParseAddr
	same := [][2]Key{
		{l.Address(1, a("203.0.113.7")), l.Address(1, a("::ffff:203.0.113.7"))},
		{l.Address(1, a("2001:db8:1:2::1")), l.Address(1, a("2001:db8:1:2:3:4:5:6"))},
		{l.Address(1, a("fe80::1%eth0")), l.Address(1, a("fe80::2%eth1"))},
		{l.Name(1, "x"), l.Name(1, "x")},
	}
	for i, k := range same {
		if k[0] != k[1] {
			t.Errorf("pair %d differs", i)
		}
	}
	all := []Key{
		l.Address(1, a("203.0.113.7")), l.Address(2, a("203.0.113.7")), l.Address(1, a("203.0.113.8")), l.Address(1, a("2001:db8:1:2::1")),
		l.Address(1, a("2001:db8:1:3::1")), l.Address(1, netip.Addr{}), l.Name(1, "x"), l.Name(2, "x"), l.Name(1, "y"), l.Name(1, ""),
	}
	seen := map[Key]int{}
	for i, k := range all {
		if j, ok := seen[k]; ok {
			t.Errorf("keys %d and %d are one", j, i)
		}
		seen[k] = i
	}
	if New(start, 1000).Name(1, "x") == l.Name(1, "x") {
		t.Error("the hash can be foretold")
	}
}

// TestLimiter_Exact compares every answer with a model that counts in exact time: the
// bucket of I.371, which holds burst intervals and leaks.
func TestLimiter_Exact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{Interval: time.Duration(rapid.Int64Range(1, int64(3*time.Second)).Draw(t, "interval")), Burst: rapid.IntRange(1, 12).Draw(t, "burst")}
		now := start
		l := New(now, 100)
		level := map[string]time.Duration{} // of water; what of the bucket is used up
		full := r.Interval * time.Duration(r.Burst)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			gap := time.Duration(rapid.Int64Range(0, 2*int64(r.Interval)).Draw(t, "gap"))
			now = now.Add(gap)
			for k := range level {
				level[k] = max(0, level[k]-gap)
			}
			who := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "who")
			n := rapid.IntRange(0, r.Burst).Draw(t, "n")
			need := level[who] + r.Interval*time.Duration(n)
			wait, ok := l.Take(now, l.Name(0, who), r, n)
			if ok != (need <= full) {
				t.Fatalf("take of %d: %v at a level of %s of %s", n, ok, level[who], full)
			}
			if !ok {
				if wait != need-full {
					t.Fatalf("wait %s, want %s", wait, need-full)
				}
				continue
			}
			level[who] = need
			if rapid.Bool().Draw(t, "give back") {
				l.GiveBack(l.Name(0, who), r, n)
				level[who] -= r.Interval * time.Duration(n)
			}
		}
	})
}

// TestLimiter_Clock jumps an hour back and forth between requests: nobody is stopped for
// longer than the rate says, and a jump gives one burst at most.
func TestLimiter_Clock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := PerSecond(float64(rapid.IntRange(1, 50).Draw(t, "rate")), rapid.IntRange(1, 20).Draw(t, "burst"))
		l := New(start, 100)
		key := l.Name(0, "a")
		var elapsed, skew time.Duration // as a clock without jumps goes; and what jumps have added
		jumps, taken := 0, 0
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			elapsed += time.Duration(rapid.Int64Range(0, int64(2*r.Interval)).Draw(t, "gap"))
			if rapid.IntRange(0, 9).Draw(t, "jump") == 0 {
				skew += rapid.SampledFrom([]time.Duration{-time.Hour, time.Hour}).Draw(t, "by")
				jumps++
			}
			wait, ok := l.Take(start.Add(elapsed+skew), key, r, 1)
			if ok {
				taken++
				continue
			}
			if wait > r.Interval {
				t.Fatalf("stopped for %s at one each %s", wait, r.Interval)
			}
			// What it says is true also when the clock is set back right now.
			elapsed += wait
			if _, ok := l.Take(start.Add(elapsed+skew), key, r, 1); !ok {
				t.Fatalf("refused after the wait of %s", wait)
			}
			taken++
		}
		if most := r.Burst*(1+jumps) + int(elapsed/r.Interval); taken > most {
			t.Fatalf("%d taken with %d jumps in %s, at most %d", taken, jumps, elapsed, most)
		}
	})
}

// TestLimiter_RealTime: readings of the real clock carry a monotonic one, which counts.
func TestLimiter_RealTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := New(time.Now(), 100), PerSecond(2, 4)
		key := l.Name(0, "a")
		taken := 0
		for range 100 { // 10 s
			if _, ok := l.Take(time.Now(), key, r, 1); ok {
				taken++
			}
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // in a bubble it only turns the clock
		}
		if taken != 4+19 {
			t.Errorf("%d taken in 10 s at 2+4, want 23", taken)
		}
	})
}

// TestLimiter_OutOfOrder: callers that read the clock in one order and come in another do
// not make time run faster.
func TestLimiter_OutOfOrder(t *testing.T) {
	l, r := New(start, 100), PerSecond(1000, 1)
	key := l.Name(0, "a")
	taken := 0
	for i := range 10_000 { // 1 s in steps of 0.1 ms, every second one 50 ms late
		at := start.Add(time.Duration(i) * 100 * time.Microsecond)
		if i%2 == 1 {
			at = at.Add(-50 * time.Millisecond)
		}
		if _, ok := l.Take(at, key, r, 1); ok {
			taken++
		}
	}
	if taken > 1001 {
		t.Errorf("%d taken in a second at 1000 a second", taken)
	}
}

// TestLimiter_Strangers: a million strangers take no memory, do not stop each other, and
// do not wash away who is refused.
func TestLimiter_Strangers(t *testing.T) {
	now := start
	l, r := New(now, 1<<16), Per(3, time.Minute)
	culprit := l.Name(0, "culprit")
	for range 3 {
		l.Take(now, culprit, r, 1)
	}
	refused, free := 0, 0
	allocs := testing.AllocsPerRun(1, func() {
		for i := range 1_000_000 {
			stranger := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
			if _, ok := l.Take(now, l.Address(0, stranger), r, 1); !ok {
				refused++
			}
			if i%1000 == 0 {
				if _, ok := l.Take(now, culprit, r, 1); ok {
					free++
				}
			}
		}
	})
	// The second run meets the strangers of the first whom the table still knows.
	if refused != 0 || free != 0 {
		t.Errorf("%d strangers refused at their second request of three, %d requests of the culprit let through", refused, free)
	}
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
