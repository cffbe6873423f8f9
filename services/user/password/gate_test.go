package password

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestGate_Turns: with a slot taken, those whose turn is last go after all others, have
// half of the room, and what is left waiting is in the order of arrival.
func TestGate_Turns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 4)
		if err := g.enter(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		wait := func(name string, of turn) {
			wg.Go(func() {
				if err := g.enter(t.Context(), of); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
				g.leave()
			})
			synctest.Wait()
		}
		wait("l1", last)
		wait("l2", last)
		if err := g.enter(t.Context(), last); !errors.Is(err, ErrBusy) {
			t.Errorf("a third of those whose turn is last: %v", err)
		}
		wait("f1", first)
		wait("f2", first)
		wait("f3", first)
		wait("f4", first)
		if err := g.enter(t.Context(), first); !errors.Is(err, ErrBusy) {
			t.Errorf("a fifth: %v", err)
		}
		g.leave()
		wg.Wait()
		if want := []string{"f1", "f2", "f3", "f4", "l1", "l2"}; !slices.Equal(order, want) {
			t.Errorf("served %v, want %v", order, want)
		}
		if g.inside != 0 {
			t.Errorf("%d slots are taken in the end", g.inside)
		}
	})
}

// TestGate_GoneCallers: who goes away while waiting takes no slot along.
func TestGate_GoneCallers(t *testing.T) {
	g := newGate(1, 8)
	for range 2000 {
		if err := g.enter(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				if g.enter(ctx, last) == nil {
					g.leave()
				}
			})
			wg.Go(cancel)
		}
		wg.Go(g.leave)
		wg.Wait()
		if g.inside != 0 || g.waiting[last].Len() != 0 {
			t.Fatalf("%d inside, %d waiting", g.inside, g.waiting[last].Len())
		}
	}
}
