package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/user"
)

func hashOf(n int) [32]byte { return sha256.Sum256(fmt.Append(nil, n)) }

func codeOf(n int, userID string) user.Code {
	return user.Code{
		Hash: hashOf(n), ClientID: "web", RedirectURI: "https://a.example/callback", Scopes: []string{"openid", "profile"}, Nonce: "n",
		Challenge: "c", UserID: userID, FamilyID: newID(100 + n), SignedIn: at(), Expires: at().Add(time.Minute),
	}
}

func familyOf(n int, userID string) user.Family {
	return user.Family{
		ID: newID(100 + n), UserID: userID, ClientID: "web", UserAgent: "agent", Scopes: []string{"openid"}, Nonce: "n", SignedIn: at(),
		Created: at().Add(time.Duration(n) * time.Second), Used: at(), Expires: at().Add(time.Hour), Seed: [16]byte{1, 15: byte(n)},
		KeyID: 7, Current: hashOf(n), Previous: [32]byte{31: 1}, Rotated: at(), Revision: 1,
	}
}

// begin adds a code and redeems it for a family.
func begin(ctx context.Context, o Opened, n int, f user.Family) error {
	c := codeOf(n, f.UserID)
	if err := o.Store.AddCode(ctx, c, nil); err != nil {
		return err
	}
	return o.Store.Redeem(ctx, c.Hash, f)
}

func wantFamily(ctx context.Context, o Opened, want user.Family) error {
	got, err := o.Store.Family(ctx, want.ID)
	if err != nil {
		return err
	}
	return diff("family", want, got)
}

func code(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	c, e := codeOf(1, a.ID), envelope(1, "login:1", a.ID, 1)
	if err := o.Store.AddCode(ctx, c, []*eventv1.Envelope{e}); err != nil {
		return err
	}
	got, err := o.Store.Code(ctx, c.Hash)
	if err = errors.Join(err, diff("code", c, got)); err != nil {
		return err
	}
	_, errUnknown := o.Store.Code(ctx, hashOf(2))
	stranger := codeOf(3, newID(2))
	err = o.Store.AddCode(ctx, stranger, []*eventv1.Envelope{envelope(3, "login:3", newID(2), 1)})
	return errors.Join(wantErr("unknown", errUnknown, user.ErrNoCode), wantErr("code of nobody", err, user.ErrNotFound),
		wantErr("redeem unknown", o.Store.Redeem(ctx, hashOf(2), familyOf(2, a.ID)), user.ErrNoCode), wantEvents(ctx, o, e))
}

func redeemOnce(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	c, f := codeOf(1, a.ID), familyOf(1, a.ID)
	if err := o.Store.AddCode(ctx, c, nil); err != nil {
		return err
	}
	won, err := race(8, user.ErrCodeRedeemed, func(int) error { return o.Store.Redeem(ctx, c.Hash, f) })
	if err != nil {
		return err
	}
	if won != 1 {
		return fmt.Errorf("one code was redeemed %d times", won)
	}
	got, err := o.Store.Code(ctx, c.Hash)
	c.Redeemed = true
	return errors.Join(err, diff("code", c, got), wantFamily(ctx, o, f))
}

func family(ctx context.Context, o Opened) error {
	a := account(1)
	f := familyOf(1, a.ID)
	if err := errors.Join(add(ctx, o, a), begin(ctx, o, 1, f)); err != nil {
		return err
	}
	g := f
	g.Used, g.Rotated, g.Generation, g.KeyID, g.UserAgent = at().Add(time.Minute), at().Add(time.Minute), 1, 8, "newer"
	g.Previous, g.Current, g.Revision = f.Current, hashOf(9), 2
	e := envelope(1, "login:"+f.ID, a.ID, 2)
	if err := o.Store.UpdateFamily(ctx, g, []*eventv1.Envelope{e}); err != nil {
		return err
	}
	if err := wantFamily(ctx, o, g); err != nil {
		return err
	}
	for _, rev := range []uint64{1, 2, 4} {
		stale := g
		stale.Revision, stale.Reason = rev, "stale"
		err := o.Store.UpdateFamily(ctx, stale, []*eventv1.Envelope{envelope(2, "login:"+f.ID, a.ID, 9)})
		if err := wantErr(fmt.Sprint("revision ", rev), err, user.ErrSession); err != nil {
			return err
		}
	}
	h := g
	h.Revision, h.Revoked, h.Reason = 3, at().Add(time.Hour), "signed out"
	moved := h
	moved.UserID, moved.ClientID, moved.Seed, moved.Expires, moved.Created = newID(5), "other", [16]byte{}, at().Add(9*time.Hour), at()
	if err := o.Store.UpdateFamily(ctx, moved, nil); err != nil {
		return err
	}
	_, errUnknown := o.Store.Family(ctx, newID(9))
	unknown := familyOf(9, a.ID)
	unknown.Revision = 2
	return errors.Join(wantFamily(ctx, o, h), wantErr("unknown", errUnknown, user.ErrNoSession),
		wantErr("update unknown", o.Store.UpdateFamily(ctx, unknown, nil), user.ErrNoSession), wantEvents(ctx, o, e))
}

func familyRace(ctx context.Context, o Opened) error {
	a := account(1)
	f := familyOf(1, a.ID)
	if err := errors.Join(add(ctx, o, a), begin(ctx, o, 1, f)); err != nil {
		return err
	}
	won, err := race(8, user.ErrSession, func(i int) error {
		g := f
		g.Revision, g.Generation, g.UserAgent = 2, 1, fmt.Sprint(i)
		return o.Store.UpdateFamily(ctx, g, []*eventv1.Envelope{envelope(i, "login:"+f.ID, a.ID, 2)})
	})
	if err != nil {
		return err
	}
	events, err := o.Events(ctx)
	if won != 1 || len(events) != 1 {
		return fmt.Errorf("%d of 8 rotations succeeded with %d events, want 1 and 1", won, len(events))
	}
	return err
}

func families(ctx context.Context, o Opened) error {
	a, b := account(1), account(2)
	if err := add(ctx, o, a, b); err != nil {
		return err
	}
	one, two, gone, old, foreign := familyOf(1, a.ID), familyOf(2, a.ID), familyOf(3, a.ID), familyOf(4, a.ID), familyOf(5, b.ID)
	old.Expires = at().Add(time.Minute)
	for i, f := range []user.Family{one, two, gone, old, foreign} {
		if err := begin(ctx, o, 1+i, f); err != nil {
			return err
		}
	}
	gone.Revision, gone.Revoked, gone.Reason = 2, at(), "signed out"
	if err := o.Store.UpdateFamily(ctx, gone, nil); err != nil {
		return err
	}
	got, err := o.Store.Families(ctx, a.ID, old.Expires)
	return errors.Join(err, diff("live families", []user.Family{two, one}, got))
}

// setUpSessions makes an account with three families and a code that waits.
func setUpSessions(ctx context.Context, o Opened) (a user.Account, list []user.Family, waiting user.Code, err error) {
	a = account(1)
	list = []user.Family{familyOf(1, a.ID), familyOf(2, a.ID), familyOf(3, a.ID)}
	waiting = codeOf(8, a.ID)
	err = add(ctx, o, a)
	for i, f := range list {
		err = errors.Join(err, begin(ctx, o, 1+i, f))
	}
	return a, list, waiting, errors.Join(err, o.Store.AddCode(ctx, waiting, nil))
}

func endSessions(ctx context.Context, o Opened) error {
	a, list, waiting, err := setUpSessions(ctx, o)
	if err != nil {
		return err
	}
	kept := list[1]
	told := map[string]*eventv1.Envelope{}
	a.Revision = 2
	changed := envelope(50, "user:"+a.ID, a.ID, 2)
	err = o.Store.UpdateAccount(ctx, user.Change{
		Account: a, PasswordHash: "new", Events: []*eventv1.Envelope{changed},
		EndSessions: &user.EndSessions{Keep: kept.ID, Reason: "password changed", Event: func(f user.Family) (*eventv1.Envelope, error) {
			if f.Revision != 2 || f.Revoked.IsZero() || f.Reason != "password changed" {
				return nil, fmt.Errorf("event of a family in its old state: %+v", f)
			}
			told[f.ID] = envelope(len(told), "login:"+f.ID, a.ID, f.Revision)
			return told[f.ID], nil
		}},
	})
	if err != nil {
		return err
	}
	live, err := o.Store.Families(ctx, a.ID, at())
	_, errCode := o.Store.Code(ctx, waiting.Hash)
	err = errors.Join(err, diff("live", []user.Family{kept}, live), wantErr("waiting code", errCode, user.ErrNoCode))
	want := []string{changed.GetId()}
	for _, f := range []user.Family{list[0], list[2]} {
		got, err2 := o.Store.Family(ctx, f.ID)
		if err2 != nil || got.Revoked.IsZero() || got.Reason != "password changed" || got.Revision != 2 {
			err = errors.Join(err, err2, fmt.Errorf("family %s is %+v", f.ID, got))
		}
		want = append(want, told[f.ID].GetId())
	}
	events, err2 := o.Events(ctx)
	got := ids(events)
	slices.Sort(got)
	slices.Sort(want)
	return errors.Join(err, err2, diff("events", want, got))
}

func endSessionsTorn(ctx context.Context, o Opened) error {
	a, list, waiting, err := setUpSessions(ctx, o)
	if err != nil {
		return err
	}
	b := a
	b.Revision = 2
	calls, boom := 0, errors.New("boom")
	err = o.Store.UpdateAccount(ctx, user.Change{
		Account: b, PasswordHash: "new",
		EndSessions: &user.EndSessions{Reason: "r", Event: func(f user.Family) (*eventv1.Envelope, error) {
			if calls++; calls == 2 {
				return nil, boom
			}
			return envelope(calls, "login:"+f.ID, a.ID, f.Revision), nil
		}},
	})
	if err := wantErr("event fails", err, boom); err != nil {
		return err
	}
	hash, err := o.Store.PasswordHash(ctx, a.ID)
	_, errCode := o.Store.Code(ctx, waiting.Hash)
	live, errLive := o.Store.Families(ctx, a.ID, at())
	slices.Reverse(live) // newest first
	return errors.Join(err, errCode, errLive, diff("hash", "hash of "+a.Username, hash), wantAccount(ctx, o, a), diff("live", list, live), wantEvents(ctx, o))
}

// order looks at changes that follow each other: their events are published in the order
// of the revisions.
func order(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	var want []*eventv1.Envelope
	for rev := uint64(2); rev < 30; rev++ {
		a.Revision = rev
		// Two events of one revision, as a change of password by an admin has.
		one, two := envelope(int(2*rev), "user:"+a.ID, a.ID, rev), envelope(int(2*rev+1), "user:"+a.ID, a.ID, rev)
		if err := o.Store.UpdateAccount(ctx, user.Change{Account: a, Events: []*eventv1.Envelope{one, two}}); err != nil {
			return err
		}
		want = append(want, one, two)
	}
	return wantEvents(ctx, o, want...)
}

func record(ctx context.Context, o Opened) error {
	a := account(1)
	if err := add(ctx, o, a); err != nil {
		return err
	}
	one, nobody := envelope(1, "login:1", a.ID, 1), envelope(2, "login:2", "", 1)
	if err := o.Store.Record(ctx, []*eventv1.Envelope{one, nobody}); err != nil {
		return err
	}
	err := o.Store.Record(ctx, []*eventv1.Envelope{envelope(3, "login:3", a.ID, 1), sized(4, "login:4", a.ID, 1, 1<<20)})
	if err == nil {
		return errors.New("an event of 1 MiB was taken")
	}
	return errors.Join(wantAccount(ctx, o, a), wantEvents(ctx, o, one, nobody))
}

func purge(ctx context.Context, o Opened) error {
	a := account(1)
	live, ended, expired := familyOf(1, a.ID), familyOf(2, a.ID), familyOf(3, a.ID)
	expired.Expires = at().Add(time.Minute)
	err := add(ctx, o, a)
	for i, f := range []user.Family{live, ended, expired} {
		err = errors.Join(err, begin(ctx, o, 1+i, f))
	}
	ended.Revision, ended.Revoked, ended.Reason = 2, at().Add(time.Minute), "signed out"
	if err = errors.Join(err, o.Store.UpdateFamily(ctx, ended, nil), o.Store.Purge(ctx, at(), at())); err != nil {
		return err
	}
	if err := errors.Join(wantFamily(ctx, o, live), wantFamily(ctx, o, ended), wantFamily(ctx, o, expired)); err != nil {
		return fmt.Errorf("too early: %w", err)
	}
	if err := o.Store.Purge(ctx, at().Add(2*time.Minute), at().Add(2*time.Minute)); err != nil {
		return err
	}
	_, err1 := o.Store.Family(ctx, ended.ID)
	_, err2 := o.Store.Family(ctx, expired.ID)
	_, err3 := o.Store.Code(ctx, hashOf(1))
	return errors.Join(wantFamily(ctx, o, live), wantErr("ended", err1, user.ErrNoSession), wantErr("expired", err2, user.ErrNoSession),
		wantErr("code", err3, user.ErrNoCode), wantAccount(ctx, o, a))
}

func cancelled(ctx context.Context, o Opened) error {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	a := account(1)
	_, err := o.Store.CreateAccount(gone, fresh(a, envelope(1, "user:"+a.ID, a.ID, 1)))
	if err == nil {
		return errors.New("a cancelled call was carried out")
	}
	_, err = o.Store.Account(ctx, a.ID)
	return errors.Join(wantErr("account", err, user.ErrNotFound), wantEvents(ctx, o))
}
