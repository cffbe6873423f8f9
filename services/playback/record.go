package playback

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/stream/id"
)

// received is one event of a client on its way into its play.
type received struct {
	index   uint32
	env     *eventv1.Envelope
	payload playPayload
	trackMS uint64
}

// playPayload is what every event of a play has.
type playPayload interface {
	proto.Message
	GetPlayId() string
	GetTrackId() string
}

// ofPlay reports whether a payload is an event of a play that a client may send.
func ofPlay(m proto.Message) (playPayload, bool) {
	switch m.(type) {
	case *eventv1.PlaybackStarted, *eventv1.PlaybackProgress, *eventv1.PlaybackPaused, *eventv1.PlaybackResumed,
		*eventv1.PlaybackSeeked, *eventv1.PlaybackSkipped, *eventv1.PlaybackEnded, *eventv1.PlaybackError, *eventv1.QualityChanged:
		p, ok := m.(playPayload)
		return p, ok
	}
	return nil, false
}

// batch is one call of RecordEvents: what becomes of each envelope.
type batch struct {
	s        *Service
	market   string            // of the listener's account, from the token that came with the call
	recorded map[uint32]bool   // true: new, false: a repeat
	refused  map[uint32]string // why
}

// RecordEvents implements playbackv1connect.RecordServiceHandler. The events of one play
// are kept together with the change that they make, and a listen with them.
func (s *Service) RecordEvents(ctx context.Context, req *playbackv1.RecordEventsRequest) (*playbackv1.RecordEventsResponse, error) {
	b := &batch{s: s, market: identity.From(ctx).Market, recorded: map[uint32]bool{}, refused: map[uint32]string{}}
	edits, err := b.read(ctx, req.GetEnvelopes())
	if err != nil {
		return nil, fmt.Errorf("record events: %w", err)
	}
	if err := s.pace.do(ctx, edits); err != nil {
		return nil, fmt.Errorf("record events: %w", err)
	}
	res := &playbackv1.RecordEventsResponse{}
	for i := range uint32(len(req.GetEnvelopes())) {
		if why, ok := b.refused[i]; ok {
			res.Refused = append(res.Refused, &playbackv1.RefusedEnvelope{Index: i, Reason: why})
			continue
		}
		if b.recorded[i] {
			res.Recorded++
		} else {
			res.Duplicates++
		}
	}
	for outcome, n := range map[string]int{"recorded": int(res.Recorded), "duplicate": int(res.Duplicates), "refused": len(res.Refused)} {
		s.metrics.recorded.WithLabelValues(outcome).Add(float64(n))
	}
	return res, nil
}

// read decodes the envelopes and groups them by play, in their order.
func (b *batch) read(ctx context.Context, envelopes [][]byte) ([]*edit, error) {
	type key struct{ user, play string }
	byPlay := map[key][]*received{}
	var order []key
	for i, raw := range envelopes {
		r, refusal, err := b.s.receive(ctx, raw)
		if err != nil {
			return nil, err
		}
		if refusal != "" {
			b.refused[uint32(i)] = refusal
			continue
		}
		r.index = uint32(i)
		k := key{r.env.GetUserId(), r.payload.GetPlayId()}
		if byPlay[k] == nil {
			order = append(order, k)
		}
		byPlay[k] = append(byPlay[k], r)
	}
	edits := make([]*edit, len(order))
	for i, k := range order {
		list := byPlay[k]
		e := &edit{userID: k.user, playID: k.play}
		for _, r := range list {
			e.ids = append(e.ids, r.env.GetId())
		}
		e.apply = func(p *Play, seen map[string]bool) []taken { return b.apply(p, list, seen) }
		edits[i] = e
	}
	return edits, nil
}

// receive decodes one envelope. A refusal is for good; an error is not.
func (s *Service) receive(ctx context.Context, raw []byte) (r *received, refusal string, err error) {
	env, err := event.Unmarshal(raw)
	if err != nil {
		return nil, "envelope is malformed", nil //nolint:nilerr // the refusal says it
	}
	msg, err := env.GetPayload().UnmarshalNew()
	if err != nil {
		return nil, "payload is malformed", nil //nolint:nilerr // the refusal says it
	}
	payload, ok := ofPlay(msg)
	if !ok || env.GetType() != string(msg.ProtoReflect().Descriptor().Name()) {
		return nil, "event does not belong to a play", nil
	}
	for _, text := range []string{env.GetUserId(), payload.GetPlayId(), payload.GetTrackId()} {
		if _, err := id.Parse(text); err != nil {
			return nil, "user_id, play_id or track_id is no id", nil //nolint:nilerr // the refusal says it
		}
	}
	t, err := s.tracks.get(ctx, payload.GetTrackId())
	if errors.Is(err, ErrTrackNotFound) {
		return nil, "track is not known", nil
	}
	if err != nil {
		return nil, "", err
	}
	// A session is named by the client: only one of the listener's own is believed.
	if sid := env.GetSessionId(); sid != "" {
		known, err := s.fences.knows(ctx, env.GetUserId(), sid)
		if err != nil {
			return nil, "", err
		}
		if !known {
			env.SessionId = ""
		}
	}
	return &received{env: env, payload: payload, trackMS: t.DurationMS}, "", nil
}

// apply takes the events of one play in.
func (b *batch) apply(p *Play, list []*received, seen map[string]bool) (out []taken) {
	now := b.s.Now().UTC()
	inBatch := map[string]bool{}
	for _, r := range list {
		eventID := r.env.GetId()
		delete(b.refused, r.index)
		delete(b.recorded, r.index)
		if seen[eventID] || inBatch[eventID] {
			b.recorded[r.index] = false
			continue
		}
		// A copy: observe cuts heard_ms, and this may run again.
		payload := proto.Clone(r.payload)
		if why := p.observe(now, payload); why != "" {
			b.refused[r.index] = why
			continue
		}
		packed, err := anypb.New(payload)
		if err != nil {
			b.refused[r.index] = "payload is malformed"
			continue
		}
		env := proto.CloneOf(r.env)
		env.Payload = packed
		if env.GetSessionId() == "" {
			env.SessionId = p.SessionID
		}
		if p.TrackMS == 0 {
			p.TrackMS = r.trackMS
		}
		if p.Market == "" {
			p.Market = b.market
		}
		if p.SessionID == "" {
			p.SessionID = env.GetSessionId()
		}
		if p.DeviceID == "" {
			p.DeviceID = env.GetDeviceId()
		}
		inBatch[eventID], b.recorded[r.index] = true, true
		out = append(out, taken{id: eventID, env: env})
	}
	return out
}
