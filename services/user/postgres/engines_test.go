//go:build engines

package postgres

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/pgdb/pgtest"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
	"github.com/segue-music/segue/services/user/storetest"
	"github.com/segue-music/segue/stream/id"
)

// TestPostgreSQL runs everything that needs the real server on one.
func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Opened {
			s := open(t, pg.Database(t))
			return storetest.Opened{Store: s, Events: storetest.Drain(t, s)}
		})
	})
	t.Run("one_wins", func(t *testing.T) { oneWins(t, pg.Database(t)) })
	t.Run("last_admins", func(t *testing.T) { lastAdmins(t, pg.Database(t)) })
	t.Run("redeem_while_ending", func(t *testing.T) { redeemWhileEnding(t, pg.Database(t)) })
	t.Run("plans", func(t *testing.T) { plans(t, pg.Database(t)) })
}

func open(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), pgtest.Config(t, url, Schema), pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var admins = []authv1.Role{authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ADMIN}

func account(id string, roles ...authv1.Role) user.NewAccount {
	return user.NewAccount{
		Account: user.Account{ID: id, Username: "name-" + id, Roles: roles, Revision: 1, Created: time.UnixMilli(1).UTC()},
		Key:     user.ListenerKey{ID: "k", Wrapped: []byte{1}},
	}
}

// oneWins: of two processes that make the same change at once one does, and the other
// hears why not.
func oneWins(t *testing.T, url string) {
	stores := []*Store{open(t, url), open(t, url)}
	both := func(what string, lost error, f func(i int, s *Store) error) {
		t.Helper()
		errs := make([]error, 2)
		var g errgroup.Group
		for i, s := range stores {
			g.Go(func() error { errs[i] = f(i, s); return nil })
		}
		_ = g.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), lost) {
			t.Errorf("%s: %v, want one and %q", what, errs, lost)
		}
	}
	for round := range 10 {
		first, second := fmt.Sprint(round, "-0"), fmt.Sprint(round, "-1")
		both("create", user.ErrExists, func(i int, s *Store) error {
			n := account(fmt.Sprint(round, "-", i))
			n.Account.Username = fmt.Sprint("same-", round)
			_, err := s.CreateAccount(t.Context(), n)
			return err
		})
		a, err := stores[0].Account(t.Context(), first)
		if err != nil {
			a, err = stores[1].Account(t.Context(), second)
		}
		if err != nil {
			t.Fatal(err)
		}
		a.Revision = 2
		both("update", user.ErrConflict, func(_ int, s *Store) error { return s.UpdateAccount(t.Context(), user.Change{Account: a}) })
		code := user.Code{Hash: [32]byte{byte(round)}, UserID: a.ID}
		if err := stores[0].AddCode(t.Context(), code, nil); err != nil {
			t.Fatal(err)
		}
		f := user.Family{ID: first, UserID: a.ID, Expires: time.UnixMilli(5).UTC(), Revision: 1}
		both("redeem", user.ErrCodeRedeemed, func(_ int, s *Store) error { return s.Redeem(t.Context(), code.Hash, f) })
		f.Revision = 2
		both("rotate", user.ErrSession, func(_ int, s *Store) error { return s.UpdateFamily(t.Context(), f, nil) })
		both("delete", user.ErrNotFound, func(_ int, s *Store) error {
			_, err := s.DeleteAccount(t.Context(), a.ID, 2, nil)
			return err
		})
	}
}

// lastAdmins: of two admins who remove each other at once, through two processes, one stays.
func lastAdmins(t *testing.T, url string) {
	stores := []*Store{open(t, url), open(t, url)}
	for round := range 20 {
		err := stores[0].db.Write(t.Context(), func(tx *pgdb.Tx) error { // whoever was left by the round before
			_, err := tx.Exec(t.Context(), `UPDATE accounts SET roles = 0`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 2)
		var g errgroup.Group
		for i, s := range stores {
			n := account(fmt.Sprint(round, "-", i), admins...)
			if _, err := s.CreateAccount(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			a := n.Account
			a.Roles, a.Revision = nil, 2
			remove := func() error { return s.UpdateAccount(t.Context(), user.Change{Account: a}) }
			if i == 0 && round%2 == 0 {
				remove = func() error {
					_, err := s.DeleteAccount(t.Context(), a.ID, 1, nil)
					return err
				}
			}
			g.Go(func() error { errs[i] = remove(); return nil })
		}
		_ = g.Wait()
		has, err := stores[0].HasAdmin(t.Context())
		if err != nil || !has || (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), user.ErrLastAdmin) {
			t.Fatalf("round %d: %v, an admin is left: %t, %v", round, errs, has, err)
		}
	}
}

// redeemWhileEnding: a session that begins while all are ended is ended with them, or does
// not begin.
func redeemWhileEnding(t *testing.T, url string) {
	a, b := open(t, url), open(t, url)
	n := account("1")
	if _, err := a.CreateAccount(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	began := 0
	for round := range 40 {
		code := user.Code{Hash: [32]byte{byte(round)}, UserID: "1"}
		if err := a.AddCode(t.Context(), code, nil); err != nil {
			t.Fatal(err)
		}
		var g errgroup.Group
		var redeemed error
		g.Go(func() error {
			redeemed = b.Redeem(t.Context(), code.Hash, user.Family{ID: fmt.Sprint(round), UserID: "1", Expires: time.UnixMilli(1 << 50).UTC(), Revision: 1})
			return nil
		})
		g.Go(func() error {
			change := n.Account
			change.Revision = uint64(round) + 2
			return a.UpdateAccount(t.Context(), user.Change{Account: change, EndSessions: &user.EndSessions{
				Reason: "password changed", Event: func(f user.Family) (*eventv1.Envelope, error) {
					return event.New(id.Derive(f.ID).String(), time.UnixMilli(1), "login:"+f.ID, f.Revision, &eventv1.AccountUpdated{})
				},
			}})
		})
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		if redeemed != nil && !errors.Is(redeemed, user.ErrNoCode) {
			t.Errorf("redeem: %v", redeemed)
		}
		if redeemed == nil {
			began++
		}
		live, err := a.Families(t.Context(), "1", time.UnixMilli(1))
		if err != nil || len(live) > 0 {
			t.Fatalf("round %d: %d sessions outlive the end of all, %v", round, len(live), err)
		}
	}
	t.Logf("%d of 40 began and were ended", began)
}

// plans: no read by key or list reads a table from end to end, and none sorts.
func plans(t *testing.T, url string) {
	s := open(t, url)
	for name, tt := range map[string]struct {
		query, index string
		args         []any
	}{
		"accounts": {listAccounts, "accounts_pkey", []any{"a", 10}},
		"admin":    {otherAdmins, "accounts_admin", []any{"a"}},
		"families": {listFamilies, "families_live", []any{"a", 1}},
		"name":     {`SELECT ` + row.Account + ` FROM accounts WHERE username = $1`, "accounts_username_key", []any{"a"}},
		"codes":    {`DELETE FROM codes WHERE user_id = $1 AND NOT redeemed`, "codes_user", []any{"a"}},
		"purge":    {`DELETE FROM families WHERE expires < $1 OR revoked > 0 AND revoked < $1`, "families_revoked", []any{1}},
	} {
		t.Run(name, func(t *testing.T) { pgtest.Plan(t, s.db, tt.index, tt.query, tt.args...) })
	}
}
