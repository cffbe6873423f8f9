package storetest_test

import (
	"context"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/playback/sqlite"
	"github.com/segue-music/segue/services/playback/storetest"
)

// Each decorator breaks one promise.

type dropPlayer struct{ storetest.Store }

func (d dropPlayer) PutPlayer(ctx context.Context, user string, p *playbackv1.PlayerState, e ...playback.Event) error {
	if p.GetRevision()%3 == 0 {
		return nil
	}
	return d.Store.PutPlayer(ctx, user, p, e...)
}

type tearPlayer struct{ storetest.Store }

func (d tearPlayer) PutPlayer(ctx context.Context, user string, p *playbackv1.PlayerState, e ...playback.Event) error {
	p = proto.CloneOf(p)
	p.Queue = p.Queue[:len(p.Queue)/2]
	return d.Store.PutPlayer(ctx, user, p, e...)
}

// lostUpdate forgets to compare: it writes over whatever is there.
type lostUpdate struct{ storetest.Store }

func (d lostUpdate) PutPlayer(ctx context.Context, user string, p *playbackv1.PlayerState, e ...playback.Event) error {
	rev, err := d.PlayerRevision(ctx, user)
	if err != nil {
		return err
	}
	p = proto.CloneOf(p)
	p.Revision = rev + 1
	return d.Store.PutPlayer(ctx, user, p, e...)
}

type dropEvents struct{ storetest.Store }

func (d dropEvents) CommitPlays(ctx context.Context, c []playback.PlayChange) []error {
	c = slices.Clone(c)
	for i := range c {
		c[i].Events = nil
	}
	return d.Store.CommitPlays(ctx, c)
}

// doublePlays repeats each call and says that the repeat did it.
type doublePlays struct{ storetest.Store }

func (d doublePlays) CommitPlays(ctx context.Context, c []playback.PlayChange) []error {
	d.Store.CommitPlays(ctx, c)
	return d.Store.CommitPlays(ctx, c)
}

type doubleEvents struct{ storetest.Store }

func (d doubleEvents) AddEvents(ctx context.Context, e ...playback.Event) error {
	return d.Store.AddEvents(ctx, append(e, e...)...)
}

type reorderPlays struct{ storetest.Store }

func (d reorderPlays) CommitPlays(ctx context.Context, c []playback.PlayChange) []error {
	c = slices.Clone(c)
	slices.Reverse(c)
	out := d.Store.CommitPlays(ctx, c)
	slices.Reverse(out)
	return out
}

// tearPlays keeps the play and not the ids it has taken in.
type tearPlays struct{ storetest.Store }

func (d tearPlays) CommitPlays(ctx context.Context, c []playback.PlayChange) []error {
	c = slices.Clone(c)
	for i := range c {
		c[i].Seen = c[i].Seen[:len(c[i].Seen)/2]
	}
	return d.Store.CommitPlays(ctx, c)
}

type allOrNothing struct{ storetest.Store }

func (d allOrNothing) CommitPlays(ctx context.Context, c []playback.PlayChange) []error {
	out := d.Store.CommitPlays(ctx, c)
	for i, err := range out {
		if err != nil {
			for j := range out {
				out[j] = out[i]
			}
			break
		}
	}
	return out
}

type overwriteKeys struct{ storetest.Store }

func (d overwriteKeys) AddKey(ctx context.Context, k playback.ContentKey) error {
	_ = d.Store.AddKey(ctx, k)
	return nil
}

type forgetNothing struct{ storetest.Store }

func (forgetNothing) ForgetListener(context.Context, string) error { return nil }

type dueNever struct{ storetest.Store }

func (dueNever) DuePlays(context.Context, time.Time, int) ([]playback.Play, error) { return nil, nil }

// staleReads answers every read of a track with what it was before.
type staleReads struct {
	storetest.Store
	mu     sync.Mutex
	before map[string]playback.Track
}

func (d *staleReads) PutTrack(ctx context.Context, t playback.Track) error {
	if old, err := d.Store.Track(ctx, t.ID); err == nil {
		d.mu.Lock()
		d.before[t.ID] = old
		d.mu.Unlock()
	}
	return d.Store.PutTrack(ctx, t)
}

func (d *staleReads) Track(ctx context.Context, id string) (playback.Track, error) {
	d.mu.Lock()
	old, ok := d.before[id]
	d.mu.Unlock()
	if ok {
		return old, nil
	}
	return d.Store.Track(ctx, id)
}

type anyonesSession struct {
	storetest.Store
	users []string
}

func (d *anyonesSession) PutSession(ctx context.Context, s playback.Session, keep int, e ...playback.Event) error {
	d.users = append(d.users, s.UserID)
	return d.Store.PutSession(ctx, s, keep, e...)
}

func (d *anyonesSession) Session(ctx context.Context, _, session string) (playback.Session, error) {
	for _, u := range d.users {
		if s, err := d.Store.Session(ctx, u, session); err == nil {
			return s, nil
		}
	}
	return playback.Session{}, playback.ErrAbsent
}

func TestChecks_BrokenStores(t *testing.T) {
	for name, wrap := range map[string]func(storetest.Store) storetest.Store{
		"drop_player":    func(s storetest.Store) storetest.Store { return dropPlayer{s} },
		"tear_player":    func(s storetest.Store) storetest.Store { return tearPlayer{s} },
		"lost_update":    func(s storetest.Store) storetest.Store { return lostUpdate{s} },
		"drop_events":    func(s storetest.Store) storetest.Store { return dropEvents{s} },
		"double_plays":   func(s storetest.Store) storetest.Store { return doublePlays{s} },
		"double_events":  func(s storetest.Store) storetest.Store { return doubleEvents{s} },
		"reorder_plays":  func(s storetest.Store) storetest.Store { return reorderPlays{s} },
		"tear_plays":     func(s storetest.Store) storetest.Store { return tearPlays{s} },
		"all_or_nothing": func(s storetest.Store) storetest.Store { return allOrNothing{s} },
		"overwrite_keys": func(s storetest.Store) storetest.Store { return overwriteKeys{s} },
		"forget_nothing": func(s storetest.Store) storetest.Store { return forgetNothing{s} },
		"due_never":      func(s storetest.Store) storetest.Store { return dueNever{s} },
		"stale_reads": func(s storetest.Store) storetest.Store {
			return &staleReads{Store: s, before: map[string]playback.Track{}}
		},
		"anyones_session": func(s storetest.Store) storetest.Store { return &anyonesSession{Store: s} },
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range storetest.Checks() {
				s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "playback.db"), sqlite.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				err = c.Run(ctx, wrap(s))
				cancel()
				if cerr := s.Close(); cerr != nil {
					t.Error(cerr)
				}
				if err != nil {
					return
				}
			}
			t.Error("every check passes on a store that breaks its promises")
		})
	}
}
