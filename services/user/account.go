package user

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/stream/id"
)

// CreateAccount implements userv1connect.AccountServiceHandler.
func (s *Service) CreateAccount(ctx context.Context, r *userv1.CreateAccountRequest) (*userv1.CreateAccountResponse, error) {
	who := identity.From(ctx)
	var once *Once
	if r.GetIdempotencyKey() != "" {
		bare, _ := proto.Clone(r).(*userv1.CreateAccountRequest)
		bare.Password = "" // no digest of a password is kept but argon2id's
		request, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
		if err != nil {
			return nil, fmt.Errorf("create account: %w", err)
		}
		once = &Once{Caller: who.UserID, Key: r.GetIdempotencyKey(), Request: request}
	}
	a := Account{
		Username: r.GetUsername(), DisplayName: r.GetDisplayName(), Email: r.GetEmail(), Roles: r.GetRoles(), Market: r.GetMarket(),
	}
	made, err := s.create(ctx, a, r.GetPassword(), who, once)
	if err != nil {
		return nil, fmt.Errorf("create account: %w", err)
	}
	return &userv1.CreateAccountResponse{Account: ToProto(made)}, nil
}

// create makes an account with its key and tells of it.
func (s *Service) create(ctx context.Context, a Account, password string, who identity.Identity, once *Once) (Account, error) {
	a.ID, a.Revision, a.Created = s.newID(), 1, s.now().UTC()
	a.Plan, a.ExplicitAllowed = s.config.Plan, true
	if a.DisplayName == "" {
		a.DisplayName = a.Username
	}
	if a.Market == "" {
		a.Market = s.config.Market
	}
	slices.Sort(a.Roles)
	if err := tidy(&a); err != nil {
		return Account{}, err
	}
	hash, err := s.hasher.Hash(ctx, password)
	if err != nil {
		return Account{}, err
	}
	key, raw, err := s.newKey(a.ID)
	if err != nil {
		return Account{}, err
	}
	e, err := s.envelope(ctx, heldKey{key.ID, raw}, fact{
		subject: accountSubject(a.ID), revision: 1, userID: a.ID, actorID: who.UserID, login: who.LoginID,
		payload:  &eventv1.AccountCreated{Roles: a.Roles, Market: a.Market},
		personal: &eventv1.Personal{Username: a.Username, DisplayName: a.DisplayName, Email: a.Email},
	})
	if err != nil {
		return Account{}, err
	}
	return s.store.CreateAccount(ctx, NewAccount{Account: a, PasswordHash: hash, Key: key, Events: []*eventv1.Envelope{e}, Once: once})
}

// tidy trims the texts of an account and refuses what could deceive whoever reads them.
func tidy(a *Account) error {
	a.DisplayName, a.Email = strings.TrimSpace(a.DisplayName), strings.TrimSpace(a.Email)
	if a.DisplayName == "" || strings.ContainsFunc(a.DisplayName, deceives) {
		return ErrInvalid.With("display name has no text, or characters that cannot be seen")
	}
	if a.Email != "" {
		if at, err := mail.ParseAddress(a.Email); err != nil || at.Address != a.Email {
			return ErrInvalid.With("email is not an address")
		}
	}
	return nil
}

// deceives are control and format characters: line breaks, marks that turn the writing
// round. Joiners are left, emoji and several scripts are written with them.
func deceives(r rune) bool {
	return unicode.IsControl(r) || (unicode.Is(unicode.Cf, r) && r != '\u200c' && r != '\u200d') || r == unicode.ReplacementChar
}

// ListAccounts implements userv1connect.AccountServiceHandler.
func (s *Service) ListAccounts(ctx context.Context, r *userv1.ListAccountsRequest) (*userv1.ListAccountsResponse, error) {
	size := int(r.GetPageSize())
	if size == 0 {
		size = 50
	}
	after := ""
	if r.GetPageToken() != "" {
		b, err := base64.RawURLEncoding.Strict().DecodeString(r.GetPageToken())
		if err != nil {
			return nil, ErrPageToken.Because(err)
		}
		if _, err := id.Parse(string(b)); err != nil {
			return nil, ErrPageToken.Because(err)
		}
		after = string(b)
	}
	list, err := s.store.Accounts(ctx, after, size+1)
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	res := &userv1.ListAccountsResponse{}
	if len(list) > size {
		list = list[:size]
		res.NextPageToken = base64.RawURLEncoding.EncodeToString([]byte(list[size-1].ID))
	}
	for _, a := range list {
		res.Accounts = append(res.Accounts, ToProto(a))
	}
	return res, nil
}

// UpdateAccount implements userv1connect.AccountServiceHandler.
func (s *Service) UpdateAccount(ctx context.Context, r *userv1.UpdateAccountRequest) (*userv1.UpdateAccountResponse, error) {
	a, err := s.change(ctx, r.GetId(), r.GetRevision(), r.GetPassword(), func(a *Account) []string {
		var fields []string
		if roles := slices.Sorted(slices.Values(r.GetRoles())); len(roles) > 0 && !slices.Equal(roles, a.Roles) {
			a.Roles, fields = roles, append(fields, "roles")
		}
		fields = set(fields, "disabled", &a.Disabled, r.Disabled)
		fields = set(fields, "plan", &a.Plan, r.Plan)
		return set(fields, "market", &a.Market, r.Market)
	})
	if err != nil {
		return nil, fmt.Errorf("update account: %w", err)
	}
	return &userv1.UpdateAccountResponse{Account: ToProto(a)}, nil
}

// set changes a field to a value that came, and adds its name where it differs.
func set[T comparable](fields []string, name string, field, value *T) []string {
	if value == nil || *field == *value {
		return fields
	}
	*field = *value
	return append(fields, name)
}

// change applies edit to the account of a revision, and sets its password where one is
// given. edit names the fields it changed; where nothing changed, nothing is stored.
func (s *Service) change(ctx context.Context, userID string, revision uint64, password string, edit func(*Account) []string) (Account, error) {
	who := identity.From(ctx)
	if revision == 0 {
		return Account{}, ErrInvalid.With("revision is missing")
	}
	a, err := s.store.Account(ctx, userID)
	if err != nil {
		return Account{}, err
	}
	if a.Revision != revision {
		return Account{}, ErrConflict
	}
	wasDisabled := a.Disabled
	fields := edit(&a)
	if err := tidy(&a); err != nil {
		return Account{}, err
	}
	c := Change{}
	if password != "" {
		if c.PasswordHash, err = s.hasher.Hash(ctx, password); err != nil {
			return Account{}, err
		}
	}
	if len(fields) == 0 && password == "" {
		return a, nil
	}
	a.Revision++
	c.Account = a
	keys, err := s.held(ctx, userID)
	if err != nil {
		return Account{}, err
	}
	if c.Events, err = s.changed(ctx, keys, a, fields, password != "", who); err != nil {
		return Account{}, err
	}
	if password != "" || (a.Disabled && !wasDisabled) {
		reason := "password changed"
		if a.Disabled {
			reason = "account disabled"
		}
		c.EndSessions = s.endSessions(ctx, keys, reason, who)
	}
	return a, s.store.UpdateAccount(ctx, c)
}

// changed are the events of a change.
func (s *Service) changed(ctx context.Context, keys heldKey, a Account, fields []string, password bool, who identity.Identity) ([]*eventv1.Envelope, error) {
	f := fact{subject: accountSubject(a.ID), revision: a.Revision, userID: a.ID, actorID: who.UserID, login: who.LoginID}
	var events []*eventv1.Envelope
	if len(fields) > 0 {
		f.payload, f.personal = &eventv1.AccountUpdated{Fields: fields, Roles: a.Roles}, from(who, a.ID)
		if slices.Contains(fields, "display_name") {
			f.personal.DisplayName = a.DisplayName
		}
		if slices.Contains(fields, "email") {
			f.personal.Email = a.Email
		}
		e, err := s.envelope(ctx, keys, f)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if password {
		f.payload, f.personal = &eventv1.PasswordChanged{}, from(who, a.ID)
		e, err := s.envelope(ctx, keys, f)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// endSessions ends all sign-ins but the one that asks.
func (s *Service) endSessions(ctx context.Context, keys heldKey, reason string, who identity.Identity) *EndSessions {
	return &EndSessions{Keep: who.LoginID, Reason: reason, Event: func(f Family) (*eventv1.Envelope, error) {
		return s.envelope(ctx, keys, fact{
			subject: loginSubject(f.ID), revision: f.Revision, userID: f.UserID, actorID: who.UserID, login: f.ID,
			payload: &eventv1.LoggedOut{Reason: reason}, personal: from(who, f.UserID),
		})
	}}
}

// deleteTries is how often a delete reads the revision again that another change took.
const deleteTries = 5

// DeleteAccount implements userv1connect.AccountServiceHandler.
func (s *Service) DeleteAccount(ctx context.Context, r *userv1.DeleteAccountRequest) (*userv1.DeleteAccountResponse, error) {
	who := identity.From(ctx)
	var err error = ErrConflict
	for range deleteTries {
		var a Account
		if a, err = s.store.Account(ctx, r.GetId()); err != nil {
			break
		}
		var e *eventv1.Envelope
		// Nothing personal: with the account its key goes, and nothing sealed could be read.
		e, err = s.envelope(ctx, s, fact{
			subject: accountSubject(a.ID), revision: a.Revision + 1, userID: a.ID, actorID: who.UserID, login: who.LoginID,
			payload: &eventv1.AccountDeleted{},
		})
		if err != nil {
			break
		}
		if _, err = s.store.DeleteAccount(ctx, a.ID, a.Revision, []*eventv1.Envelope{e}); !errors.Is(err, ErrConflict) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("delete account: %w", err)
	}
	return &userv1.DeleteAccountResponse{}, nil
}
