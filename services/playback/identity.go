package playback

import (
	"context"
	"slices"
	"strings"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// handleIdentity follows user-identity-events: what ends a sign-in ends its sessions,
// and with them the streams at their next fence.
func (s *Service) handleIdentity(ctx context.Context, rec event.Record) error {
	env, err := event.Unmarshal(rec.Value)
	if err != nil {
		s.Log.WarnContext(ctx, "identity event skipped", "offset", rec.Offset, "err", err)
		return nil
	}
	msg, err := env.GetPayload().UnmarshalNew()
	if err != nil {
		return nil //nolint:nilerr // of a newer program
	}
	userID := env.GetUserId()
	if userID == "" {
		kind, id, _ := strings.Cut(env.GetSubject(), ":")
		if kind != "user" || id == "" {
			return nil
		}
		userID = id
	}
	switch m := msg.(type) {
	case *eventv1.AccountDeleted:
		err = s.Store.ForgetListener(ctx, userID)
	case *eventv1.AccountUpdated:
		if !slices.Contains(m.GetFields(), "disabled") {
			return nil
		}
		err = s.Store.EndSessions(ctx, userID, "")
	case *eventv1.TokenFamilyRevoked:
		if m.GetFamilyId() == "" {
			return nil
		}
		err = s.Store.EndSessions(ctx, userID, m.GetFamilyId())
	case *eventv1.LoggedOut:
		if env.GetSessionId() == "" {
			return nil
		}
		err = s.Store.EndSessions(ctx, userID, env.GetSessionId())
	default:
		return nil
	}
	if err != nil {
		return err
	}
	// Read again at the next fence.
	s.fences.update(userID, func(e *fence) { e.loaded = false })
	// The event comes to one instance of all.
	if _, gone := msg.(*eventv1.AccountDeleted); gone {
		s.watchers.end(userID)
		s.Notices.Tell(userID, toldGone)
	} else {
		s.Notices.Tell(userID, toldChanged)
	}
	return nil
}
