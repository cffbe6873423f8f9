package storetest_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/sqlite"
	"github.com/segue-music/segue/services/charts/storetest"
)

// Stores that break a promise.
type (
	forgetsDoubles struct{ charts.Store }
	anyPosition    struct{ charts.Store }
	drops          struct{ charts.Store }
	tears          struct{ charts.Store }
	reorders       struct{ charts.Store }
	anyRevision    struct{ charts.Store }
	keepsAll       struct{ charts.Store }
)

func (s forgetsDoubles) Count(ctx context.Context, b charts.Batch) error {
	b.Plays = slices.Clone(b.Plays)
	for i := range b.Plays {
		b.Plays[i].EventID += time.Now().String()
	}
	return s.Store.Count(ctx, b)
}

func (s anyPosition) Count(ctx context.Context, b charts.Batch) error {
	err := s.Store.Count(ctx, b)
	if errors.Is(err, charts.ErrPosition) {
		if b.From, err = s.Position(ctx, b.Partition); err == nil {
			err = s.Store.Count(ctx, b)
		}
	}
	return err
}

func (s drops) Count(ctx context.Context, b charts.Batch) error {
	if len(b.Plays) > 1 {
		b.Plays = b.Plays[1:]
	}
	return s.Store.Count(ctx, b)
}

func (s tears) Count(ctx context.Context, b charts.Batch) error {
	err := s.Store.Count(ctx, b)
	if errors.Is(err, charts.ErrPosition) { // the plays without the position
		_ = s.Store.Count(ctx, charts.Batch{Partition: 1 << 20, From: 0, Next: 0, Plays: b.Plays})
	}
	return err
}

func (s reorders) Top(ctx context.Context, k charts.Key, n int) ([]charts.Entry, error) {
	list, err := s.Store.Top(ctx, k, n)
	slices.Reverse(list)
	return list, err
}

func (s anyRevision) Replace(ctx context.Context, n charts.Snapshot) error {
	if have, err := s.Revision(ctx, n.Period, n.Start); err == nil {
		n.Revision = max(n.Revision, have+1)
	}
	return s.Store.Replace(ctx, n)
}

func (keepsAll) Prune(context.Context, time.Time) error { return nil }

// TestSuite: each broken store fails, in a check that is meant for it.
func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		of    func(charts.Store) charts.Store
		check string
	}{
		"forgets_doubles": {func(s charts.Store) charts.Store { return forgetsDoubles{s} }, "once"},
		"any_position":    {func(s charts.Store) charts.Store { return anyPosition{s} }, "position"},
		"drops":           {func(s charts.Store) charts.Store { return drops{s} }, "count"},
		"tears":           {func(s charts.Store) charts.Store { return tears{s} }, "position"},
		"races":           {func(s charts.Store) charts.Store { return anyPosition{s} }, "race"},
		"reorders":        {func(s charts.Store) charts.Store { return reorders{s} }, "order"},
		"any_revision":    {func(s charts.Store) charts.Store { return anyRevision{s} }, "replace"},
		"keeps_all":       {func(s charts.Store) charts.Store { return keepsAll{s} }, "prune"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "c.db"), sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			all := storetest.Checks()
			i := slices.IndexFunc(all, func(k storetest.Check) bool { return k.Name == c.check })
			if err := all[i].Run(t.Context(), c.of(s)); err == nil {
				t.Errorf("check %s finds nothing", c.check)
			}
		})
	}
}
