// Package storetest checks that an engine keeps the promises of user.Store. It is
// ordinary code, so that the suite itself can be tested on stores that break a promise.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segue-music/segue/event"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/stream/id"
)

// Opened is a fresh store and a view of what it published.
type Opened struct {
	Store user.Store
	// Events are all events that were committed until now, in the order of the log.
	Events func(ctx context.Context) ([]*eventv1.Envelope, error)
}

// Check is one promise; Run returns an error where the store breaks it.
type Check struct {
	Name string
	Run  func(ctx context.Context, o Opened) error
}

// Checks are all promises.
func Checks() []Check {
	return []Check{
		{"create", create},
		{"create_taken", createTaken},
		{"create_once", createOnce},
		{"list", list},
		{"update", update},
		{"update_race", updateRace},
		{"update_all_or_nothing", updateTorn},
		{"last_admin", lastAdmin},
		{"replace_hash", replaceHash},
		{"delete", deleted},
		{"code", code},
		{"redeem_once", redeemOnce},
		{"family", family},
		{"family_race", familyRace},
		{"families", families},
		{"end_sessions", endSessions},
		{"end_sessions_all_or_nothing", endSessionsTorn},
		{"order", order},
		{"record", record},
		{"purge", purge},
		{"cancelled", cancelled},
	}
}

// Run runs every check as a subtest on a store of its own.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t.Context(), open(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// at is when everything here happens.
func at() time.Time { return time.UnixMilli(1_760_000_000_123).UTC() }

func newID(n int) string { return id.Derive("storetest", fmt.Sprint(n)).String() }

func account(n int, roles ...authv1.Role) user.Account {
	if len(roles) == 0 {
		roles = []authv1.Role{authv1.Role_ROLE_LISTENER}
	}
	return user.Account{
		ID: newID(n), Username: fmt.Sprintf("person-%d", n), DisplayName: "Någon Ö", Email: "a@b.example", Roles: roles, Market: "SE",
		Plan: "premium", ExplicitAllowed: true, Revision: 1, Created: at(),
	}
}

var admin = []authv1.Role{authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ADMIN} //nolint:gochecknoglobals // a constant

func fresh(a user.Account, events ...*eventv1.Envelope) user.NewAccount {
	return user.NewAccount{
		Account: a, PasswordHash: "hash of " + a.Username, Events: events,
		Key: user.ListenerKey{UserID: a.ID, ID: "key of " + a.ID, MasterID: 3, Wrapped: []byte(a.ID)},
	}
}

// envelope is an event of a subject about a user; n makes its id.
func envelope(n int, subject, userID string, revision uint64) *eventv1.Envelope {
	return sized(n, subject, userID, revision, 1)
}

func sized(n int, subject, userID string, revision uint64, size int) *eventv1.Envelope {
	e, err := event.New(newID(1000+n), at(), subject, revision, &eventv1.AccountUpdated{Fields: []string{string(make([]byte, size))}})
	if err != nil {
		panic(err) // the arguments are constants of this package
	}
	e.UserId = userID
	return e
}

func add(ctx context.Context, o Opened, accounts ...user.Account) error {
	for _, a := range accounts {
		if _, err := o.Store.CreateAccount(ctx, fresh(a)); err != nil {
			return err
		}
	}
	return nil
}

func diff(what string, want, got any) error {
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, d)
	}
	return nil
}

func wantErr(what string, err, want error) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("%s: %w, want %q", what, orNil(err), want)
	}
	return nil
}

func orNil(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

func wantAccount(ctx context.Context, o Opened, want user.Account) error {
	got, err := o.Store.Account(ctx, want.ID)
	if err != nil {
		return err
	}
	return diff("account", want, got)
}

// wantEvents compares the ids of what was published.
func wantEvents(ctx context.Context, o Opened, want ...*eventv1.Envelope) error {
	got, err := o.Events(ctx)
	if err != nil {
		return err
	}
	return diff("events", ids(want), ids(got))
}

func ids(events []*eventv1.Envelope) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = e.GetId()
	}
	return out
}

// race runs f n times at once and counts how often it succeeded; other errors than want
// are returned.
func race(n int, want error, f func(i int) error) (won int, err error) {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	for _, e := range errs {
		switch {
		case e == nil:
			won++
		case !errors.Is(e, want):
			err = errors.Join(err, e)
		}
	}
	return won, err
}
