package user

import (
	"context"
	"errors"
	"fmt"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
)

// GetMe implements userv1connect.AccountServiceHandler.
func (s *Service) GetMe(ctx context.Context, _ *userv1.GetMeRequest) (*userv1.GetMeResponse, error) {
	a, err := s.store.Account(ctx, identity.From(ctx).UserID)
	if err != nil {
		return nil, fmt.Errorf("get me: %w", err)
	}
	return &userv1.GetMeResponse{Account: ToProto(a)}, nil
}

// UpdateMe implements userv1connect.AccountServiceHandler.
func (s *Service) UpdateMe(ctx context.Context, r *userv1.UpdateMeRequest) (*userv1.UpdateMeResponse, error) {
	a, err := s.change(ctx, identity.From(ctx).UserID, r.GetRevision(), "", func(a *Account) []string {
		fields := set(nil, "display_name", &a.DisplayName, r.DisplayName)
		fields = set(fields, "email", &a.Email, r.Email)
		fields = set(fields, "market", &a.Market, r.Market)
		return set(fields, "explicit_allowed", &a.ExplicitAllowed, r.ExplicitAllowed)
	})
	if err != nil {
		return nil, fmt.Errorf("update me: %w", err)
	}
	return &userv1.UpdateMeResponse{Account: ToProto(a)}, nil
}

// ChangePassword implements userv1connect.AccountServiceHandler. The caller's other
// sign-ins end.
func (s *Service) ChangePassword(ctx context.Context, r *userv1.ChangePasswordRequest) (*userv1.ChangePasswordResponse, error) {
	who := identity.From(ctx)
	a, err := s.store.Account(ctx, who.UserID)
	if err != nil {
		return nil, fmt.Errorf("change password: %w", err)
	}
	// A stolen access token must not be a way to guess the password.
	name := nameKey(a.Username)
	if wait, ok := s.limits.take(ctx, byName, name); !ok {
		return nil, ErrLimited.RetryIn(wait)
	}
	stored, err := s.store.PasswordHash(ctx, a.ID)
	if err != nil {
		return nil, fmt.Errorf("change password: %w", err)
	}
	right, _, err := s.hasher.Verify(ctx, stored, r.GetCurrent())
	if err != nil {
		s.limits.giveBack(ctx, byName, name)
		return nil, fmt.Errorf("change password: %w", err)
	}
	if !right {
		return nil, ErrPassword
	}
	s.limits.giveBack(ctx, byName, name)
	if _, err := s.change(ctx, a.ID, a.Revision, r.GetReplacement(), func(*Account) []string { return nil }); err != nil {
		return nil, fmt.Errorf("change password: %w", err)
	}
	return &userv1.ChangePasswordResponse{}, nil
}

// ListSessions implements userv1connect.AccountServiceHandler.
func (s *Service) ListSessions(ctx context.Context, _ *userv1.ListSessionsRequest) (*userv1.ListSessionsResponse, error) {
	who := identity.From(ctx)
	list, err := s.store.Families(ctx, who.UserID, s.now())
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	res := &userv1.ListSessionsResponse{}
	for _, f := range list {
		res.Sessions = append(res.Sessions, &userv1.LoginSession{
			Id: f.ID, ClientId: f.ClientID, UserAgent: f.UserAgent, CreatedUnixMs: f.Created.UnixMilli(),
			LastUsedUnixMs: f.Used.UnixMilli(), Current: f.ID == who.LoginID,
		})
	}
	return res, nil
}

// RevokeSession implements userv1connect.AccountServiceHandler. Another's session is not
// found.
func (s *Service) RevokeSession(ctx context.Context, r *userv1.RevokeSessionRequest) (*userv1.RevokeSessionResponse, error) {
	who := identity.From(ctx)
	f, err := s.store.Family(ctx, r.GetId())
	if err != nil {
		return nil, fmt.Errorf("revoke session: %w", err)
	}
	if f.UserID != who.UserID {
		return nil, ErrNoSession
	}
	if err := s.end(ctx, f.ID, &eventv1.LoggedOut{Reason: "session revoked"}, who); err != nil {
		return nil, fmt.Errorf("revoke session: %w", err)
	}
	return &userv1.RevokeSessionResponse{}, nil
}

// casTries is how often a family is read again that another call changed.
const casTries = 8

// end revokes a family and tells of it by payload, a LoggedOut or TokenFamilyRevoked. A
// family that has ended already stays as it is.
func (s *Service) end(ctx context.Context, familyID string, payload reasoned, who identity.Identity) error {
	for range casTries {
		f, err := s.store.Family(ctx, familyID)
		if err != nil {
			return err
		}
		if !f.Revoked.IsZero() {
			return nil
		}
		f.Revoked, f.Reason, f.Revision = s.now().UTC(), payload.GetReason(), f.Revision+1
		e, err := s.envelope(ctx, s, fact{
			subject: loginSubject(f.ID), revision: f.Revision, userID: f.UserID, actorID: who.UserID, login: f.ID, payload: payload,
			personal: from(who, f.UserID),
		})
		if err != nil {
			return err
		}
		if err := s.store.UpdateFamily(ctx, f, []*eventv1.Envelope{e}); !errors.Is(err, ErrSession) {
			return err
		}
	}
	return ErrSession
}
