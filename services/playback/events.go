package playback

import (
	"context"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/span"
	"github.com/segue-music/segue/stream/wire"
)

// stampPlay is stamp for an event of a play, which belongs to the trace of its start,
// whatever call, or silence, brings it about.
func (s *Service) stampPlay(ctx context.Context, env *eventv1.Envelope, playID, userID, deviceID, sessionID string) {
	env.TraceId = span.OfPlay(playID)
	s.stamp(ctx, env, userID, deviceID, sessionID)
}

// stamp says whom an event is about and in which trace it happened.
func (s *Service) stamp(ctx context.Context, env *eventv1.Envelope, userID, deviceID, sessionID string) {
	env.UserId, env.ActorId, env.DeviceId, env.SessionId = userID, userID, deviceID, sessionID
	event.Trace(ctx, env)
}

// code is the name that the streaming protocol has for a refusal; "" for a failure of
// ours, which is no refusal.
func code(k fault.Kind) string {
	switch k {
	case fault.NotFound:
		return wire.NotFound.String()
	case fault.Denied:
		return wire.NotEntitled.String()
	case fault.Conflict:
		return wire.PlayingElsewhere.String()
	case fault.Unauthenticated:
		return wire.TicketInvalid.String()
	default:
		return ""
	}
}

// refused publishes PlayRefused. A client that repeats a PLAY without end makes one event
// a minute for it.
func (s *Service) refused(ctx context.Context, req *playbackv1.ResolvePlayRequest, kind fault.Kind) {
	name, now := code(kind), s.Now().UTC()
	if name == "" || !s.fences.metered(req.GetUserId(), req.GetSessionId()+" "+req.GetTrackId()+" "+name, now) {
		return
	}
	env, err := event.New(s.NewID(), now, "track:"+req.GetTrackId(), 0, &eventv1.PlayRefused{TrackId: req.GetTrackId(), Code: name})
	if err == nil {
		s.stamp(ctx, env, req.GetUserId(), req.GetDeviceId(), req.GetSessionId())
		err = s.Store.AddEvents(ctx, Event{event.Playback, req.GetUserId(), env})
	}
	if err != nil {
		s.Log.WarnContext(ctx, "publish refusal", "track", req.GetTrackId(), "code", name, "err", err)
	}
}
