package user

import (
	"context"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
)

// FindAccount implements userv1connect.DirectoryServiceHandler.
func (s *Service) FindAccount(ctx context.Context, r *userv1.FindAccountRequest) (*userv1.FindAccountResponse, error) {
	a, _, err := s.store.AccountByName(ctx, r.GetUsername())
	if err != nil {
		return nil, err
	}
	return &userv1.FindAccountResponse{Id: a.ID}, nil
}

// RecordRefusal implements userv1connect.AccessAuditServiceHandler. A caller who is
// refused over and over is recorded ten times a minute; nobody in particular, by address.
func (s *Service) RecordRefusal(ctx context.Context, r *userv1.RecordRefusalRequest) (*userv1.RecordRefusalResponse, error) {
	who := identity.From(ctx)
	key := who.UserID
	if key == "" {
		key = addressKey(who.IP)
	}
	if _, ok := s.perRefuse.take(s.now(), key); ok {
		s.record(ctx, fact{
			subject: "refusal:" + s.newID(), revision: 1, userID: who.UserID, actorID: who.UserID, login: who.LoginID,
			payload:  &eventv1.AccessRefused{Procedure: r.GetProcedure(), Reason: r.GetReason()},
			personal: from(who, who.UserID),
		})
	}
	return &userv1.RecordRefusalResponse{}, nil
}
