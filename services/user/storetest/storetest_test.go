package storetest_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/sqlite"
	"github.com/segue-music/segue/services/user/storetest"
)

// dropping answers and does nothing.
type dropping struct{ user.Store }

func (dropping) UpdateAccount(context.Context, user.Change) error          { return nil }
func (dropping) Record(context.Context, []*eventv1.Envelope) error         { return nil }
func (dropping) Purge(context.Context, time.Time, time.Time) error         { return nil }
func (dropping) ReplaceHash(context.Context, string, string, string) error { return nil }

// forgetful loses events.
type forgetful struct{ user.Store }

func (f forgetful) CreateAccount(ctx context.Context, n user.NewAccount) (user.Account, error) {
	n.Events = nil
	return f.Store.CreateAccount(ctx, n)
}

func (f forgetful) UpdateFamily(ctx context.Context, fam user.Family, _ []*eventv1.Envelope) error {
	return f.Store.UpdateFamily(ctx, fam, nil)
}

// doubling publishes twice.
type doubling struct{ user.Store }

func (d doubling) Record(ctx context.Context, e []*eventv1.Envelope) error {
	return errors.Join(d.Store.Record(ctx, e), d.Store.Record(ctx, e))
}

func (d doubling) AddCode(ctx context.Context, c user.Code, e []*eventv1.Envelope) error {
	return d.Store.AddCode(ctx, c, append(e, e...))
}

// reordering publishes and lists the wrong way round.
type reordering struct{ user.Store }

func (r reordering) UpdateAccount(ctx context.Context, c user.Change) error {
	c.Events = slices.Clone(c.Events)
	slices.Reverse(c.Events)
	return r.Store.UpdateAccount(ctx, c)
}

func (r reordering) Families(ctx context.Context, id string, now time.Time) ([]user.Family, error) {
	list, err := r.Store.Families(ctx, id, now)
	slices.Reverse(list)
	return list, err
}

// tearing commits the change and its events one after the other.
type tearing struct{ user.Store }

func (t tearing) UpdateAccount(ctx context.Context, c user.Change) error {
	events, ends := c.Events, c.EndSessions
	c.Events, c.EndSessions = nil, nil
	if err := t.Store.UpdateAccount(ctx, c); err != nil {
		return err
	}
	if ends == nil {
		return t.Record(ctx, events)
	}
	return errors.New("only half was done")
}

// early publishes before it knows whether there is a change.
type early struct{ user.Store }

func (e early) UpdateFamily(ctx context.Context, f user.Family, events []*eventv1.Envelope) error {
	if err := e.Record(ctx, events); err != nil {
		return err
	}
	return e.Store.UpdateFamily(ctx, f, nil)
}

// blind takes whatever revision comes.
type blind struct{ user.Store }

func (b blind) UpdateFamily(ctx context.Context, f user.Family, events []*eventv1.Envelope) error {
	for {
		stored, err := b.Family(ctx, f.ID)
		if err != nil {
			return err
		}
		f.Revision = stored.Revision + 1
		if err := b.Store.UpdateFamily(ctx, f, events); !errors.Is(err, user.ErrSession) {
			return err
		}
	}
}

// generous redeems a code as often as one asks.
type generous struct{ user.Store }

func (g generous) Redeem(ctx context.Context, hash [32]byte, f user.Family) error {
	if err := g.Store.Redeem(ctx, hash, f); !errors.Is(err, user.ErrCodeRedeemed) {
		return err
	}
	return nil
}

// repeating knows no idempotency key.
type repeating struct{ user.Store }

func (r repeating) CreateAccount(ctx context.Context, n user.NewAccount) (user.Account, error) {
	n.Once = nil
	return r.Store.CreateAccount(ctx, n)
}

// keeping has the key of a deleted listener still.
type keeping struct {
	user.Store
	mu   *sync.Mutex
	keys map[string]user.ListenerKey
}

func (k keeping) Key(ctx context.Context, id string) (user.ListenerKey, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.Store.Key(ctx, id)
	if err == nil {
		k.keys[id] = key
	}
	if old, ok := k.keys[id]; ok && errors.Is(err, user.ErrShredded) {
		return old, nil
	}
	if errors.Is(err, user.ErrShredded) {
		return user.ListenerKey{}, user.ErrNotFound
	}
	return key, err
}

func TestChecks_FailOn(t *testing.T) {
	cases := map[string]func(user.Store) user.Store{
		"drop":         func(s user.Store) user.Store { return dropping{s} },
		"drop_events":  func(s user.Store) user.Store { return forgetful{s} },
		"double":       func(s user.Store) user.Store { return doubling{s} },
		"reorder":      func(s user.Store) user.Store { return reordering{s} },
		"tear":         func(s user.Store) user.Store { return tearing{s} },
		"early_events": func(s user.Store) user.Store { return early{s} },
		"no_compare":   func(s user.Store) user.Store { return blind{s} },
		"redeem_twice": func(s user.Store) user.Store { return generous{s} },
		"no_once":      func(s user.Store) user.Store { return repeating{s} },
		"keep_key":     func(s user.Store) user.Store { return keeping{s, &sync.Mutex{}, map[string]user.ListenerKey{}} },
	}
	for name, wrap := range cases {
		t.Run(name, func(t *testing.T) {
			var failed []string
			for _, c := range storetest.Checks() {
				s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "user.db"), sqlite.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = s.Close() })
				if err := c.Run(t.Context(), storetest.Opened{Store: wrap(s), Events: storetest.Drain(t, s)}); err != nil {
					failed = append(failed, c.Name)
				}
			}
			if len(failed) == 0 {
				t.Error("every check passes on a store that breaks its promises")
			}
			t.Log("fails:", failed)
		})
	}
}
