package keyring_test

import (
	"errors"
	"os"
	"path/filepath"
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

func TestRing_KeysSurvive(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secrets")
	a := open(t, dir)
	first := keys(t, a, keyring.Ticket)
	for range 4 {
		if _, err := a.Rotate(keyring.Ticket); err != nil {
			t.Fatal(err)
		}
	}
	now := keys(t, a, keyring.Ticket)
	if len(now) != 3 || now[0].ID != 5 || now[2].ID != 3 {
		t.Errorf("after four rotations: %d keys from %d to %d", len(now), now[0].ID, now[len(now)-1].ID)
	}
	if first[0].Secret == now[0].Secret || keys(t, a, keyring.RPC)[0].Secret == now[0].Secret {
		t.Error("two keys are one")
	}
	if diff := cmp.Diff(now, keys(t, open(t, dir), keyring.Ticket)); diff != "" {
		t.Errorf("opened again:\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "ticket.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRing_MasterKeysStay(t *testing.T) {
	r := open(t, t.TempDir())
	for range 5 {
		if _, err := r.Rotate(keyring.Master); err != nil {
			t.Fatal(err)
		}
	}
	if k := keys(t, r, keyring.Master); len(k) != 6 {
		t.Errorf("%d master keys of 6: what the others wrapped is lost", len(k))
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
