package password

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/fault"
)

// cheap keeps the tests quick; the shape of the strings is the same.
func cheap() Params { return Params{Memory: 64, Time: 1, Threads: 1} }

func TestHasher_Verify(t *testing.T) {
	ctx, h := t.Context(), New(cheap(), 8)
	stored, err := h.Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := h.Hash(ctx, "correct horse"); again == stored {
		t.Error("two hashes of one password are equal: no salt")
	}
	cases := map[string]struct {
		stored, password string
		ok, outdated     bool
		err              error
	}{
		"right":            {stored, "correct horse", true, false, nil},
		"wrong":            {stored, "correct horsf", false, false, nil},
		"empty_password":   {stored, "", false, false, nil},
		"no_account":       {"", "correct horse", false, false, nil},
		"no_account_empty": {"", "", false, false, nil},
		"other_kind":       {strings.Replace(stored, "argon2id", "argon2i", 1), "correct horse", false, false, ErrMalformed},
		"truncated":        {stored[:40], "correct horse", false, false, ErrMalformed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			before := h.Runs()
			ok, outdated, err := h.Verify(ctx, c.stored, c.password)
			if ok != c.ok || outdated != c.outdated || !errors.Is(err, c.err) {
				t.Errorf("Verify = %v, %v, %v; want %v, %v, %v", ok, outdated, err, c.ok, c.outdated, c.err)
			}
			if c.err == nil && h.Runs() != before+1 {
				t.Errorf("%d hashes were computed, want 1 whatever is stored", h.Runs()-before)
			}
		})
	}
}

func TestHasher_Outdated(t *testing.T) {
	ctx := t.Context()
	stored, err := New(cheap(), 1).Hash(ctx, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	ok, outdated, err := New(Params{Memory: 128, Time: 1, Threads: 1}, 1).Verify(ctx, stored, "correct horse")
	if !ok || !outdated || err != nil {
		t.Errorf("Verify = %v, %v, %v; want right and outdated", ok, outdated, err)
	}
}

func TestHasher_Queue(t *testing.T) {
	ctx, h := t.Context(), New(cheap(), 1)
	for range runtime.GOMAXPROCS(0) {
		if err := h.gate.enter(ctx, first); err != nil { // every slot is taken
			t.Fatal(err)
		}
	}
	waits, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := h.Hash(waits, "waits")
		done <- err
	}()
	waiting := func() int {
		h.gate.mu.Lock()
		defer h.gate.mu.Unlock()
		return h.gate.waiting[first].Len()
	}
	for waiting() == 0 {
		runtime.Gosched()
	}
	if busy, slots, waiting, queue := h.Load(); busy != slots || waiting != 1 || queue != 1 { // the last turn has half of one
		t.Errorf("load %d of %d, %d of %d wait", busy, slots, waiting, queue)
	}
	_, err := h.Hash(ctx, "one too many")
	if fault.KindOf(err) != fault.Exhausted || fault.RetryAfter(err) < time.Second {
		t.Errorf("past the queue: %v, retry in %s; want exhausted with a retry", err, fault.RetryAfter(err))
	}
	if n := h.Refused(); n != 1 {
		t.Errorf("%d refused", n)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("a waiting caller that gave up: %v", err)
	}
	h.gate.leave()
	told := 0
	h.OnWait(func(time.Duration) { told++ })
	if _, err := h.Hash(ctx, "room again"); err != nil || told != 1 {
		t.Errorf("after a slot became free: %v", err)
	}
}

// TestRecommended_Cost holds the floor that OWASP names.
func TestRecommended_Cost(t *testing.T) {
	if p := Recommended(); p.Memory < 19<<10 || p.Time < 2 || p.Threads < 1 {
		t.Errorf("parameters are %+v", p)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=256$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, salt, sum, err := parse(s)
		if err != nil {
			return
		}
		if p.Memory == 0 || p.Memory > maxMemory || p.Time == 0 || p.Time > maxTime || p.Threads == 0 || len(salt) < 8 || len(sum) < 16 {
			t.Errorf("parse(%q) = %+v, %d, %d bytes", s, p, len(salt), len(sum))
		}
	})
}
