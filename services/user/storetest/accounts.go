package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/user"
)

func create(ctx context.Context, o Opened) error {
	a := account(1, authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL, authv1.Role_ROLE_ADMIN)
	n := fresh(a, envelope(1, "user:"+a.ID, a.ID, 1))
	made, err := o.Store.CreateAccount(ctx, n)
	if err != nil {
		return err
	}
	byName, hash, err := o.Store.AccountByName(ctx, a.Username)
	if err != nil {
		return err
	}
	alone, err := o.Store.PasswordHash(ctx, a.ID)
	if err != nil {
		return err
	}
	key, err := o.Store.Key(ctx, a.ID)
	if err != nil {
		return err
	}
	_, errID := o.Store.Account(ctx, newID(2))
	_, _, errName := o.Store.AccountByName(ctx, "PERSON-1")
	_, errHash := o.Store.PasswordHash(ctx, newID(2))
	_, errKey := o.Store.Key(ctx, newID(2))
	return errors.Join(
		diff("made", a, made), wantAccount(ctx, o, a), diff("by name", a, byName), diff("hash", n.PasswordHash, hash),
		diff("hash alone", n.PasswordHash, alone), diff("key", n.Key, key), wantEvents(ctx, o, n.Events...),
		wantErr("unknown id", errID, user.ErrNotFound), wantErr("unknown name", errName, user.ErrNotFound),
		wantErr("hash of unknown id", errHash, user.ErrNotFound), wantErr("key of unknown id", errKey, user.ErrNotFound),
	)
}

func createTaken(ctx context.Context, o Opened) error {
	first, second := account(1), account(2)
	second.Username = first.Username
	if err := add(ctx, o, first); err != nil {
		return err
	}
	_, err := o.Store.CreateAccount(ctx, fresh(second, envelope(1, "user:"+second.ID, second.ID, 1)))
	_, errID := o.Store.Account(ctx, second.ID)
	_, errKey := o.Store.Key(ctx, second.ID)
	return errors.Join(wantErr("taken", err, user.ErrExists), wantAccount(ctx, o, first), wantEvents(ctx, o),
		wantErr("account of the refused", errID, user.ErrNotFound), wantErr("key of the refused", errKey, user.ErrNotFound))
}

func createOnce(ctx context.Context, o Opened) error {
	first := fresh(account(1), envelope(1, "user:"+newID(1), newID(1), 1))
	first.Once = &user.Once{Caller: newID(9), Key: "k", Request: []byte("request")}
	repeat := fresh(account(2), envelope(2, "user:"+newID(2), newID(2), 1))
	repeat.Account.Username, repeat.Once = first.Account.Username, first.Once
	other := repeat
	other.Once = &user.Once{Caller: newID(9), Key: "k", Request: []byte("another")}
	if _, err := o.Store.CreateAccount(ctx, first); err != nil {
		return err
	}
	again, err := o.Store.CreateAccount(ctx, repeat)
	if err != nil {
		return fmt.Errorf("repeat: %w", err)
	}
	_, errOther := o.Store.CreateAccount(ctx, other)
	_, errSecond := o.Store.Account(ctx, newID(2))
	return errors.Join(diff("repeat", first.Account, again), wantErr("another request", errOther, user.ErrIdempotency),
		wantErr("second account", errSecond, user.ErrNotFound), wantEvents(ctx, o, first.Events...))
}

func list(ctx context.Context, o Opened) error {
	var want []user.Account
	for i := range 7 {
		want = append(want, account(i))
	}
	if err := add(ctx, o, want...); err != nil {
		return err
	}
	slices.SortFunc(want, func(a, b user.Account) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	var got []user.Account
	after := ""
	for range len(want) {
		page, err := o.Store.Accounts(ctx, after, 3)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		if len(page) > 3 {
			return fmt.Errorf("page of %d, want at most 3", len(page))
		}
		got, after = append(got, page...), page[len(page)-1].ID
	}
	return diff("list", want, got)
}

func update(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	b := a
	b.DisplayName, b.Email, b.Market, b.Plan = "Other", "", "DE", "free"
	b.Roles, b.Disabled, b.ExplicitAllowed, b.Revision = []authv1.Role{authv1.Role_ROLE_LABEL}, true, false, 2
	e := envelope(1, "user:"+a.ID, a.ID, 2)
	if err := o.Store.UpdateAccount(ctx, user.Change{Account: b, PasswordHash: "new", Events: []*eventv1.Envelope{e}}); err != nil {
		return err
	}
	hash, err := o.Store.PasswordHash(ctx, a.ID)
	if err = errors.Join(err, wantAccount(ctx, o, b), diff("hash", "new", hash)); err != nil {
		return err
	}
	c := b
	c.Revision, c.Username, c.Created, c.DisplayName = 3, "renamed", at().Add(1), "Third"
	if err := o.Store.UpdateAccount(ctx, user.Change{Account: c}); err != nil {
		return err
	}
	c.Username, c.Created = a.Username, a.Created
	kept, err := o.Store.PasswordHash(ctx, a.ID)
	if err = errors.Join(err, wantAccount(ctx, o, c), diff("kept hash", "new", kept)); err != nil {
		return err
	}
	for _, rev := range []uint64{1, 3, 5} {
		stale := c
		stale.Revision, stale.DisplayName = rev, "stale"
		err := o.Store.UpdateAccount(ctx, user.Change{Account: stale, Events: []*eventv1.Envelope{envelope(2, "user:"+a.ID, a.ID, 9)}})
		if err := wantErr(fmt.Sprint("revision ", rev), err, user.ErrConflict); err != nil {
			return err
		}
	}
	missing := account(2)
	missing.Revision = 2
	err = o.Store.UpdateAccount(ctx, user.Change{Account: missing})
	return errors.Join(wantErr("unknown", err, user.ErrNotFound), wantAccount(ctx, o, c), wantEvents(ctx, o, e))
}

func updateRace(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	won, err := race(8, user.ErrConflict, func(i int) error {
		b := a
		b.Revision, b.DisplayName = 2, fmt.Sprint(i)
		return o.Store.UpdateAccount(ctx, user.Change{Account: b, Events: []*eventv1.Envelope{envelope(i, "user:"+a.ID, a.ID, 2)}})
	})
	if err != nil {
		return err
	}
	events, err := o.Events(ctx)
	if won != 1 || len(events) != 1 {
		return fmt.Errorf("%d of 8 changes of one revision succeeded with %d events, want 1 and 1", won, len(events))
	}
	return err
}

// updateTorn has a second event that no log takes: neither it, nor the first, nor the
// change may stay.
func updateTorn(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	b := a
	b.Revision, b.DisplayName = 2, "torn"
	err := o.Store.UpdateAccount(ctx, user.Change{Account: b, PasswordHash: "torn", Events: []*eventv1.Envelope{
		envelope(1, "user:"+a.ID, a.ID, 2), sized(2, "user:"+a.ID, a.ID, 2, 1<<20),
	}})
	if err == nil {
		return errors.New("an event of 1 MiB was taken")
	}
	hash, err := o.Store.PasswordHash(ctx, a.ID)
	return errors.Join(err, diff("hash", "hash of "+a.Username, hash), wantAccount(ctx, o, a), wantEvents(ctx, o))
}

func lastAdmin(ctx context.Context, o Opened) error {
	has, err := o.Store.HasAdmin(ctx)
	if err != nil || has {
		return fmt.Errorf("an empty store has an admin: %v, %w", has, orNil(err))
	}
	first, second := account(1, admin...), account(2, admin...)
	if err := add(ctx, o, first, account(3)); err != nil {
		return err
	}
	if has, err = o.Store.HasAdmin(ctx); err != nil || !has {
		return fmt.Errorf("the admin is not seen: %w", orNil(err))
	}
	demoted, disabled := first, first
	demoted.Roles, demoted.Revision = []authv1.Role{authv1.Role_ROLE_LISTENER}, 2
	disabled.Disabled, disabled.Revision = true, 2
	err = errors.Join(
		wantErr("demote", o.Store.UpdateAccount(ctx, user.Change{Account: demoted}), user.ErrLastAdmin),
		wantErr("disable", o.Store.UpdateAccount(ctx, user.Change{Account: disabled}), user.ErrLastAdmin),
		wantErr("delete", remove(ctx, o, first.ID, 1), user.ErrLastAdmin),
		wantAccount(ctx, o, first),
	)
	if err != nil {
		return err
	}
	if err := add(ctx, o, second); err != nil {
		return err
	}
	if err := o.Store.UpdateAccount(ctx, user.Change{Account: disabled}); err != nil {
		return fmt.Errorf("disable one of two: %w", err)
	}
	// A disabled admin is none.
	err = wantErr("delete the other", remove(ctx, o, second.ID, 1), user.ErrLastAdmin)
	return errors.Join(err, remove(ctx, o, first.ID, 2))
}

// remove deletes an account of which no families are of interest.
func remove(ctx context.Context, o Opened, id string, revision uint64, events ...*eventv1.Envelope) error {
	_, err := o.Store.DeleteAccount(ctx, id, revision, events)
	return err
}

func replaceHash(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	old := "hash of " + a.Username
	if err := o.Store.ReplaceHash(ctx, a.ID, old, "better"); err != nil {
		return err
	}
	if err := o.Store.ReplaceHash(ctx, a.ID, old, "late"); err != nil {
		return fmt.Errorf("another hash is stored: %w", err)
	}
	hash, err := o.Store.PasswordHash(ctx, a.ID)
	return errors.Join(err, diff("hash", "better", hash), wantAccount(ctx, o, a), wantEvents(ctx, o))
}

func deleted(ctx context.Context, o Opened) error {
	a, other := account(1), account(2)
	if err := add(ctx, o, a, other); err != nil {
		return err
	}
	f, ended, left := familyOf(1, a.ID), familyOf(3, a.ID), codeOf(2, a.ID)
	if err := errors.Join(begin(ctx, o, 1, f), begin(ctx, o, 3, ended), o.Store.AddCode(ctx, left, nil)); err != nil {
		return err
	}
	ended.Revision, ended.Revoked, ended.Reason = 2, at(), "signed out"
	if err := o.Store.UpdateFamily(ctx, ended, nil); err != nil {
		return err
	}
	e := envelope(1, "user:"+a.ID, a.ID, 2)
	err := wantErr("another revision", remove(ctx, o, a.ID, 2, e), user.ErrConflict)
	if err = errors.Join(err, wantAccount(ctx, o, a), wantFamily(ctx, o, f)); err != nil {
		return err
	}
	gone, err := o.Store.DeleteAccount(ctx, a.ID, 1, []*eventv1.Envelope{e})
	if err != nil {
		return err
	}
	slices.Sort(gone)
	want := []string{f.ID, ended.ID}
	slices.Sort(want)
	_, errID := o.Store.Account(ctx, a.ID)
	_, _, errName := o.Store.AccountByName(ctx, a.Username)
	_, errKey := o.Store.Key(ctx, a.ID)
	_, errFamily := o.Store.Family(ctx, f.ID)
	_, errCode := o.Store.Code(ctx, left.Hash)
	_, errOther := o.Store.Key(ctx, other.ID)
	return errors.Join(
		wantErr("id", errID, user.ErrNotFound), wantErr("name", errName, user.ErrNotFound), wantErr("key", errKey, user.ErrShredded),
		wantErr("family", errFamily, user.ErrNoSession), wantErr("code", errCode, user.ErrNoCode),
		wantErr("again", remove(ctx, o, a.ID, 1), user.ErrNotFound), diff("families", want, gone),
		errOther, wantAccount(ctx, o, other), wantEvents(ctx, o, e),
	)
}
