// Package redis keeps in Redis what a refresh of a token reads: the sign-in and its
// account. It is a decorator of any engine of user.Store and keeps that contract's promises
// while Redis loses, delays and repeats answers, stops and starts.
//
// Who misses a value gets a token, reads the store, and may put the value by that token.
// Before a change is committed, a mark with its revision takes the place of value and
// token: what was read before finds no token, and what is read until the commit has too
// low a revision. Where Redis does not confirm a mark, this instance asks it nothing about
// that key until it has, and others have the mark as soon as Redis can be reached.
//
// What is left: while the instance that makes a change does not reach Redis, one that does
// may see the state before, for as long as a value lives at most.
package redis

import (
	"context"
	crand "crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/redisdb"
	"github.com/segue-music/segue/services/user"
)

// Options of New. Metrics may be nil.
type Options struct {
	Now     func() time.Time
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// times are how long things last.
type times struct {
	value time.Duration // a value
	miss  time.Duration // the token of a miss where there was nothing
	mark  time.Duration // a mark: longer than a commit takes
}

// Store is a user.Store over another one.
type Store struct {
	user.Store
	redis   *redisdb.Client
	now     func() time.Time
	log     *slog.Logger
	reads   *prometheus.CounterVec
	dirty   *dirty
	times   times
	scripts scripts
	// name begins this instance's tokens.
	name   string
	misses atomic.Uint64
}

var _ user.Store = (*Store)(nil)

// New makes a store that answers Account and Family from Redis where it can.
func New(store user.Store, client *redisdb.Client, o Options) (*Store, error) {
	s := &Store{
		Store: store, redis: client, now: o.Now, log: o.Log, dirty: newDirty(), scripts: newScripts(),
		times: times{value: 30 * time.Second, miss: 10 * time.Second, mark: 40 * time.Second},
		name:  crand.Text(),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "segue_user_cached_reads_total", Help: "Reads of accounts and sign-ins, by whether the cache had them.",
		}, []string{"what", "outcome"}),
	}
	if o.Metrics != nil {
		if err := o.Metrics.Register(s.reads); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func accountKey(id string) string { return "segue:user:account:" + id }

func familyKey(id string) string { return "segue:user:login:" + id }

// Account implements user.Store.
func (s *Store) Account(ctx context.Context, id string) (user.Account, error) {
	var a user.Account
	look := s.look(ctx, accountKey(id), &a)
	hit := look.found && a.ID == id
	s.count("account", hit)
	if hit {
		return a, nil
	}
	a, err := s.Store.Account(ctx, id)
	if err == nil {
		s.keep(ctx, look, a.Revision, a)
	}
	return a, err
}

// Family implements user.Store. Only live ones are cached: the store drops others without
// saying which.
func (s *Store) Family(ctx context.Context, id string) (user.Family, error) {
	var f user.Family
	look := s.look(ctx, familyKey(id), &f)
	hit := look.found && f.ID == id && f.Live(s.now())
	s.count("login", hit)
	if hit {
		return f, nil
	}
	f, err := s.Store.Family(ctx, id)
	if err == nil && f.Live(s.now()) {
		s.keep(ctx, look, f.Revision, f)
	}
	return f, err
}

func (s *Store) count(what string, hit bool) {
	outcome := "miss"
	if hit {
		outcome = "hit"
	}
	s.reads.WithLabelValues(what, outcome).Inc()
}

// UpdateAccount implements user.Store.
func (s *Store) UpdateAccount(ctx context.Context, c user.Change) error {
	marks := []mark{{accountKey(c.Account.ID), c.Account.Revision}}
	began := s.before(ctx, marks)
	if ends := c.EndSessions; ends != nil {
		c.EndSessions = &user.EndSessions{Keep: ends.Keep, Reason: ends.Reason, Event: func(f user.Family) (*eventv1.Envelope, error) {
			marks = append(marks, mark{familyKey(f.ID), f.Revision})
			return ends.Event(f)
		}}
	}
	err := s.Store.UpdateAccount(ctx, c)
	// Also after an error, which may come of a commit that is not known.
	s.after(ctx, began, marks[:1])
	s.forget(ctx, marks[1:])
	return err
}

// gone is above every revision.
const gone = 1<<53 - 1

// DeleteAccount implements user.Store.
func (s *Store) DeleteAccount(ctx context.Context, id string, revision uint64, events []*eventv1.Envelope) ([]string, error) {
	marks := []mark{{accountKey(id), revision + 1}}
	began := s.before(ctx, marks)
	families, err := s.Store.DeleteAccount(ctx, id, revision, events)
	for _, f := range families {
		s.forget(ctx, []mark{{familyKey(f), gone}})
	}
	s.after(ctx, began, marks)
	return families, err
}

// UpdateFamily implements user.Store.
func (s *Store) UpdateFamily(ctx context.Context, f user.Family, events []*eventv1.Envelope) error {
	marks := []mark{{familyKey(f.ID), f.Revision}}
	began := s.before(ctx, marks)
	err := s.Store.UpdateFamily(ctx, f, events)
	s.after(ctx, began, marks)
	return err
}
