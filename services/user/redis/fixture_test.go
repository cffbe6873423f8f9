//go:build engines

package redis

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/sqlite"
	"github.com/segue-music/segue/stream/id"
)

// at is when the sign-ins of these tests live; storetest's do too.
var at = time.UnixMilli(1_760_000_000_123).Add(90 * time.Second).UTC() //nolint:gochecknoglobals // a constant

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("no %s within 20 s", what)
		}
	}
}

func open(t *testing.T) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "user.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// cached puts the decorator over a store, as one instance that has found Redis.
func cached(t *testing.T, store user.Store, addr string) *Store {
	t.Helper()
	c, err := redisdb.Open(redisdb.Config{Addr: addr, Timeout: 100 * time.Millisecond}, redisdb.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(store, c, Options{Now: func() time.Time { return at }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = c.Run(ctx) })
	all.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
		_ = c.Close()
	})
	until(t, "Redis", func() bool { return !c.Away() })
	return s
}

// signIn makes an account with one sign-in.
func signIn(t *testing.T, s user.Store, name string) (user.Account, user.Family) {
	t.Helper()
	a := user.Account{ID: id.Derive("account", name).String(), Username: name, Revision: 1, Created: at}
	f := user.Family{ID: id.Derive("login", name).String(), UserID: a.ID, Expires: at.Add(time.Hour), Created: at, Revision: 1}
	code := user.Code{Hash: [32]byte{1}, UserID: a.ID, FamilyID: f.ID, Expires: at.Add(time.Hour)}
	copy(code.Hash[:], name)
	if _, err := s.CreateAccount(t.Context(), user.NewAccount{Account: a, Key: user.ListenerKey{Wrapped: []byte{1}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.AddCode(t.Context(), code, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Redeem(t.Context(), code.Hash, f); err != nil {
		t.Fatal(err)
	}
	return a, f
}
