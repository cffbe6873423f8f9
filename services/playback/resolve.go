package playback

import (
	"context"
	"errors"
	"fmt"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
)

// prepareRetry is when a track that is being prepared is worth another try: 96 kbit/s
// alone is encoded first.
const prepareRetry = 2 * time.Second

// ResolvePlay implements playbackv1connect.StreamServiceHandler. It changes nothing but
// the order of the ingest queue: a PLAY may be a replay of early data.
func (s *Service) ResolvePlay(ctx context.Context, req *playbackv1.ResolvePlayRequest) (*playbackv1.ResolvePlayResponse, error) {
	res, err := s.resolve(ctx, req)
	if err != nil {
		kind := fault.KindOf(err)
		outcome := kind.String()
		if errors.Is(err, ErrNotPlayableYet) {
			outcome = outcomePreparing // no outage, though the client is told to come back as in one
		}
		s.metrics.plays.WithLabelValues(outcome).Inc()
		s.refused(ctx, req, kind)
		return nil, err
	}
	s.metrics.plays.WithLabelValues(outcomeOK).Inc()
	return res, nil
}

func (s *Service) resolve(ctx context.Context, req *playbackv1.ResolvePlayRequest) (*playbackv1.ResolvePlayResponse, error) {
	verdict, err := s.fences.verdict(ctx, req.GetUserId(), req.GetSessionId(), req.GetDeviceId(), req.GetActiveEpoch(), false)
	switch {
	case err != nil:
		return nil, fmt.Errorf("resolve play: %w", err)
	case verdict == fenceRevoked:
		return nil, ErrSessionEnded
	case verdict == fenceElsewhere && !req.GetPrefetch():
		return nil, ErrElsewhere
	}
	t, err := s.tracks.get(ctx, req.GetTrackId())
	if err != nil {
		return nil, err
	}
	l := listener{userID: req.GetUserId(), market: req.GetMarket(), explicitAllowed: req.GetExplicitAllowed()}
	if err := t.available(l, s.Now()); err != nil {
		return nil, err
	}
	most := s.Config.maxKbps(req.GetPlan())
	if m := req.GetMaxKbps(); m != 0 {
		most = min(most, m)
	}
	r, err := t.choose(req.GetQualityKbps(), most)
	if errors.Is(err, ErrNotPlayableYet) {
		// Events may be late, by minutes where a consumer has crashed: who owns the track knows.
		if now, renewErr := s.tracks.renew(ctx, t.ID); renewErr == nil {
			t = now
			if err := t.available(l, s.Now()); err != nil {
				return nil, err
			}
			r, err = t.choose(req.GetQualityKbps(), most)
		}
	}
	if errors.Is(err, ErrNotPlayableYet) {
		return nil, s.prepare(ctx, t, req.GetPrefetch())
	}
	if err != nil {
		return nil, err
	}
	k, err := s.keys.of(ctx, t.ID, r)
	if errors.Is(err, ErrAbsent) {
		// The pipeline puts the key before it publishes, so this is damage, not delay.
		return nil, fmt.Errorf("resolve play: no key for object %s of track %s", r.ObjectID, t.ID)
	}
	if err != nil {
		return nil, fmt.Errorf("resolve play: %w", err)
	}
	wrapped, err := s.wrapFor(ctx, &k, req)
	if err != nil {
		return nil, fmt.Errorf("resolve play: %w", err)
	}
	return &playbackv1.ResolvePlayResponse{
		ObjectId: k.ObjectID, Kbps: r.Kbps, Kid: k.KID, WrappedKey: wrapped,
		GainTrackQ8: t.GainTrackQ8, GainAlbumQ8: t.GainAlbumQ8, PeakQ8: t.PeakQ8,
	}, nil
}

// wrapFor wraps a content key for the session of a PLAY.
func (s *Service) wrapFor(ctx context.Context, k *ContentKey, req *playbackv1.ResolvePlayRequest) ([]byte, error) {
	sessionID, err := id.Parse(req.GetSessionId())
	if err != nil {
		return nil, ErrSessionEnded.Because(err)
	}
	keyID := req.GetSessionKeyId()
	if keyID == 0 {
		v, err := s.Store.Session(ctx, req.GetUserId(), req.GetSessionId())
		if errors.Is(err, ErrAbsent) {
			return nil, ErrSessionEnded
		}
		if err != nil {
			return nil, err
		}
		keyID = v.KeyID
	}
	tk, err := s.ticketKey(keyID)
	if err != nil {
		return nil, err
	}
	base, err := s.keys.open(k)
	if err != nil {
		return nil, err
	}
	object, err := objectBytes(k.ObjectID)
	if err != nil {
		return nil, err
	}
	kek := sessionKey(tk, sessionID, [32]byte(req.GetDeviceKeyHash()))
	return seal.WrapKey(kek, base, object, k.SealID, k.KID, sessionID, s.Random)
}

// prepare moves a track without a rendition to the front of the ingest queue, unless
// nobody is waiting for it.
func (s *Service) prepare(ctx context.Context, t *Track, prefetch bool) error {
	wait := ErrNotPlayableYet.RetryIn(prepareRetry)
	if prefetch || t.State == metadatav1.TrackState_TRACK_STATE_FAILED {
		return wait
	}
	if _, err := s.Upload.Prioritise(ctx, &uploadv1.PrioritiseRequest{TrackId: t.ID}); err != nil {
		s.Log.WarnContext(ctx, "prioritise track", "track", t.ID, "err", err)
		return wait.Because(err)
	}
	return wait
}
