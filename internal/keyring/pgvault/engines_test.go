//go:build engines

package pgvault_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/keyring/pgvault"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/testengine"
)

// machine is a process with a ring of its own on the shared vault.
func machine(t *testing.T, c pgdb.Config, wrap string, now func() time.Time) *keyring.Ring {
	t.Helper()
	schema, err := pgvault.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if err := pgdb.Migrate(t.Context(), c, schema, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	db, err := pgdb.Open(t.Context(), c, schema, pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	path := filepath.Join(t.TempDir(), "wrap")
	if err := os.WriteFile(path, []byte(wrap), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := pgvault.ReadWrap(path)
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.OpenVault(t.TempDir(), pgvault.New(db, w), now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	wrap := strings.Repeat("a1", 32)
	var clock atomic.Int64
	clock.Store(time.Now().Unix())
	now := func() time.Time { return time.Unix(clock.Load(), 0) }

	t.Run("one_key_for_all", func(t *testing.T) {
		c := pgdb.Config{URL: pg.Database(t), StatementTimeout: 5 * time.Second}
		machines := make([]*keyring.Ring, 6)
		for i := range machines {
			machines[i] = machine(t, c, wrap, now)
		}
		first := make([][]keyring.Key, len(machines))
		var wg sync.WaitGroup
		for i, m := range machines {
			wg.Go(func() {
				var err error
				if first[i], err = m.Keys(keyring.Ticket); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for i := range first {
			if len(first[i]) != 1 || first[i][0].Secret != first[0][0].Secret {
				t.Fatalf("machine %d has other keys: %d of them", i, len(first[i]))
			}
		}
		clock.Add(60)
		var rotated, soon atomic.Int64
		for _, m := range machines {
			wg.Go(func() {
				switch _, err := m.Rotate(keyring.Ticket); {
				case err == nil:
					rotated.Add(1)
				case errors.Is(err, keyring.ErrSoon):
					soon.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if rotated.Load() != 1 {
			t.Errorf("%d of %d rotations at once made a key", rotated.Load(), len(machines))
		}
		clock.Add(60)
		for i, m := range machines {
			keys, err := m.Keys(keyring.Ticket)
			if err != nil || len(keys) != 2 || keys[0].ID != 2 || keys[1].Secret != first[0][0].Secret {
				t.Errorf("machine %d after the rotation: %d keys, %v", i, len(keys), err)
			}
		}
	})

	t.Run("another_wrapping_key", func(t *testing.T) {
		c := pgdb.Config{URL: pg.Database(t), StatementTimeout: 5 * time.Second}
		if _, err := machine(t, c, wrap, now).Keys(keyring.Master); err != nil {
			t.Fatal(err)
		}
		if _, err := machine(t, c, strings.Repeat("b2", 32), now).Keys(keyring.Master); !errors.Is(err, pgvault.ErrWrap) {
			t.Errorf("opened by another key: %v", err)
		}
		if _, err := machine(t, c, strings.Repeat("b2", 32)+"\n"+wrap, now).Keys(keyring.Master); err != nil {
			t.Errorf("with the old one beside the new: %v", err)
		}
	})

	t.Run("versions", func(t *testing.T) {
		c := pgdb.Config{URL: pg.Database(t), StatementTimeout: 5 * time.Second}
		schema, err := pgvault.Schema()
		if err != nil {
			t.Fatal(err)
		}
		machine(t, c, wrap, now)
		db, err := pgdb.Open(t.Context(), c, schema, pgdb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		path := filepath.Join(t.TempDir(), "wrap")
		if err := os.WriteFile(path, []byte(wrap), 0o600); err != nil {
			t.Fatal(err)
		}
		w, err := pgvault.ReadWrap(path)
		if err != nil {
			t.Fatal(err)
		}
		v := pgvault.New(db, w)
		if _, _, err := v.Load(keyring.RPC); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("nothing: %v", err)
		}
		for i, step := range []struct {
			version int64
			text    string
			err     error
		}{{0, "one", nil}, {0, "again", fs.ErrExist}, {1, "two", nil}, {1, "late", fs.ErrExist}, {2, "three", nil}} {
			if err := v.Store(keyring.RPC, step.version, []byte(step.text)); !errors.Is(err, step.err) {
				t.Errorf("step %d: %v, want %v", i, err, step.err)
			}
		}
		if b, version, err := v.Load(keyring.RPC); string(b) != "three" || version != 3 || err != nil {
			t.Errorf("loaded %q of version %d, %v", b, version, err)
		}
		if _, _, err := v.Load(keyring.Objects); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("another purpose: %v", err)
		}
	})

	// Last: the server goes away, and what is known goes on being used.
	c := pgdb.Config{URL: pg.Database(t), StatementTimeout: time.Second}
	m := machine(t, c, wrap, now)
	before, err := m.Keys(keyring.Signing)
	if err != nil {
		t.Fatal(err)
	}
	pg.Crash()
	clock.Add(60)
	after, err := m.Keys(keyring.Signing)
	if err != nil || after[0].Secret != before[0].Secret {
		t.Errorf("without the server: %v", err)
	}
	if _, err := m.Keys(keyring.Refresh); !errors.Is(err, keyring.ErrAway) {
		t.Errorf("keys that were never read: %v", err)
	}
}
