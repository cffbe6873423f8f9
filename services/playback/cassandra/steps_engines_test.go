//go:build engines

package cassandra_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/playback/cassandra"
	"github.com/segue-music/segue/stream/id"
)

func key(parts ...any) string { return id.Derive(fmt.Sprint(parts...)).String() }

func refusal(t *testing.T, user string, what ...any) playback.Event {
	t.Helper()
	env, err := event.New(key(what...), time.Unix(1, 0), "play:x", 1, &eventv1.PlayRefused{})
	if err != nil {
		t.Fatal(err)
	}
	return playback.Event{Topic: event.Playback, Key: user, Env: env}
}

// killed stops a process before its nth statement begins, or after n are done: some run
// side by side.
type killed struct {
	n     int
	after bool

	mu          sync.Mutex
	begun, done int
	dead        bool
}

func (k *killed) interrupt(_ string, done bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if done {
		k.done++
	} else {
		k.begun++
	}
	if k.dead = k.dead || !k.after && k.begun == k.n || k.after && k.done == k.n; k.dead {
		return cassandradb.ErrClosed
	}
	return nil
}

// change is one of those that a process dies in.
type change struct {
	name string
	// before it the listener is brought to where it can be made.
	before func(context.Context, playback.Store, string) error
	do     func(context.Context, playback.Store, string, playback.Event) error
	// made says whether it is there, whole; a half is an error.
	made func(context.Context, playback.Store, string) (bool, error)
	// silent changes have no event.
	silent bool
}

func session(user string, n int) playback.Session {
	return playback.Session{ID: key("session", n), UserID: user, LoginID: key("login", n), Opened: time.Unix(int64(n), 0), Renewed: time.Unix(int64(n), 0)}
}

func revision(n uint64) *playbackv1.PlayerState {
	return &playbackv1.PlayerState{Revision: n, Queue: []*playbackv1.QueueItem{{TrackId: key("track", n)}}}
}

var errHalf = errors.New("half of it is there")

func changes() []change {
	playOf := func(user string, rev uint64, due time.Time) playback.Play {
		return playback.Play{UserID: user, ID: key("play"), Revision: rev, Due: due}
	}
	return []change{
		{
			name: "session",
			before: func(ctx context.Context, s playback.Store, u string) error {
				return errors.Join(s.PutSession(ctx, session(u, 1), 2), s.PutSession(ctx, session(u, 2), 2))
			},
			do: func(ctx context.Context, s playback.Store, u string, e playback.Event) error {
				return s.PutSession(ctx, session(u, 3), 2, e)
			},
			made: func(ctx context.Context, s playback.Store, u string) (bool, error) {
				list, err := s.Sessions(ctx, u)
				if err == nil && len(list) != 2 {
					err = errHalf
				}
				return slices.ContainsFunc(list, func(v playback.Session) bool { return v.ID == key("session", 3) }), err
			},
		},
		{
			name:   "player",
			before: func(ctx context.Context, s playback.Store, u string) error { return s.PutPlayer(ctx, u, revision(1)) },
			do: func(ctx context.Context, s playback.Store, u string, e playback.Event) error {
				return s.PutPlayer(ctx, u, revision(2), e)
			},
			made: func(ctx context.Context, s playback.Store, u string) (bool, error) {
				p, err := s.Player(ctx, u)
				if err == nil && p.GetQueue()[0].GetTrackId() != key("track", p.GetRevision()) {
					err = errHalf
				}
				return p.GetRevision() == 2, err
			},
		},
		{
			name: "plays",
			before: func(ctx context.Context, s playback.Store, u string) error {
				return errors.Join(s.CommitPlays(ctx, []playback.PlayChange{{Play: playOf(u, 1, time.Unix(5000, 0))}})...)
			},
			do: func(ctx context.Context, s playback.Store, u string, e playback.Event) error {
				return errors.Join(s.CommitPlays(ctx, []playback.PlayChange{
					{Play: playOf(u, 2, time.Unix(1000, 0)), Seen: []string{"a", "b"}, Events: []playback.Event{e}},
				})...)
			},
			made: func(ctx context.Context, s playback.Store, u string) (bool, error) {
				p, err1 := s.Play(ctx, u, key("play"))
				seen, err2 := s.SeenEvents(ctx, u, []string{"a", "b"})
				due, err3 := s.DuePlays(ctx, time.Unix(2000, 0), 1000)
				made := p.Revision == 2
				listed := slices.ContainsFunc(due, func(p playback.Play) bool { return p.UserID == u })
				err := errors.Join(err1, err2, err3)
				if err == nil && (len(seen) != map[bool]int{true: 2}[made] || listed != made) {
					err = fmt.Errorf("%w: revision %d, %d seen, due %t", errHalf, p.Revision, len(seen), listed)
				}
				return made, err
			},
		},
		{
			name: "forget", silent: true,
			before: func(ctx context.Context, s playback.Store, u string) error {
				return errors.Join(s.PutPlayer(ctx, u, revision(1)), s.PutSession(ctx, session(u, 1), 2))
			},
			do: func(ctx context.Context, s playback.Store, u string, _ playback.Event) error {
				return s.ForgetListener(ctx, u)
			},
			made: func(ctx context.Context, s playback.Store, u string) (bool, error) {
				rev, err1 := s.PlayerRevision(ctx, u)
				list, err2 := s.Sessions(ctx, u)
				err := errors.Join(err1, err2)
				if err == nil && (rev == 0) != (len(list) == 0) {
					err = errHalf
				}
				return rev == 0, err
			},
		},
		{
			name: "key", silent: true,
			before: func(ctx context.Context, s playback.Store, u string) error {
				return s.AddKey(ctx, playback.ContentKey{ObjectID: "first " + u, TrackID: u, Kbps: 96})
			},
			do: func(ctx context.Context, s playback.Store, u string, _ playback.Event) error {
				return s.AddKey(ctx, playback.ContentKey{ObjectID: "second " + u, TrackID: u, Kbps: 96})
			},
			made: func(ctx context.Context, s playback.Store, u string) (bool, error) {
				k, err1 := s.NewestKey(ctx, u, 96)
				_, err2 := s.ContentKey(ctx, "second "+u)
				made := k.ObjectID == "second "+u
				if made != (err2 == nil) {
					return made, errors.Join(errHalf, err2)
				}
				return made, err1
			},
		},
	}
}

// steps: a process dies at each step of each change, and another goes on. The change was
// made whole or not at all; its event is published if and only if it was made; and it can
// be made then, if it was not.
func steps(t *testing.T, r *ring) {
	r.empty(t)
	survivor := r.open(t, cassandra.Options{})
	log := &sink{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- survivor.Relay(log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	for _, c := range changes() {
		t.Run(c.name, func(t *testing.T) {
			deaths, madeAll := 0, 0
			for n, finished := 1, false; !finished; n++ {
				for _, after := range []bool{false, true} {
					user := key("user", c.name, n, after)
					if err := c.before(ctx, survivor, user); err != nil {
						t.Fatal(err)
					}
					k := &killed{n: -1, after: after}
					victim := r.open(t, cassandra.Options{Interrupt: k.interrupt})
					k.mu.Lock()
					k.n, k.begun, k.done = n, 0, 0 // what opening it took does not count
					k.mu.Unlock()
					err := c.do(ctx, victim, user, refusal(t, user, user, "event"))
					k.mu.Lock()
					finished = !k.dead
					k.mu.Unlock()
					if finished && err != nil {
						t.Fatalf("step %d: %v", n, err)
					}
					made, err := c.made(ctx, survivor, user)
					if err != nil {
						t.Fatalf("step %d, after %t: %v", n, after, err)
					}
					deaths++
					if made {
						madeAll++
					}
					if c.silent {
						continue
					}
					// Events of one listener are in order: with the last one here, the first is
					// here or never comes.
					last := refusal(t, user, user, "last")
					if err := survivor.AddEvents(ctx, last); err != nil {
						t.Fatal(err)
					}
					log.await(t, last.Env.GetId())
					if published := log.has(key(user, "event")); published != made {
						t.Errorf("step %d, after %t: made %t, published %t", n, after, made, published)
					}
					if again := c.do(ctx, survivor, user, refusal(t, user, user, "again")); !made && again != nil {
						t.Errorf("step %d, after %t: the change cannot be made any more: %v", n, after, again)
					}
				}
			}
			t.Logf("%d deaths, %d times it was made", deaths, madeAll)
			if madeAll == 0 || madeAll == deaths {
				t.Error("it never dies at a step before or after the change")
			}
		})
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// slowWriter: whoever looks for due or old plays between what a change puts on the lists
// and the change itself leaves it there.
func slowWriter(t *testing.T, r *ring) {
	never := time.Now().Add(1000 * time.Hour)
	for name, look := range map[string]func(context.Context, playback.Store) error{
		"due": func(ctx context.Context, s playback.Store) error {
			_, err := s.DuePlays(ctx, never, 10)
			return err
		},
		"prune": func(ctx context.Context, s playback.Store) error { return s.Prune(ctx, never, never) },
	} {
		t.Run(name, func(t *testing.T) {
			r.empty(t)
			ctx, other, tries := t.Context(), r.open(t, cassandra.Options{}), 0
			slow := r.open(t, cassandra.Options{Interrupt: func(kind string, done bool) error {
				if kind != "conditional_write" || done {
					return nil
				}
				if tries++; tries == 1 {
					return look(ctx, other)
				}
				return nil
			}})
			p := playback.Play{UserID: key("user"), ID: key("play"), Revision: 1, Due: time.Unix(1000, 0)}
			if err := errors.Join(slow.CommitPlays(ctx, []playback.PlayChange{{Play: p}})...); err != nil {
				t.Fatal(err)
			}
			if list, err := other.DuePlays(ctx, time.Unix(2000, 0), 10); err != nil || len(list) != 1 {
				t.Errorf("%d plays are due, want the one: %v", len(list), err)
			}
			if err := other.Prune(ctx, never, never); err != nil {
				t.Fatal(err)
			}
			if p, err := other.Play(ctx, key("user"), key("play")); err != nil || p.Revision != 0 {
				t.Errorf("revision %d after it was pruned, %v", p.Revision, err)
			}
			// Whatever is on the lists by now is of nothing, and goes at the next look.
			_, err := other.DuePlays(ctx, never, 10)
			if err := errors.Join(err, other.Prune(ctx, never, never)); err != nil {
				t.Fatal(err)
			}
			var n int
			if err := r.session.Query("SELECT count(*) FROM agenda").Scan(&n); err != nil || n != 0 {
				t.Errorf("%d entries are left, %v", n, err)
			}
		})
	}
}

// sink keeps the ids of what was published.
type sink struct {
	event.Log
	mu  sync.Mutex
	ids map[string]bool
}

func (s *sink) Append(_ context.Context, recs ...event.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		env, err := event.Unmarshal(r.Value)
		if err != nil {
			return err
		}
		if s.ids == nil {
			s.ids = map[string]bool{}
		}
		s.ids[env.GetId()] = true
	}
	return nil
}

func (s *sink) has(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id]
}

func (s *sink) await(t *testing.T, id string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !s.has(id) {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("an event is not published within a minute")
		}
	}
}
