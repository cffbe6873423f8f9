package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/internal/lifecycle"
)

// journal records what happened, in order.
type journal struct {
	mu  sync.Mutex
	all []string
}

func (j *journal) add(s string) { j.mu.Lock(); j.all = append(j.all, s); j.mu.Unlock() }

func (j *journal) part(name string, startErr, runErr error) lifecycle.Component {
	note := func(verb string, err error) func(context.Context) error {
		return func(context.Context) error { j.add(verb + " " + name); return err }
	}
	return lifecycle.Component{
		Name: name, Start: note("start", startErr), Drain: note("drain", nil), Stop: note("stop", nil),
		Run: func(ctx context.Context) error {
			if runErr != nil {
				return runErr
			}
			<-ctx.Done()
			j.add("end " + name)
			return ctx.Err()
		},
	}
}

func TestGroup_StopsInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &journal{}
		g := lifecycle.New(slog.New(slog.DiscardHandler))
		g.Add(j.part("a", nil, nil))
		g.Add(j.part("b", nil, nil))
		ctx, cancel := context.WithCancel(t.Context())
		err := g.Run(ctx, func() error { j.add("ready"); cancel(); return nil })
		want := []string{"start a", "start b", "ready", "drain b", "drain a", "end b", "stop b", "end a", "stop a"}
		if diff := cmp.Diff(want, j.all); diff != "" || err != nil {
			t.Errorf("%v, order:\n%s", err, diff)
		}
	})
}

func TestGroup_StartFails(t *testing.T) {
	j, boom := &journal{}, errors.New("boom")
	g := lifecycle.New(slog.New(slog.DiscardHandler))
	g.Add(j.part("a", nil, nil))
	g.Add(j.part("b", boom, nil))
	g.Add(j.part("c", nil, nil))
	err := g.Run(t.Context(), func() error { t.Error("ready"); return nil })
	if !errors.Is(err, boom) || slices.Contains(j.all, "start c") || !slices.Contains(j.all, "stop a") || slices.Contains(j.all, "stop b") {
		t.Errorf("%v after %q", err, j.all)
	}
}

func TestGroup_RunEnds(t *testing.T) {
	for name, runErr := range map[string]error{"with_an_error": errors.New("boom")} {
		t.Run(name, func(t *testing.T) {
			j := &journal{}
			g := lifecycle.New(slog.New(slog.DiscardHandler))
			g.Add(j.part("a", nil, nil))
			g.Add(j.part("b", nil, runErr))
			if err := g.Run(t.Context(), nil); !errors.Is(err, runErr) || !slices.Contains(j.all, "stop a") {
				t.Errorf("%v after %q", err, j.all)
			}
		})
	}
	t.Run("without_an_error", func(t *testing.T) {
		g := lifecycle.New(slog.New(slog.DiscardHandler))
		g.Add(lifecycle.Component{Name: "a", Run: func(context.Context) error { return nil }})
		if err := g.Run(t.Context(), nil); err == nil {
			t.Error("a component that ended by itself is no error")
		}
	})
}

func TestGroup_StopIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		g := lifecycle.New(slog.New(slog.DiscardHandler))
		g.Add(lifecycle.Component{Name: "a", Run: func(context.Context) error { <-free; return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		if err := g.Run(ctx, func() error { cancel(); return nil }); err == nil {
			t.Error("a component that does not end is not told of")
		}
		close(free)
	})
}
