package gateway

import (
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLimiter_Memory: a million strangers do not grow the limiter without bound, and do
// not lock out who is known.
func TestLimiter_Memory(t *testing.T) {
	l, rate, now := newLimiter(), Rate{PerSecond: 1, Burst: 3000}, time.Unix(1_700_000_000, 0)
	known := limitKey{addr: netip.MustParseAddr("192.0.2.1")}
	refused := 0
	for i := range 1_000_000 {
		if i%500 == 0 {
			if _, ok := l.allow(now, known, rate); !ok {
				t.Fatalf("who is known is refused at %d", i)
			}
		}
		stranger := limitKey{addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
		if _, ok := l.allow(now, stranger, rate); !ok {
			refused++
		}
	}
	keys := 0
	for i := range l.shards {
		keys += len(l.shards[i].tat)
	}
	if refused == 0 || keys > shards*(perShard+int(classes)) {
		t.Errorf("%d keys, %d refused", keys, refused)
	}
	later := now.Add(2 * time.Hour)
	if _, ok := l.allow(later, limitKey{addr: netip.MustParseAddr("172.16.0.1")}, rate); !ok {
		t.Error("a new stranger is refused when the others are long gone")
	}
}

// TestLimiter_Bucket compares GCRA with the token bucket that it stands for.
func TestLimiter_Bucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := Rate{PerSecond: float64(rapid.SampledFrom([]int{1, 2, 4, 8}).Draw(t, "rate")), Burst: rapid.IntRange(1, 9).Draw(t, "burst")}
		l, now, key := newLimiter(), time.Unix(1_700_000_000, 0), limitKey{user: "u"}
		tokens := float64(rate.Burst)
		for range rapid.IntRange(1, 60).Draw(t, "requests") {
			gap := time.Duration(rapid.IntRange(0, 16).Draw(t, "gap")) * time.Second / 16
			now = now.Add(gap)
			tokens = min(float64(rate.Burst), tokens+gap.Seconds()*rate.PerSecond)
			retry, ok := l.allow(now, key, rate)
			if ok != (tokens >= 1) {
				t.Fatalf("allowed %v with %v tokens", ok, tokens)
			}
			if ok {
				tokens--
				continue
			}
			if want := time.Duration((1 - tokens) / rate.PerSecond * float64(time.Second)); retry != want {
				t.Fatalf("retry in %v, want %v", retry, want)
			}
		}
	})
}
