package playback

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/stream/id"
)

// ReportServed implements playbackv1connect.StreamServiceHandler.
//
// Each line of a report is known again by an id derived from edge, sequence and the line
// itself, kept with the play that it changed: a report that was taken in by half is
// completed by its repeat, and an edge that starts over with its sequence loses nothing.
func (s *Service) ReportServed(ctx context.Context, req *playbackv1.ReportServedRequest) (*playbackv1.ReportServedResponse, error) {
	now := s.Now().UTC()
	type key struct{ user, play string }
	byPlay := map[key]*servedEdit{}
	var edits []*edit
	for _, line := range req.GetServed() {
		if line.GetServedMs() == 0 && line.GetBytes() == 0 {
			continue
		}
		k := key{line.GetUserId(), line.GetPlayId()}
		e := byPlay[k]
		if e == nil {
			e = &servedEdit{s: s, ctx: ctx, now: now}
			byPlay[k] = e
			e.edit = &edit{userID: k.user, playID: k.play, apply: e.apply}
			edits = append(edits, e.edit)
		}
		if err := e.add(req, line); err != nil {
			return nil, fmt.Errorf("report served: %w", err)
		}
	}
	if err := s.pace.do(ctx, edits); err != nil {
		return nil, fmt.Errorf("report served: %w", err)
	}
	s.metrics.served.Add(float64(len(req.GetServed())))
	for _, line := range req.GetServed() {
		s.fences.served(line.GetUserId(), line.GetDeviceId())
	}
	return &playbackv1.ReportServedResponse{}, nil
}

// servedEdit is what one report says of one play.
type servedEdit struct {
	*edit
	s     *Service
	ctx   context.Context //nolint:containedctx // lives exactly as long as the call that made it
	now   time.Time
	lines []*playbackv1.Served
	envs  []*eventv1.Envelope
	ms    []uint64 // length of each line's track, 0 when it is not known
}

func (e *servedEdit) add(req *playbackv1.ReportServedRequest, line *playbackv1.Served) error {
	lineID := id.Derive("served", req.GetEdgeId(), strconv.FormatUint(req.GetSequence(), 10), line.GetUserId(), line.GetSessionId(),
		line.GetDeviceId(), line.GetPlayId(), line.GetTrackId(), strconv.FormatUint(line.GetServedMs(), 10),
		strconv.FormatUint(line.GetBytes(), 10), strconv.Itoa(len(e.lines))).String()
	env, err := event.New(lineID, e.now, "", 0, &eventv1.StreamServed{
		PlayId: line.GetPlayId(), TrackId: line.GetTrackId(), ServedMs: line.GetServedMs(), Bytes: line.GetBytes(),
	})
	if err != nil {
		return err
	}
	e.s.stampPlay(e.ctx, env, line.GetPlayId(), line.GetUserId(), line.GetDeviceId(), line.GetSessionId())
	var ms uint64
	if t, err := e.s.tracks.get(e.ctx, line.GetTrackId()); err == nil {
		ms = t.DurationMS // else a client's event brings it, or 30 s must be heard
	}
	e.ids, e.lines, e.envs, e.ms = append(e.ids, lineID), append(e.lines, line), append(e.envs, env), append(e.ms, ms)
	return nil
}

func (e *servedEdit) apply(p *Play, seen map[string]bool) (out []taken) {
	for i, line := range e.lines {
		if seen[e.ids[i]] {
			continue
		}
		before := p.TrackID
		p.serve(e.now, line.GetTrackId(), line.GetServedMs(), line.GetBytes())
		if p.TrackID != before || p.TrackMS == 0 {
			p.TrackMS = e.ms[i]
		}
		p.SessionID, p.DeviceID = line.GetSessionId(), line.GetDeviceId()
		out = append(out, taken{id: e.ids[i], env: e.envs[i]})
	}
	return out
}
