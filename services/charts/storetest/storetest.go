// Package storetest checks that an engine keeps the promises of charts.Store. It is
// ordinary code, so that the suite itself can be tested on stores that break a promise.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/stream/id"
)

// Check is one promise; Run returns an error where the store breaks it.
type Check struct {
	Name string
	Run  func(ctx context.Context, s charts.Store) error
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"count", count},
		{"once", once},
		{"position", position},
		{"all_or_nothing", allOrNothing},
		{"race", race},
		{"side_by_side", sideBySide},
		{"order", order},
		{"replace", replace},
		{"prune", prune},
		{"cancelled", cancelled},
	}
}

// Run runs every check as a subtest on a store of its own.
func Run(t *testing.T, open func(t *testing.T) charts.Store) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// at is when everything here begins: the last hour of a day.
func at() time.Time { return time.Date(2026, 3, 28, 23, 0, 0, 0, time.UTC) }

func play(n int, began time.Time, market, track string) charts.Play {
	return charts.Play{EventID: id.Derive("play", fmt.Sprint(n)).String(), Began: began, Market: market, TrackID: track}
}

func key(p charts.Period, start time.Time, market string) charts.Key {
	return charts.Key{Period: p, Start: p.Start(start), Market: market}
}

func tops(ctx context.Context, s charts.Store, k charts.Key, want ...charts.Entry) error {
	got, err := s.Top(ctx, k, charts.Size)
	if diff := cmp.Diff(want, got); err == nil && diff != "" {
		err = fmt.Errorf("chart %v (-want +got):\n%s", k, diff)
	}
	return err
}

func is(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: %v, want %v", what, err, want)
	}
	return nil
}

func count(ctx context.Context, s charts.Store) error {
	next := at().Add(time.Hour)
	err := s.Count(ctx, charts.Batch{From: 0, Next: 9, Plays: []charts.Play{
		play(1, at(), "SE", "a"), play(2, at().Add(time.Hour-1), "DE", "a"), play(3, at(), "SE", "b"), play(4, at(), "", "b"), play(5, at(), "SE", "a"),
		play(6, next, "SE", "c"),
	}})
	return errors.Join(err,
		tops(ctx, s, key(charts.Hour, at(), charts.Everywhere), charts.Entry{TrackID: "a", Plays: 3}, charts.Entry{TrackID: "b", Plays: 2}),
		tops(ctx, s, key(charts.Hour, at(), "SE"), charts.Entry{TrackID: "a", Plays: 2}, charts.Entry{TrackID: "b", Plays: 1}),
		tops(ctx, s, key(charts.Hour, at(), "DE"), charts.Entry{TrackID: "a", Plays: 1}),
		tops(ctx, s, key(charts.Hour, at(), "US")),
		tops(ctx, s, key(charts.Day, at(), "SE"), charts.Entry{TrackID: "a", Plays: 2}, charts.Entry{TrackID: "b", Plays: 1}),
		tops(ctx, s, key(charts.Hour, next, charts.Everywhere), charts.Entry{TrackID: "c", Plays: 1}),
		tops(ctx, s, key(charts.Day, next, charts.Everywhere), charts.Entry{TrackID: "c", Plays: 1}),
	)
}

// once: an event counts once, whatever batch and partition it comes in.
func once(ctx context.Context, s charts.Store) error {
	p := play(1, at(), "SE", "a")
	return errors.Join(
		s.Count(ctx, charts.Batch{Partition: 0, From: 0, Next: 2, Plays: []charts.Play{p, p}}),
		s.Count(ctx, charts.Batch{Partition: 0, From: 2, Next: 3, Plays: []charts.Play{p}}),
		s.Count(ctx, charts.Batch{Partition: 1, From: 0, Next: 2, Plays: []charts.Play{play(2, at(), "SE", "a"), p}}),
		tops(ctx, s, key(charts.Day, at(), "SE"), charts.Entry{TrackID: "a", Plays: 2}),
	)
}

func positionIs(ctx context.Context, s charts.Store, partition int32, want int64) error {
	got, err := s.Position(ctx, partition)
	if err == nil && got != want {
		err = fmt.Errorf("partition %d continues at %d, want %d", partition, got, want)
	}
	return err
}

// position: who counts from elsewhere than where a partition continues changes nothing.
func position(ctx context.Context, s charts.Store) error {
	b := func(partition int32, from, next int64, n int) charts.Batch {
		return charts.Batch{Partition: partition, From: from, Next: next, Plays: []charts.Play{play(n, at(), "SE", "a")}}
	}
	return errors.Join(
		positionIs(ctx, s, 0, 0),
		s.Count(ctx, b(0, 0, 5, 1)),
		positionIs(ctx, s, 0, 5), positionIs(ctx, s, 1, 0),
		is("from the beginning again", s.Count(ctx, b(0, 0, 5, 2)), charts.ErrPosition),
		is("from ahead", s.Count(ctx, b(0, 6, 7, 3)), charts.ErrPosition),
		is("an untouched partition from ahead", s.Count(ctx, b(1, 6, 7, 4)), charts.ErrPosition),
		positionIs(ctx, s, 0, 5), positionIs(ctx, s, 1, 0),
		s.Count(ctx, charts.Batch{Partition: 0, From: 5, Next: 8}), // nothing of ours
		positionIs(ctx, s, 0, 8),
		tops(ctx, s, key(charts.Hour, at(), "SE"), charts.Entry{TrackID: "a", Plays: 1}),
	)
}

// allOrNothing: what was refused may come again.
func allOrNothing(ctx context.Context, s charts.Store) error {
	b := charts.Batch{From: 3, Next: 5, Plays: []charts.Play{play(1, at(), "SE", "a")}}
	refused := s.Count(ctx, b)
	b.From = 0
	return errors.Join(is("refused", refused, charts.ErrPosition), s.Count(ctx, b),
		tops(ctx, s, key(charts.Hour, at(), "SE"), charts.Entry{TrackID: "a", Plays: 1}))
}

// race: of several that count one batch, one does.
func race(ctx context.Context, s charts.Store) error {
	for round := range int64(10) {
		errs := make([]error, 4)
		var g errgroup.Group
		for i := range errs {
			g.Go(func() error {
				errs[i] = s.Count(ctx, charts.Batch{From: round, Next: round + 1, Plays: []charts.Play{play(int(round)*10+i, at(), "SE", "a")}})
				return nil
			})
		}
		_ = g.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, charts.ErrPosition) {
				return err
			}
		}
		if won != 1 {
			return fmt.Errorf("round %d: %d of %d have counted: %w", round, won, len(errs), errors.Join(errs...))
		}
	}
	return tops(ctx, s, key(charts.Hour, at(), "SE"), charts.Entry{TrackID: "a", Plays: 10})
}

// sideBySide: partitions with the same tracks and some of the same events add up.
func sideBySide(ctx context.Context, s charts.Store) error {
	const partitions, rounds, each = 4, 8, 30
	var g errgroup.Group
	for p := range partitions {
		g.Go(func() error {
			for r := range rounds {
				var plays []charts.Play
				for i := range each {
					plays = append(plays, play(p*10_000+r*each+i, at(), "SE", fmt.Sprintf("track-%d", (i+p)%5)))
				}
				plays = append(plays, play(-1-r, at(), "SE", "shared"))
				if p%2 == 1 {
					slices.Reverse(plays)
				}
				if err := s.Count(ctx, charts.Batch{Partition: int32(p), From: int64(r), Next: int64(r + 1), Plays: plays}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var want []charts.Entry
	for i := range 5 {
		want = append(want, charts.Entry{TrackID: fmt.Sprintf("track-%d", i), Plays: partitions * rounds * each / 5})
	}
	return tops(ctx, s, key(charts.Day, at(), charts.Everywhere), append(want, charts.Entry{TrackID: "shared", Plays: rounds})...)
}

// order: by plays, then by id, byte by byte; n bounds.
func order(ctx context.Context, s charts.Store) error {
	var plays []charts.Play
	for i, track := range []string{"b", "B", "a", "A", "_", "0", "most", "most"} {
		plays = append(plays, play(i, at(), "SE", track))
	}
	err := s.Count(ctx, charts.Batch{From: 0, Next: 8, Plays: plays})
	two, err2 := s.Top(ctx, key(charts.Hour, at(), "SE"), 2)
	want := []charts.Entry{{TrackID: "most", Plays: 2}}
	for _, track := range []string{"0", "A", "B", "_", "a", "b"} {
		want = append(want, charts.Entry{TrackID: track, Plays: 1})
	}
	if diff := cmp.Diff(want[:2], two); diff != "" {
		err2 = errors.Join(err2, fmt.Errorf("first two (-want +got):\n%s", diff))
	}
	return errors.Join(err, err2, tops(ctx, s, key(charts.Hour, at(), "SE"), want...))
}

func replace(ctx context.Context, s charts.Store) error {
	snap := func(revision int64, markets map[string][]charts.Entry) charts.Snapshot {
		return charts.Snapshot{Period: charts.Day, Start: charts.Day.Start(at()), Revision: revision, Markets: markets}
	}
	one, two := charts.Entry{TrackID: "a", Plays: 3}, charts.Entry{TrackID: "b", Plays: 2}
	revision := func(want int64) error {
		got, err := s.Revision(ctx, charts.Day, charts.Day.Start(at()))
		if err == nil && got != want {
			err = fmt.Errorf("revision %d, want %d", got, want)
		}
		return err
	}
	return errors.Join(
		revision(-1),
		s.Replace(ctx, snap(0, map[string][]charts.Entry{"": {one, two}, "SE": {one}, "DE": {two}})),
		revision(0),
		tops(ctx, s, key(charts.Day, at(), ""), one, two), tops(ctx, s, key(charts.Day, at(), "DE"), two), tops(ctx, s, key(charts.Hour, at(), "")),
		s.Replace(ctx, snap(7, map[string][]charts.Entry{"": {two}, "SE": {two}})),
		revision(7),
		tops(ctx, s, key(charts.Day, at(), ""), two), tops(ctx, s, key(charts.Day, at(), "SE"), two), tops(ctx, s, key(charts.Day, at(), "DE")),
		s.Replace(ctx, snap(7, map[string][]charts.Entry{"": {one}})), s.Replace(ctx, snap(3, map[string][]charts.Entry{"": {one}})),
		revision(7),
		tops(ctx, s, key(charts.Day, at(), ""), two),
	)
}

func prune(ctx context.Context, s charts.Store) error {
	midnight := at().Add(time.Hour)
	err := s.Count(ctx, charts.Batch{From: 0, Next: 3, Plays: []charts.Play{play(1, at(), "SE", "a"), play(2, midnight, "SE", "b")}})
	kept := play(2, midnight, "SE", "b")
	return errors.Join(err,
		s.Prune(ctx, midnight.Add(-1)),
		tops(ctx, s, key(charts.Hour, at(), "SE"), charts.Entry{TrackID: "a", Plays: 1}),
		s.Prune(ctx, midnight),
		tops(ctx, s, key(charts.Hour, at(), "SE")), tops(ctx, s, key(charts.Day, at(), "")),
		tops(ctx, s, key(charts.Hour, midnight, "SE"), charts.Entry{TrackID: "b", Plays: 1}),
		s.Count(ctx, charts.Batch{From: 3, Next: 4, Plays: []charts.Play{kept}}), // it is still known
		tops(ctx, s, key(charts.Day, midnight, ""), charts.Entry{TrackID: "b", Plays: 1}),
	)
}

func cancelled(ctx context.Context, s charts.Store) error {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	err := s.Count(gone, charts.Batch{From: 0, Next: 3, Plays: []charts.Play{play(1, at(), "SE", "a")}})
	if err == nil {
		return errors.New("a change for a caller who is gone says that it was made")
	}
	return errors.Join(positionIs(ctx, s, 0, 0), tops(ctx, s, key(charts.Hour, at(), "SE")))
}
