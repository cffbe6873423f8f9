//go:build engines

package redislimit

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/internal/ratelimit/ratelimittest"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/testengine"
)

// connect gives a client that has found Redis and runs until the test ends.
func connect(tb testing.TB, addr string, timeout time.Duration) *redisdb.Client {
	tb.Helper()
	c, err := redisdb.Open(redisdb.Config{Addr: addr, Timeout: timeout}, redisdb.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = c.Run(ctx) })
	tb.Cleanup(func() {
		cancel()
		all.Wait()
		_ = c.Close()
	})
	until(tb, "Redis", func() bool { return !c.Away() })
	return c
}

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	limit := time.After(20 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			tb.Fatalf("no %s within 20 s", what)
		}
	}
}

var fresh atomic.Uint64 //nolint:gochecknoglobals // no two subjects share a key

// shared is a limiter on Redis with a clock that stands until it is moved.
type shared struct {
	tb    testing.TB
	take  func(now time.Time, name string, r ratelimit.Rate, n int) (time.Duration, bool)
	back  func(now time.Time, name string, r ratelimit.Rate, n int) error
	clock *atomic.Int64
	name  string
}

func (s *shared) Advance(d time.Duration) { s.clock.Add(d.Microseconds()) }

func (s *shared) Take(name string, r ratelimit.Rate, n int) (time.Duration, bool) {
	return s.take(time.UnixMicro(s.clock.Load()), s.name+name, r, n)
}

func (s *shared) GiveBack(name string, r ratelimit.Rate, n int) {
	if err := s.back(time.UnixMicro(s.clock.Load()), s.name+name, r, n); err != nil {
		s.tb.Fatal(err)
	}
}

func standing(tb testing.TB, c *redisdb.Client) (*Limiter, *shared) {
	l, s := New(c, "test", 1000), &shared{tb: tb, clock: &atomic.Int64{}, name: fmt.Sprint(fresh.Add(1), " ")}
	s.clock.Store(1_760_000_000_000_000)
	l.clock = s.clock.Load
	s.back = func(now time.Time, name string, r ratelimit.Rate, n int) error {
		return l.GiveBack(context.Background(), now, name, r, n)
	}
	s.take = func(now time.Time, name string, r ratelimit.Rate, n int) (time.Duration, bool) {
		wait, ok, err := l.Take(context.Background(), now, name, r, n)
		if err != nil {
			tb.Fatal(err)
		}
		return wait, ok
	}
	return l, s
}

// TestLimiter runs the suite of the local limiter on the shared one, by itself, with a round
// trip each time, and as the gateway has it.
func TestLimiter(t *testing.T) {
	c := connect(t, testengine.Redis(t).Addr, time.Second)
	t.Run("leases", func(t *testing.T) {
		ratelimittest.Run(t, func() ratelimittest.Subject { _, s := standing(t, c); return s })
	})
	t.Run("single", func(t *testing.T) {
		ratelimittest.Run(t, func() ratelimittest.Subject { l, s := standing(t, c); l.single = true; return s })
	})
	t.Run("joint", func(t *testing.T) {
		ratelimittest.Run(t, func() ratelimittest.Subject {
			l, s := standing(t, c)
			j := ratelimit.Joint{Local: ratelimit.New(time.UnixMicro(s.clock.Load()), 1000), Shared: l}
			s.back = func(now time.Time, name string, r ratelimit.Rate, n int) error {
				j.NameBack(context.Background(), now, 0, name, r, n)
				return nil
			}
			s.take = func(now time.Time, name string, r ratelimit.Rate, n int) (time.Duration, bool) {
				return j.Name(context.Background(), now, 0, name, r, n)
			}
			return s
		})
	})
}

// TestLimiter_Together: instances that are asked at once let through what the rate says,
// and what a lease's life adds, and not much less.
func TestLimiter_Together(t *testing.T) {
	c := connect(t, testengine.Redis(t).Addr, time.Second)
	r := ratelimit.PerSecond(400, 400)
	const instances, clients = 4, 4
	for name, single := range map[string]bool{"single": true, "leases": false} {
		t.Run(name, func(t *testing.T) {
			var passed atomic.Int64
			var all sync.WaitGroup
			began := time.Now()
			for range instances {
				l := New(c, "test", 100)
				l.single = single
				j := ratelimit.Joint{Local: ratelimit.New(began, 100), Shared: l}
				for range clients {
					all.Go(func() {
						for time.Since(began) < 2*time.Second {
							if wait, ok := j.Name(t.Context(), time.Now(), 0, name, r, 1); ok {
								passed.Add(1)
							} else {
								<-time.After(min(wait, 5*time.Millisecond))
							}
						}
					})
				}
			}
			all.Wait()
			took := time.Since(began)
			due := int64(r.Burst) + int64(took/r.Interval)
			most := due + 1
			if !single {
				most += int64(Life / r.Interval)
			}
			t.Logf("%d passed in %s, %d are due", passed.Load(), took, due)
			if n := passed.Load(); n > most || n < due*8/10 {
				t.Errorf("%d passed in %s, %d are due and at most %d", n, took, due, most)
			}
		})
	}
}

// TestLimiter_Away: without Redis each instance decides by itself, and nobody waits long.
func TestLimiter_Away(t *testing.T) {
	server := testengine.Redis(t)
	c := connect(t, server.Addr, 10*time.Millisecond)
	j := ratelimit.Joint{Local: ratelimit.New(time.Now(), 100), Shared: New(c, "test", 100)}
	r := ratelimit.Per(50, time.Hour)
	passed := func(name string, n int) (ok int) {
		for range n {
			if _, fine := j.Name(t.Context(), time.Now(), 0, name, r, 1); fine {
				ok++
			}
		}
		return ok
	}
	if n := passed("ann", 10); n != 10 {
		t.Errorf("%d of 10 passed", n)
	}
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	if n := passed("ann", 60); n != 40 {
		t.Errorf("%d passed without Redis, want the 40 that are left", n)
	}
	if n := passed("bob", 60); n != 50 {
		t.Errorf("%d passed without Redis, want 50", n)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	until(t, "Redis", func() bool { return !c.Away() })
	if n := passed("eve", 60); n != 50 {
		t.Errorf("%d passed with Redis again, want 50", n)
	}
	server.Crash()
	if n := passed("tom", 60); n != 50 {
		t.Errorf("%d passed after a crash, want 50", n)
	}
}

// cpu is what this process has used.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTake: what a take costs here by itself, with a round trip each time, and with
// leases, of one key that asks as fast as it can and of a thousand that each ask 40 times a
// second. The last is the work of a gateway; how fast it goes is given, so that what it
// costs is CPU alone.
func BenchmarkTake(b *testing.B) {
	c := connect(b, testengine.Redis(b).Addr, time.Second)
	plenty := ratelimit.PerSecond(1e6, 1e6)
	for _, kind := range []string{"local", "single", "leases"} {
		limiter := func() *ratelimit.Joint {
			j := &ratelimit.Joint{Local: ratelimit.New(time.Now(), 1<<16)}
			if kind != "local" {
				l := New(c, "test", 1<<16)
				l.single = kind == "single"
				j.Shared = l
			}
			return j
		}
		b.Run("one/"+kind, func(b *testing.B) {
			j, name, before := limiter(), fmt.Sprint(fresh.Add(1)), cpu(b)
			for b.Loop() {
				j.Name(b.Context(), time.Now(), 0, name, plenty, 1)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
		b.Run("1000x40/"+kind, func(b *testing.B) {
			j, r := limiter(), ratelimit.PerSecond(50, 200)
			names := make([]string, 1000)
			for i := range names {
				names[i] = fmt.Sprint(fresh.Add(1))
			}
			const every = time.Second / 40_000
			before, began, waited := cpu(b), time.Now(), time.Duration(0)
			n := 0
			for b.Loop() {
				// In steps, so that waiting costs next to nothing.
				if due := began.Add(time.Duration(n) * every); time.Until(due) > 2*time.Millisecond {
					<-time.After(time.Until(due))
				}
				at := time.Now()
				j.Name(b.Context(), at, 0, names[n%len(names)], r, 1)
				waited += time.Since(at)
				n++
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(waited)/float64(b.N), "wait-ns/op")
		})
	}
}
