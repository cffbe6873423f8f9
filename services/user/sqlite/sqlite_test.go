package sqlite_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/sqlite"
	"github.com/segue-music/segue/services/user/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "user.db"), sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		return storetest.Opened{Store: s, Events: storetest.Drain(t, s)}
	})
}

// TestOpen_Again finds what was stored before, and nothing after Close.
func TestOpen_Again(t *testing.T) {
	path := filepath.Join(t.TempDir(), "user.db")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := user.Account{ID: "1", Username: "a", Revision: 1}
	if _, err := s.CreateAccount(t.Context(), user.NewAccount{Account: a, PasswordHash: "h", Key: user.ListenerKey{Wrapped: []byte{1}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.ReplaceHash(t.Context(), "1", "h", "x"); !errors.Is(err, sqlitedb.ErrClosed) {
		t.Errorf("a write after Close: %v", err)
	}
	if s, err = sqlite.Open(t.Context(), path, sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, hash, err := s.AccountByName(t.Context(), "a"); err != nil || hash != "h" {
		t.Errorf("after opening again: %q, %v", hash, err)
	}
}
