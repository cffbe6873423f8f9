package playback

import (
	"context"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/id"
)

const sweepBatch = 200

// sweep looks at plays whose time has come: it ends those whose client vanished, and
// counts those for which an edge's report was waited for. What fails is due again.
func (s *Service) sweep(ctx context.Context) {
	for {
		due, err := s.Store.DuePlays(ctx, s.Now().UTC(), sweepBatch)
		if err == nil && len(due) > 0 {
			edits := make([]*edit, len(due))
			for i, p := range due {
				edits[i] = &edit{userID: p.UserID, playID: p.ID, apply: func(p *Play, _ map[string]bool) []taken { return s.end(ctx, p) }}
			}
			err = s.commit(ctx, edits)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "sweep plays", "err", err)
		}
		if err != nil || len(due) < sweepBatch {
			return
		}
	}
}

// end ends a play that is still due and silent.
func (s *Service) end(ctx context.Context, p *Play) []taken {
	now := s.Now().UTC()
	if p.Due.IsZero() || p.Due.After(now) {
		return nil // it came back meanwhile
	}
	if p.Phase != PhasePlaying && p.Phase != PhasePaused {
		return []taken{{}} // its end is known: only settle
	}
	p.lapse(now)
	// One id per silence: a play may come back and fall silent again.
	eventID := id.Derive("play lapsed", p.UserID, p.ID, p.Last.String()).String()
	env, err := event.New(eventID, now, "", 0, &eventv1.PlaybackEnded{
		PlayId: p.ID, TrackId: p.TrackID, HeardMs: p.heard(), Reason: reasonSilent,
	})
	if err != nil {
		s.Log.ErrorContext(ctx, "end silent play", "play", p.ID, "err", err)
		return []taken{{}}
	}
	s.stampPlay(ctx, env, p.ID, p.UserID, p.DeviceID, p.SessionID)
	return []taken{{env: env}}
}
