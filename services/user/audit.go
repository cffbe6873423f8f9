package user

import (
	"context"

	"connectrpc.com/connect"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/identity"
)

// audit records that a signed-in caller was refused. Each record is a write, so a caller
// who is refused over and over is recorded ten times a minute.
func (s *Service) audit(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		res, err := next(ctx, req)
		who := identity.From(ctx)
		if connect.CodeOf(err) != connect.CodePermissionDenied || err == nil || who.UserID == "" {
			return res, err
		}
		if _, ok := s.limits.take(ctx, byRefusal, who.UserID); ok {
			id := s.newID()
			s.record(ctx, fact{
				subject: "refusal:" + id, revision: 1, userID: who.UserID, actorID: who.UserID, login: who.LoginID,
				payload:  &eventv1.AccessRefused{Procedure: req.Spec().Procedure, Reason: "permission_denied"},
				personal: from(who, who.UserID),
			})
		}
		return res, err
	}
}

// RecordRefusal implements userv1connect.AccessAuditServiceHandler. A caller who is
// refused over and over is recorded ten times a minute; nobody in particular, by address.
func (s *Service) RecordRefusal(ctx context.Context, r *userv1.RecordRefusalRequest) (*userv1.RecordRefusalResponse, error) {
	who := identity.From(ctx)
	key := who.UserID
	if key == "" {
		key = addressKey(who.IP)
	}
	if _, ok := s.limits.take(ctx, byRefusal, key); ok {
		s.record(ctx, fact{
			subject: "refusal:" + s.newID(), revision: 1, userID: who.UserID, actorID: who.UserID, login: who.LoginID,
			payload:  &eventv1.AccessRefused{Procedure: r.GetProcedure(), Reason: r.GetReason()},
			personal: from(who, who.UserID),
		})
	}
	return &userv1.RecordRefusalResponse{}, nil
}
