package player

import (
	"context"
	"errors"
	"strings"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/wire"
)

// Event is one event of a play; one of the fields is set.
type Event struct {
	Started  *eventv1.PlaybackStarted
	Seeked   *eventv1.PlaybackSeeked
	Progress *eventv1.PlaybackProgress
	Ended    *eventv1.PlaybackEnded
	Error    *eventv1.PlaybackError
}

// reporter reports one play.
type reporter struct {
	p     *Player
	t     *track
	index int
	begun bool
	next  time.Duration // of sound
}

func (r *reporter) send(e Event) {
	if r.p.Report != nil {
		r.p.Report(e)
	}
}

func ms(d time.Duration) uint64 { return uint64(max(d, 0) / time.Millisecond) }

func (r *reporter) started(s TrackStats) {
	r.begun, r.next = true, reportEvery
	reason := "click"
	if r.index > 0 {
		reason = "autoplay"
	}
	play, track := r.t.playID.String(), r.t.id.String()
	r.send(Event{Started: &eventv1.PlaybackStarted{
		PlayId: play, TrackId: track, QualityKbps: s.QualityKbps, PositionMs: ms(r.t.from), Reason: reason,
		StartMs: uint32(s.StartMs), Transport: r.t.stream.Stats().Transport, Context: &eventv1.Context{Uri: "segue:track:" + track},
	}})
	if r.t.from > 0 {
		r.send(Event{Seeked: &eventv1.PlaybackSeeked{PlayId: play, TrackId: track, ToMs: ms(r.t.from), SeekMs: uint32(s.StartMs)}})
	}
}

// progress reports each time that so much more sound has been given to the output.
func (r *reporter) progress(c *cut) {
	if c.heard() < r.next {
		return
	}
	r.next = c.heard().Truncate(reportEvery) + reportEvery
	r.send(Event{Progress: &eventv1.PlaybackProgress{
		PlayId: r.t.playID.String(), TrackId: r.t.id.String(), PositionMs: ms(c.position()), HeardMs: ms(c.heard()),
		Underruns: uint32(r.p.Line.Gaps()),
	}})
}

// failed reports a play that did not begin.
func (r *reporter) failed(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := strings.ToValidUTF8(err.Error(), "\ufffd")
	const most = 512 // bytes that the server takes
	r.send(Event{Error: &eventv1.PlaybackError{
		PlayId: r.t.playID.String(), TrackId: r.t.id.String(), Code: wire.CodeOf(err).String(),
		Message: strings.ToValidUTF8(text[:min(len(text), most)], ""),
	}})
}

func (r *reporter) ended(ctx context.Context, c *cut, err error) {
	reason := "track_end"
	switch {
	case errors.Is(context.Cause(ctx), ErrElsewhere):
		reason = "replaced"
	case ctx.Err() != nil:
		reason = "stopped"
	case err != nil:
		reason = "error"
		r.failed(err)
	}
	if !r.begun {
		return
	}
	r.send(Event{Ended: &eventv1.PlaybackEnded{PlayId: r.t.playID.String(), TrackId: r.t.id.String(), HeardMs: ms(c.heard()), Reason: reason}})
}
