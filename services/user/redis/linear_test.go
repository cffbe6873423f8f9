//go:build engines

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/stream/id"
)

// ended makes the event of a family that was revoked.
func ended(f user.Family) (*eventv1.Envelope, error) {
	e, err := event.New(id.Derive("ended", f.ID).String(), at, "login:"+f.ID, f.Revision, &eventv1.TokenFamilyRevoked{FamilyId: f.ID})
	if err == nil {
		e.UserId = f.UserID
	}
	return e, err
}

// slow has reads of the store take a while, before and after, so that they meet changes.
type slow struct{ user.Store }

func dawdle() { <-time.After(rand.N(1500 * time.Microsecond)) }

func (s slow) Family(ctx context.Context, id string) (user.Family, error) {
	f, err := s.Store.Family(ctx, id)
	dawdle()
	return f, err
}

func (s slow) Account(ctx context.Context, id string) (user.Account, error) {
	a, err := s.Store.Account(ctx, id)
	dawdle()
	return a, err
}

// step is a read of a revision, or a change to one.
type step struct {
	write    bool
	revision uint64
}

type outcome struct {
	revision uint64 // that was read
	conflict bool
}

// register is a register of revisions with compare-and-set.
func register() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return uint64(1) },
		Step: func(state, in, out any) (bool, any) {
			r, i, o := state.(uint64), in.(step), out.(outcome) //nolint:forcetypeassert // the model's own types
			switch {
			case !i.write:
				return o.revision == r, r
			case i.revision != r+1:
				return o.conflict, r
			}
			return !o.conflict, r + 1
		},
	}
}

// target is what is read and changed: a sign-in or an account.
type target struct {
	read  func(ctx context.Context, s user.Store) (uint64, error)
	write func(ctx context.Context, s user.Store, revision uint64) error
	// conflict is the error of a change of another revision.
	conflict error
}

func targets(a user.Account, f user.Family) map[string]target {
	return map[string]target{
		"login": {
			func(ctx context.Context, s user.Store) (uint64, error) {
				f, err := s.Family(ctx, f.ID)
				return f.Revision, err
			},
			func(ctx context.Context, s user.Store, revision uint64) error {
				f := f
				f.Revision = revision
				return s.UpdateFamily(ctx, f, nil)
			}, user.ErrSession,
		},
		"account": {
			func(ctx context.Context, s user.Store) (uint64, error) {
				a, err := s.Account(ctx, a.ID)
				return a.Revision, err
			},
			func(ctx context.Context, s user.Store, revision uint64) error {
				a := a
				a.Revision = revision
				return s.UpdateAccount(ctx, user.Change{Account: a})
			}, user.ErrConflict,
		},
	}
}

// history has several callers at each instance read and change for a while.
func history(t *testing.T, instances []*Store, g target, steps int) []porcupine.Operation {
	start := time.Now()
	var mu sync.Mutex
	var all []porcupine.Operation
	var wg sync.WaitGroup
	const callers = 3
	for n := range callers * len(instances) {
		wg.Go(func() {
			s, known := instances[n%len(instances)], uint64(1)
			for range steps {
				in, out := step{write: rand.IntN(4) == 0, revision: known + 1}, outcome{}
				op := porcupine.Operation{ClientId: n, Input: in, Call: time.Since(start).Nanoseconds()}
				var err error
				if in.write {
					err = g.write(t.Context(), s, in.revision)
					if out.conflict = errors.Is(err, g.conflict); out.conflict {
						err = nil
					} else {
						known = in.revision
					}
				} else if out.revision, err = g.read(t.Context(), s); err == nil {
					known = out.revision
				}
				if err != nil {
					t.Errorf("a caller sees an error: %v", err)
					return
				}
				op.Output, op.Return = out, time.Since(start).Nanoseconds()
				mu.Lock()
				all = append(all, op)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

// faults spoils answers, and crashes Redis now and then, until it is stopped.
func faults(t *testing.T, server *testengine.RedisServer, proxies []*testengine.Proxy) (stop func()) {
	for _, p := range proxies {
		p.Spoil(150*time.Millisecond, func() testengine.Fate {
			if rand.IntN(25) > 0 {
				return testengine.Pass
			}
			return testengine.Drop + testengine.Fate(rand.IntN(4))
		})
	}
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(400 * time.Millisecond):
			}
			server.Crash()
			if err := server.Restart(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
				return
			}
		}
	})
	return func() {
		close(end)
		wg.Wait()
		for _, p := range proxies {
			p.Spoil(0, nil)
		}
	}
}

// TestStore_Linearizable: whatever two instances do at once, and whatever becomes of the
// answers of Redis, there is one order of it that explains every answer. Decorators that
// leave out one of the precautions are found out by the same test.
func TestStore_Linearizable(t *testing.T) {
	server := testengine.Redis(t)
	blind := redisdb.NewScript("blind_keep", `redis.call("SET", KEYS[1], ARGV[1] .. "  " .. ARGV[3], "PX", ARGV[4]) return {}`)
	remove := redisdb.NewScript("remove", `redis.call("DEL", KEYS[1]) return {}`)
	nothing := redisdb.NewScript("nothing", `return {}`)
	for name, c := range map[string]struct {
		spoil  bool
		broken func(*scripts)
	}{
		"sound":             {},
		"sound_with_faults": {spoil: true},
		"keeps_blindly":     {broken: func(s *scripts) { s.keep = blind }},
		"keeps_and_removes": {broken: func(s *scripts) { s.keep, s.mark = blind, remove }},
		"removes_only":      {broken: func(s *scripts) { s.mark = remove }},
		"marks_nothing":     {broken: func(s *scripts) { s.mark = nothing }},
	} {
		t.Run(name, func(t *testing.T) {
			below := open(t)
			var instances []*Store
			var proxies []*testengine.Proxy
			for range 2 {
				p := testengine.NewProxy(t, server.Addr)
				s := cached(t, slow{below}, p.Addr)
				if c.broken != nil {
					c.broken(&s.scripts)
				}
				proxies, instances = append(proxies, p), append(instances, s)
			}
			if c.spoil {
				defer faults(t, server, proxies)()
			}
			found := 0
			const rounds = 4
			for round := range rounds {
				a, f := signIn(t, below, fmt.Sprint(name, round))
				for what, g := range targets(a, f) {
					all := history(t, instances, g, 60)
					if res := porcupine.CheckOperationsTimeout(register(), all, time.Minute); res == porcupine.Illegal {
						found++
						if c.broken == nil {
							t.Errorf("%s: no order explains %d operations", what, len(all))
						}
					} else if res == porcupine.Unknown {
						t.Errorf("%s: the check took too long", what)
					}
				}
			}
			if c.broken != nil && found == 0 {
				t.Error("a broken cache passes")
			}
			t.Logf("%d of %d histories have no order", found, 2*rounds)
		})
	}
}
