package playback

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// Phase of a play.
type Phase string

// The phases. A play begins with whatever comes first: what an edge served, or an event
// of the client, which may arrive out of order.
const (
	PhaseNone    Phase = ""        // nothing but served sound is known: a prefetch, or a start on its way
	PhasePlaying Phase = "playing" //
	PhasePaused  Phase = "paused"  //
	PhaseEnded   Phase = "ended"   // the client said so
	PhaseLapsed  Phase = "lapsed"  // the client fell silent; it may come back
)

// Play is one start of one track.
type Play struct {
	UserID, ID, TrackID string
	SessionID, DeviceID string
	Revision            uint64
	Phase               Phase
	// Begun, Skipped and Closed say that PlaybackStarted, PlaybackSkipped and
	// PlaybackEnded were taken in.
	Begun, Skipped, Closed bool
	// Counted says that TrackPlayed was published. It never becomes false again.
	Counted bool
	// ClaimedMS is the greatest heard_ms of the client, ServedMS what edges sent.
	ClaimedMS, ServedMS, ServedBytes, TrackMS uint64
	Started, Last, Ended                      time.Time
	ReasonStart, ReasonEnd                    string
	ContextURI, RecommendationID, Shelf       string
	QualityKbps                               uint32
	// Market of the listener's account, as the first event of a client came with it.
	Market string
	// Due is when the sweep looks at it next; zero for never.
	Due time.Time
}

// Rules of counting (DESIGN.md section 4).
const (
	countedMS = 30_000
	// wholeSlackMS: lengths and heard times are rounded per page of 250 ms.
	wholeSlackMS = 250
	// maxMS bounds what a client may claim or an edge report at once: a day.
	maxMS = 86_400_000
)

// timings of the sweep.
type timings struct{ silence, pausedSilence, settle time.Duration }

// heard is what counts: never more than was served.
func (p *Play) heard() uint64 { return min(p.ClaimedMS, p.ServedMS) }

// over reports whether the client has ended the play.
func (p *Play) over() bool { return p.Phase == PhaseEnded }

// observe takes in one event of the client, cutting its heard_ms to what was served. It
// returns why the event is refused, and then p is unchanged.
func (p *Play) observe(at time.Time, m proto.Message) (refusal string) {
	if refusal := p.admits(m); refusal != "" {
		return refusal
	}
	p.Last = at
	if p.Started.IsZero() {
		p.Started = at
	}
	if t, ok := m.(interface{ GetTrackId() string }); ok && p.TrackID == "" {
		p.TrackID = t.GetTrackId()
	}
	phase := p.Phase
	if !p.over() && phase != PhasePaused {
		phase = PhasePlaying // of a lapsed or an unknown play this is a sign of life
	}
	switch e := m.(type) {
	case *eventv1.PlaybackStarted:
		p.Begun, p.ReasonStart = true, e.GetReason()
		p.ContextURI, p.RecommendationID, p.Shelf = e.GetContext().GetUri(), e.GetContext().GetRecommendationId(), e.GetContext().GetShelf()
		if p.QualityKbps == 0 {
			p.QualityKbps = e.GetQualityKbps()
		}
	case *eventv1.PlaybackProgress:
		e.HeardMs = p.claim(e.GetHeardMs())
	case *eventv1.PlaybackPaused:
		e.HeardMs, phase = p.claim(e.GetHeardMs()), PhasePaused
	case *eventv1.PlaybackResumed:
		phase = PhasePlaying
	case *eventv1.PlaybackSkipped:
		e.HeardMs, phase = p.claim(e.GetHeardMs()), PhaseEnded
		if p.Skipped = true; !p.over() {
			p.Ended, p.ReasonEnd = at, "skipped"
		}
	case *eventv1.PlaybackEnded:
		e.HeardMs, phase = p.claim(e.GetHeardMs()), PhaseEnded
		if p.Closed = true; !p.over() {
			p.Ended, p.ReasonEnd = at, e.GetReason()
		}
	case *eventv1.QualityChanged:
		p.QualityKbps = e.GetToKbps()
	}
	p.Phase = phase
	return ""
}

// admits says why an event cannot follow what is known; "" when it can.
func (p *Play) admits(m proto.Message) string {
	if h, ok := m.(interface{ GetHeardMs() uint64 }); ok && h.GetHeardMs() > maxMS {
		return "heard_ms is over a day"
	}
	if t, ok := m.(interface{ GetTrackId() string }); ok && p.TrackID != "" && t.GetTrackId() != p.TrackID {
		return "play is of another track"
	}
	switch m.(type) {
	case *eventv1.PlaybackStarted:
		if p.Begun {
			return "play has started already"
		}
	case *eventv1.PlaybackProgress, *eventv1.PlaybackError, *eventv1.QualityChanged:
		// These may overtake, or be overtaken by, the end.
	case *eventv1.PlaybackEnded:
		if p.Closed {
			return "play has ended already"
		}
	case *eventv1.PlaybackSkipped:
		if p.Skipped {
			return "play was skipped already"
		}
	case *eventv1.PlaybackPaused, *eventv1.PlaybackResumed, *eventv1.PlaybackSeeked:
		if p.over() {
			return "play has ended already"
		}
	default:
		return "event does not belong to a play"
	}
	return ""
}

// claim notes heard_ms and returns what of it is covered by what was served so far.
func (p *Play) claim(ms uint64) uint64 {
	p.ClaimedMS = max(p.ClaimedMS, ms)
	return min(ms, p.ServedMS)
}

// serve takes in what an edge sent. The edge knows best which track it was: claims about
// another one are void.
func (p *Play) serve(at time.Time, trackID string, ms, bytes uint64) {
	switch {
	case p.ServedBytes == 0 && p.ServedMS == 0 && p.TrackID != trackID:
		p.TrackID, p.ClaimedMS = trackID, 0
	case p.TrackID != trackID:
		return // one play id for two tracks: the first is counted
	}
	p.ServedMS += ms
	p.ServedBytes += bytes
	if p.Last.Before(at) {
		p.Last = at
	}
}

// lapse ends a play whose client is silent.
func (p *Play) lapse(at time.Time) {
	p.Phase, p.Ended = PhaseLapsed, at
	if p.ReasonEnd == "" {
		p.ReasonEnd = reasonSilent
	}
}

// reasonSilent is the PlaybackEnded.reason of a client that vanished.
const reasonSilent = "silent"

// settle sets when the play is to be looked at next and returns the listen, once.
func (p *Play) settle(now time.Time, t timings) *eventv1.TrackPlayed {
	switch p.Phase {
	case PhaseNone:
		p.Due = time.Time{}
		return nil
	case PhasePlaying:
		p.Due = p.Last.Add(t.silence)
		return nil
	case PhasePaused:
		p.Due = p.Last.Add(t.pausedSilence)
		return nil
	case PhaseEnded, PhaseLapsed:
	}
	p.Due = time.Time{}
	if p.Counted {
		return nil
	}
	// An edge's report may come after the client's last word.
	settled := p.Ended.Add(t.settle)
	if p.Phase == PhaseEnded && p.ServedMS < p.ClaimedMS && now.Before(settled) {
		p.Due = settled
		return nil
	}
	if p.heard() < p.threshold() {
		return nil
	}
	p.Counted = true
	out := &eventv1.TrackPlayed{
		PlayId: p.ID, TrackId: p.TrackID, Started: timestamppb.New(p.Started), HeardMs: p.heard(), TrackMs: p.TrackMS,
		ReasonStart: p.ReasonStart, ReasonEnd: p.ReasonEnd, Skipped: p.Skipped, QualityKbps: p.QualityKbps,
		Market: p.Market,
	}
	if p.ContextURI != "" || p.RecommendationID != "" || p.Shelf != "" {
		out.Context = &eventv1.Context{Uri: p.ContextURI, RecommendationId: p.RecommendationID, Shelf: p.Shelf}
	}
	return out
}

// threshold is what must be heard for a play to count.
func (p *Play) threshold() uint64 {
	if p.TrackMS == 0 || p.TrackMS >= countedMS {
		return countedMS
	}
	return max(1, p.TrackMS-min(wholeSlackMS, p.TrackMS/10))
}
