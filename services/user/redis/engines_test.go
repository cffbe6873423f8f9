//go:build engines

package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/storetest"
)

// TestStore runs the whole contract over SQLite and Redis.
func TestStore(t *testing.T) {
	server := testengine.Redis(t)
	hits := 0.0
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		below := open(t)
		s := cached(t, below, server.Addr)
		// Each check begins with nothing cached: they share their ids.
		server.Crash()
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		until(t, "Redis", func() bool {
			_, err := s.redis.Do(t.Context(), s.scripts.look, "none", "token", 1)
			return err == nil
		})
		t.Cleanup(func() {
			hits += testutil.ToFloat64(s.reads.WithLabelValues("account", "hit")) + testutil.ToFloat64(s.reads.WithLabelValues("login", "hit"))
		})
		// Each read twice, so that the second comes from the cache.
		return storetest.Opened{Store: twice{s}, Events: storetest.Drain(t, below)}
	})
	if hits == 0 {
		t.Error("nothing came from the cache")
	}
	t.Logf("%v reads came from the cache", hits)
}

// twice reads twice, and both must agree.
type twice struct{ user.Store }

var errDiffers = errors.New("the second read differs")

func (s twice) Account(ctx context.Context, id string) (user.Account, error) {
	if _, err := s.Store.Account(ctx, id); err != nil {
		return user.Account{}, err
	}
	return s.Store.Account(ctx, id)
}

func (s twice) Family(ctx context.Context, id string) (user.Family, error) {
	first, err := s.Store.Family(ctx, id)
	if err != nil {
		return user.Family{}, err
	}
	f, err := s.Store.Family(ctx, id)
	if err == nil && f.Revision < first.Revision {
		err = errDiffers
	}
	return f, err
}

// TestStore_Hit: the store is not asked for what is cached, and what is cached is the same
// at every instance.
func TestStore_Hit(t *testing.T) {
	server := testengine.Redis(t)
	below := open(t)
	one, two := cached(t, below, server.Addr), cached(t, below, server.Addr)
	a, f := signIn(t, one, "ann")
	_, _ = one.Account(t.Context(), a.ID)
	_, _ = one.Family(t.Context(), f.ID)
	two.Store = nil // would panic
	gotA, errA := two.Account(t.Context(), a.ID)
	gotF, errF := two.Family(t.Context(), f.ID)
	if errA != nil || errF != nil || gotA.Username != "ann" || gotF.UserID != a.ID || !gotF.Expires.Equal(f.Expires) {
		t.Errorf("%+v, %v; %+v, %v", gotA, errA, gotF, errF)
	}
	two.Store = below
	families, err := one.DeleteAccount(t.Context(), a.ID, 1, nil)
	if err != nil || len(families) != 1 {
		t.Fatal(families, err)
	}
	_, errA = two.Account(t.Context(), a.ID)
	_, errF = two.Family(t.Context(), f.ID)
	if !errors.Is(errA, user.ErrNotFound) || !errors.Is(errF, user.ErrNoSession) {
		t.Errorf("after the deletion elsewhere: %v, %v", errA, errF)
	}
}

// TestStore_Late: a value that was read before a change and comes late, as from a process
// that was stopped or to a server that was, is not taken: neither against the mark nor when
// that has ended, nor when others have missed it since, nor by a Redis that was restarted.
func TestStore_Late(t *testing.T) {
	server := testengine.Redis(t)
	below := open(t)
	s := cached(t, below, server.Addr)
	a, _ := signIn(t, s, "ann")
	key := accountKey(a.ID)
	old := s.look(t.Context(), key, &user.Account{})
	if old.token == "" || old.found {
		t.Fatalf("%+v", old)
	}
	changed := a
	changed.Revision, changed.Disabled = 2, true
	if err := s.UpdateAccount(t.Context(), user.Change{Account: changed}); err != nil {
		t.Fatal(err)
	}
	refused := func(when string) {
		t.Helper()
		s.keep(t.Context(), old, a.Revision, a)
		if got := (user.Account{}); s.look(t.Context(), key, &got).found && !got.Disabled {
			t.Errorf("a stale value is taken %s", when)
		}
	}
	refused("against the mark")
	remove := redisdb.NewScript("remove", `redis.call("DEL", KEYS[1]) return {}`)
	for _, when := range []string{"after the mark", "after another's miss"} { // refused looks, and so misses
		if when == "after the mark" {
			if _, err := s.redis.Do(t.Context(), remove, key); err != nil {
				t.Fatal(err)
			}
		}
		refused(when)
	}
	server.Crash()
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "Redis", func() bool {
		_, err := s.redis.Do(t.Context(), remove, "none")
		return err == nil
	})
	refused("after a restart")
	if got, err := s.Account(t.Context(), a.ID); err != nil || !got.Disabled {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestStore_Unconfirmed: an instance that does not reach Redis sees its own changes, nobody
// sees an error, and its marks are placed as soon as they can be. Values live for an hour
// here, so that it is not their end that repairs.
func TestStore_Unconfirmed(t *testing.T) {
	server := testengine.Redis(t)
	below, proxy := open(t), testengine.NewProxy(t, server.Addr)
	cut, other := cached(t, below, proxy.Addr), cached(t, below, server.Addr)
	cut.times.value, other.times.value = time.Hour, time.Hour
	a, f := signIn(t, cut, "ann")
	for _, s := range []*Store{cut, other} {
		if _, err := s.Account(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Family(t.Context(), f.ID); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Away(true)
	a.Revision, a.Disabled = 2, true
	err := cut.UpdateAccount(t.Context(), user.Change{Account: a, EndSessions: &user.EndSessions{Reason: "disabled", Event: ended}})
	if err != nil {
		t.Fatal(err)
	}
	gotA, errA := cut.Account(t.Context(), a.ID)
	gotF, errF := cut.Family(t.Context(), f.ID)
	if errA != nil || errF != nil || !gotA.Disabled || gotF.Revoked.IsZero() {
		t.Errorf("its own change is not seen: %+v, %v; %+v, %v", gotA, errA, gotF, errF)
	}
	proxy.Away(false)
	until(t, "marks", func() bool {
		gotA, errA := other.Account(t.Context(), a.ID)
		gotF, errF := other.Family(t.Context(), f.ID)
		if errA != nil || errF != nil {
			t.Fatal(errA, errF)
		}
		return gotA.Disabled && !gotF.Revoked.IsZero()
	})
	until(t, "clean keys", func() bool { return len(cut.dirty.list(time.Time{})) == 0 })
	if gotA, err := cut.Account(t.Context(), a.ID); err != nil || !gotA.Disabled {
		t.Errorf("%+v, %v", gotA, err)
	}
}
