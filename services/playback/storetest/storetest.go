// Package storetest checks that an engine keeps the promises of playback.Store. It is
// ordinary code, so that an engine's test is three lines and the suite itself can be
// tested on stores that break a promise.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/stream/id"
)

// Store is what is tested: the store, and the relay of its events.
type Store interface {
	playback.Store
	Relay(log event.Log, logger *slog.Logger) *outbox.Relay
}

// Check is one promise; Run returns an error where s, which must be empty, breaks it.
type Check struct {
	Name string
	Run  func(ctx context.Context, s Store) error
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"session_round_trip", sessionRoundTrip},
		{"session_bound", sessionBound},
		{"session_end", sessionEnd},
		{"player_compare_and_set", playerCompareAndSet},
		{"player_queue", playerQueue},
		{"player_race", playerRace},
		{"keys_once", keysOnce},
		{"keys_newest", keysNewest},
		{"plays_round_trip", playsRoundTrip},
		{"plays_each_by_itself", playsEach},
		{"plays_order", playsOrder},
		{"plays_due", playsDue},
		{"tracks_newest_revision", tracksNewest},
		{"events_with_the_change", eventsWithChange},
		{"forget_listener", forget},
		{"prune", prune},
	}
}

const limit = 30 * time.Second

// Run runs every check as a subtest on a store of its own.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := c.Run(ctx, open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// at is a time of the suite: n minutes after an arbitrary one, to the millisecond.
func at(n int) time.Time {
	return time.UnixMilli(1_750_000_000_123).UTC().Add(time.Duration(n) * time.Minute)
}

func key(parts ...any) string { return id.Derive(fmt.Sprint(parts...)).String() }

func equal(what string, want, got any) error {
	if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, d)
	}
	return nil
}

func is(what string, err, want error) error {
	if !errors.Is(err, want) || (want == nil && err != nil) {
		return fmt.Errorf("%s: got %v, want %v", what, err, want)
	}
	return nil
}

func refusal(n int, subject string, revision uint64) (playback.Event, error) {
	env, err := event.New(key("event", n), at(n), subject, revision, &eventv1.PlayRefused{Code: fmt.Sprint(n)})
	return playback.Event{Topic: event.Playback, Key: key("user"), Env: env}, err
}

// sink is as much of a log as a relay needs.
type sink struct {
	event.Log
	records chan event.Record
}

func (s sink) Append(ctx context.Context, recs ...event.Record) error {
	for _, r := range recs {
		select {
		case s.records <- r:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// published runs the relay until n events came and returns their ids in order.
func published(ctx context.Context, s Store, n int) (ids []string, err error) {
	log := sink{records: make(chan event.Record)}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Relay(log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done)
	}()
	for len(ids) < n {
		select {
		case r := <-log.records:
			env, err := event.Unmarshal(r.Value)
			if err != nil {
				return ids, err
			}
			ids = append(ids, env.GetId())
		case <-ctx.Done():
			return ids, fmt.Errorf("%d events of %d were published: %w", len(ids), n, ctx.Err())
		}
	}
	return ids, nil
}

func eventsWithChange(ctx context.Context, s Store) error {
	var all []playback.Event
	for n := range 6 {
		e, err := refusal(n, "play:x", uint64(n))
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	play := playback.Play{UserID: key("user"), ID: key("play"), Revision: 1}
	stale := playback.Play{UserID: key("user"), ID: key("play"), Revision: 1, Skipped: true}
	player := state(1)
	err := errors.Join(
		s.PutSession(ctx, session(1), 9, all[0]),
		s.PutPlayer(ctx, key("user"), player, all[1]),
		is("stale player", s.PutPlayer(ctx, key("user"), player, all[4]), playback.ErrStale),
		errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: play, Events: all[2:3]}})...),
		is("stale play", errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: stale, Events: all[4:5]}})...), playback.ErrStale),
		s.AddEvents(ctx, all[3]),
		s.AddEvents(ctx, all[5]),
	)
	if err != nil {
		return err
	}
	ids, err := published(ctx, s, 5)
	if err != nil {
		return err
	}
	want := []string{key("event", 0), key("event", 1), key("event", 2), key("event", 3), key("event", 5)}
	return equal("published events", want, ids)
}

func forget(ctx context.Context, s Store) error {
	err := errors.Join(
		s.PutSession(ctx, session(1), 9), s.PutPlayer(ctx, key("user"), state(1)),
		errors.Join(s.CommitPlays(ctx, []playback.PlayChange{
			{Play: playback.Play{UserID: key("user"), ID: key("play"), Revision: 1}, Seen: []string{"a"}},
			{Play: playback.Play{UserID: key("other"), ID: key("play"), Revision: 1}, Seen: []string{"a"}},
		})...),
		s.ForgetListener(ctx, key("user")),
	)
	if err != nil {
		return err
	}
	_, err = s.Session(ctx, key("user"), key("session", 1))
	rev, err2 := s.PlayerRevision(ctx, key("user"))
	mine, err3 := s.Play(ctx, key("user"), key("play"))
	seen, err4 := s.SeenEvents(ctx, key("user"), []string{"a"})
	others, err5 := s.Play(ctx, key("other"), key("play"))
	return errors.Join(is("session", err, playback.ErrAbsent), err2, err3, err4, err5,
		equal("revision of the player", uint64(0), rev), equal("revision of the play", uint64(0), mine.Revision),
		equal("seen events", map[string]bool{}, seen), equal("another listener's play", uint64(1), others.Revision))
}
