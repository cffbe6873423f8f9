package keyring_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/keyring"
)

func open(t *testing.T, dir string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(dir, func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keys(t *testing.T, r *keyring.Ring, p keyring.Purpose) []keyring.Key {
	t.Helper()
	k, err := r.Keys(p)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func openAt(t *testing.T, dir string, c *clock) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func rotate(t *testing.T, r *keyring.Ring, p keyring.Purpose) keyring.Key {
	t.Helper()
	k, err := r.Rotate(p)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestRing_KeysSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	c := &clock{time.Unix(1_700_000_000, 0)}
	a := openAt(t, dir, c)
	first := keys(t, a, keyring.Ticket)
	rotate(t, a, keyring.Ticket)
	now := keys(t, a, keyring.Ticket)
	if first[0].Secret == now[1].Secret || keys(t, a, keyring.RPC)[0].Secret == now[0].Secret {
		t.Error("two keys are one")
	}
	if diff := cmp.Diff(now, keys(t, openAt(t, dir, c), keyring.Ticket)); diff != "" {
		t.Errorf("opened again:\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "ticket.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// TestRing_Rotation goes through the life of keys: known, in use, old, gone. Every process
// verifies whatever any process makes, at any moment.
func TestRing_Rotation(t *testing.T) {
	for _, p := range keyring.Purposes() {
		t.Run(string(p), func(t *testing.T) {
			dir := t.TempDir()
			c := &clock{time.Unix(1_700_000_000, 0)}
			a, b := openAt(t, dir, c), openAt(t, dir, c)
			keys(t, a, p)
			keys(t, b, p)
			good := func() {
				t.Helper()
				for _, pair := range [][2]*keyring.Ring{{a, b}, {b, a}} {
					if use := keys(t, pair[0], p)[0]; !slices.Contains(keys(t, pair[1], p), use) {
						t.Fatalf("at %s one process uses a key that another does not know", c.at)
					}
				}
			}
			used := map[uint32]time.Time{} // when each key was used last
			next := rotate(t, a, p)
			for range 40 {
				good()
				if c.at.Sub(next.Created) < keyring.Ahead && keys(t, a, p)[0] == next {
					t.Fatal("a key is used before every process knows it")
				}
				if k, err := a.Rotate(p); err == nil {
					if c.at.Sub(next.Created) < keyring.Ahead {
						t.Fatal("rotated again at once")
					}
					next = k
				} else if !errors.Is(err, keyring.ErrSoon) {
					t.Fatal(err)
				}
				used[keys(t, a, p)[0].ID] = c.at
				have := map[uint32]bool{}
				for _, k := range keys(t, a, p) {
					have[k.ID] = true
				}
				for id, at := range used {
					if (p.Life() == 0 || c.at.Sub(at) < p.Life()) && !have[id] {
						t.Fatalf("key %d was used %s ago and is gone", id, c.at.Sub(at))
					}
				}
				c.at = c.at.Add(3 * time.Second)
			}
			if p.Life() == 0 {
				return
			}
			c.at = c.at.Add(p.Life() + time.Hour)
			rotate(t, a, p)
			c.at = c.at.Add(p.Life() + time.Hour)
			rotate(t, a, p)
			c.at = c.at.Add(p.Life() + time.Hour)
			rotate(t, a, p)
			if n := len(keys(t, a, p)); n > 3 {
				t.Errorf("%d keys are kept for good", n)
			}
		})
	}
}

// TestRing_ClockJumps: an hour forward and back takes no key away and brings none into use
// that another process may lack.
func TestRing_ClockJumps(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Unix(1_700_000_000, 0)}
	a, b := openAt(t, dir, c), openAt(t, dir, c)
	one := keys(t, a, keyring.RPC)[0]
	keys(t, b, keyring.RPC)
	two := rotate(t, a, keyring.RPC)
	c.at = c.at.Add(-time.Hour)
	for _, r := range []*keyring.Ring{a, b} {
		if got := keys(t, r, keyring.RPC); got[0] != one || len(got) != 2 || got[1] != two {
			t.Errorf("an hour back: %d keys, the first is %d", len(got), got[0].ID)
		}
	}
	c.at = c.at.Add(2 * time.Hour)
	for _, r := range []*keyring.Ring{a, b} {
		if got := keys(t, r, keyring.RPC); got[0] != two || len(got) != 2 || got[1] != one {
			t.Errorf("an hour forward: %d keys, the first is %d", len(got), got[0].ID)
		}
	}
}

// TestRing_TwoRotateAtOnce: one of the two keys is lost, before anything was made with it.
func TestRing_TwoRotateAtOnce(t *testing.T) {
	dir := t.TempDir()
	c := &clock{time.Unix(1_700_000_000, 0)}
	a, b := openAt(t, dir, c), openAt(t, dir, c)
	keys(t, a, keyring.RPC)
	keys(t, b, keyring.RPC)
	var wg sync.WaitGroup
	for _, r := range []*keyring.Ring{a, b} {
		wg.Go(func() { _, _ = r.Rotate(keyring.RPC) })
	}
	wg.Wait()
	for range 30 {
		if use := keys(t, a, keyring.RPC)[0]; !slices.Contains(keys(t, b, keyring.RPC), use) {
			t.Fatalf("%s later one process uses a key that the other does not know", c.at.Sub(time.Unix(1_700_000_000, 0)))
		}
		c.at = c.at.Add(time.Second)
	}
}

func TestRing_MasterKeysStay(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	r := openAt(t, t.TempDir(), c)
	for range 20 {
		rotate(t, r, keyring.Master)
		c.at = c.at.Add(time.Hour)
	}
	if k := keys(t, r, keyring.Master); len(k) != 21 {
		t.Errorf("%d master keys of 21: what the others wrapped is lost", len(k))
	}
}

func TestRing_Bounded(t *testing.T) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	r := openAt(t, t.TempDir(), c)
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		_, err = r.Rotate(keyring.Refresh)
		c.at = c.at.Add(time.Minute)
	}
	if !errors.Is(err, keyring.ErrMany) || n != 16 {
		t.Errorf("after %d rotations: %v", n, err)
	}
}

func TestRing_Refuses(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	if _, err := r.Keys("other"); !errors.Is(err, keyring.ErrPurpose) {
		t.Errorf("unknown purpose: %v", err)
	}
	for name, body := range map[string]string{"empty": "", "no_key": "[]", "short": `[{"id":1,"secret":"00"}]`} {
		if err := os.WriteFile(filepath.Join(dir, "rpc.json"), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := open(t, dir).Keys(keyring.RPC); err == nil {
			t.Errorf("%s: %d keys and no error", name, len(k))
		}
	}
	keys(t, r, keyring.Master)
	if err := os.Chmod(filepath.Join(dir, "master.json"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, dir).Keys(keyring.Master); !errors.Is(err, keyring.ErrMode) {
		t.Errorf("a file that others read: %v", err)
	}
}

func TestRing_Concurrent(t *testing.T) {
	r := open(t, t.TempDir())
	var wg sync.WaitGroup
	got := make([]keyring.Key, 8)
	for i := range got {
		wg.Go(func() {
			if k, err := r.Keys(keyring.Signing); err == nil {
				got[i] = k[0]
			}
		})
	}
	wg.Wait()
	for _, k := range got {
		if k != got[0] || k.ID != 1 {
			t.Fatalf("two first keys: %d and %d", k.ID, got[0].ID)
		}
	}
}

// TestRing_Shared is what several processes on one folder do.
func TestRing_Shared(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(1_700_000_000, 0)
	rings := make([]*keyring.Ring, 6)
	for i := range rings {
		r, err := keyring.Open(dir, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		rings[i] = r
	}
	var wg sync.WaitGroup
	for _, r := range rings {
		wg.Go(func() { _, _ = r.Keys(keyring.RPC) })
	}
	wg.Wait()
	for _, r := range rings[1:] {
		if keys(t, r, keyring.RPC)[0] != keys(t, rings[0], keyring.RPC)[0] {
			t.Fatal("two processes have two first keys")
		}
	}
	fresh, err := rings[0].Rotate(keyring.RPC)
	if err != nil {
		t.Fatal(err)
	}
	if keys(t, rings[0], keyring.RPC)[0] == fresh {
		t.Error("a key is used at once, before the others know it")
	}
	now = now.Add(time.Minute)
	if keys(t, rings[1], keyring.RPC)[0] != fresh {
		t.Error("the rotation by another process is not seen")
	}
}

func TestKey_Derive(t *testing.T) {
	k := keyring.Key{Secret: [32]byte{1}}
	if k.Derive("a", []byte("bc")) == k.Derive("ab", []byte("c")) || k.Derive("a") == k.Derive("a", nil) {
		t.Error("label and context run together")
	}
}

// TestMade: asking for the age of a key makes none.
func TestMade(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	ring, err := keyring.Open(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if n := testutil.CollectAndCount(ring.Metrics()); n != 0 {
		t.Errorf("%d keys of a fresh ring", n)
	}
	if left, _ := os.ReadDir(ring.Dir()); len(left) != 0 {
		t.Errorf("asking made %v", left)
	}
	if _, err := ring.Keys(keyring.Signing); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if age := testutil.ToFloat64(ring.Metrics()); age != 3600 {
		t.Errorf("age %v s, want 3600", age)
	}
	if _, err := ring.Rotate(keyring.Signing); err != nil {
		t.Fatal(err)
	}
	if age := testutil.ToFloat64(ring.Metrics()); age != 0 {
		t.Errorf("age %v s after the rotation", age)
	}
}
