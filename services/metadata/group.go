package metadata

import (
	"context"
	"fmt"
	"slices"
	"sync"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

// maxGroup bounds the tracks of one change, and with it the wait of other writers.
const maxGroup = spreadBatch

// putGroup gathers the calls of PutTrack that come while another one is written. They are
// planned together: twelve files of an album change it, its artists and what waits to be
// published once and not twelve times.
type putGroup struct {
	mu      sync.Mutex
	waiting []*put
	led     bool // a caller is planning, or has been told to
}

// put is one call while it waits.
type put struct {
	ctx     context.Context //nolint:containedctx // lives exactly as long as the call that made it
	req     *metadatav1.PutTrackRequest
	request []byte // digest

	wake chan struct{} // one token: the result is there, or lead is set
	lead bool          // guarded by putGroup.mu

	track *metadatav1.Track
	err   error
}

// put plans one call, alone or with others, and returns when it is stored.
func (s *Service) put(ctx context.Context, req *metadatav1.PutTrackRequest, request []byte) (*metadatav1.Track, error) {
	g := &s.puts
	me := &put{ctx: ctx, req: req, request: request, wake: make(chan struct{}, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, me)
	lead := !g.led
	g.led = true
	g.mu.Unlock()
	if !lead {
		// The wait is for one change at most, which no context can hurry.
		<-me.wake
		g.mu.Lock()
		lead = me.lead
		g.mu.Unlock()
	}
	if lead {
		s.leadPuts()
	}
	return me.track, me.err
}

// take removes a group from those that wait: at most one call of each track.
func (g *putGroup) take() []*put {
	g.mu.Lock()
	defer g.mu.Unlock()
	var group, rest []*put
	seen := map[string]bool{}
	for _, p := range g.waiting {
		if id := p.req.GetTrackId(); len(group) < maxGroup && !seen[id] {
			seen[id] = true
			group = append(group, p)
		} else {
			rest = append(rest, p)
		}
	}
	g.waiting = rest
	return group
}

// pass tells the results and lets the first of those that wait lead on.
func (g *putGroup) pass(group []*put) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.led = len(g.waiting) > 0; g.led {
		next := g.waiting[0]
		next.lead = true
		next.wake <- struct{}{}
	}
	for _, p := range group {
		select {
		case p.wake <- struct{}{}:
		default: // the leader had its token
		}
	}
}

// leadPuts plans one group, of which the caller is one.
func (s *Service) leadPuts() {
	group := s.puts.take()
	defer s.puts.pass(group)
	for _, p := range group {
		p.err = fmt.Errorf("wait to plan: %w", context.Canceled) // until it is known better
	}
	live := slices.DeleteFunc(slices.Clone(group), func(p *put) bool {
		err := p.ctx.Err()
		if err != nil {
			p.err = fmt.Errorf("wait to plan: %w", err)
		}
		return err != nil
	})
	if len(live) > 1 {
		// The group outlives any one caller, so no caller's context may interrupt it.
		if s.planPuts(context.WithoutCancel(live[0].ctx), live) == nil {
			return
		}
	}
	// Alone: a failure is that of one caller.
	for _, p := range live {
		p.err = s.planPuts(p.ctx, []*put{p})
	}
}

// planPuts stores a group, all or none.
func (s *Service) planPuts(ctx context.Context, group []*put) error {
	err := s.plan(ctx, func(ctx context.Context, p *planner) error {
		for _, one := range group {
			if err := p.put(ctx, one); err != nil {
				return err
			}
		}
		if len(group) == 1 {
			return nil
		}
		return p.agree(ctx)
	})
	if err != nil {
		return err
	}
	for _, one := range group {
		one.err = nil
	}
	return nil
}

// put takes one file in.
func (p *planner) put(ctx context.Context, one *put) error {
	req := one.req
	t, err := p.track(ctx, req.GetTrackId())
	if err != nil {
		return err
	}
	if t == nil {
		t = p.tracks.add(req.GetTrackId(), &trackEntry{after: &metadatav1.TrackRecord{Track: &metadatav1.Track{
			Id: req.GetTrackId(), OwnerId: req.GetOwnerId(), AddedUnixMs: p.now.UnixMilli(),
			State: metadatav1.TrackState_TRACK_STATE_PENDING, Availability: &metadatav1.Availability{},
		}}})
	}
	r := t.after
	if r.GetTrack().GetOwnerId() != req.GetOwnerId() {
		return ErrOwner
	}
	one.track = r.GetTrack()
	duration := req.GetDurationMs()
	if r.GetMeasured() {
		duration = one.track.GetDurationMs()
	}
	same := slices.Equal(r.GetRequest(), one.request)
	if same && duration == one.track.GetDurationMs() {
		return nil
	}
	one.track.DurationMs, r.Request = duration, one.request
	if !same {
		if err := p.match(ctx, r, req); err != nil {
			return err
		}
	}
	return p.settle(ctx, t)
}

// agree brings the albums and tracks of a plan up to date with what later steps of it
// changed. What lies outside of it is marked, as ever.
func (p *planner) agree(ctx context.Context) error {
	for _, a := range p.albums.list {
		if a.before == nil || !a.same() {
			if err := p.restateAlbum(ctx, a); err != nil {
				return err
			}
		}
	}
	for _, t := range p.tracks.list {
		if err := p.dress(ctx, t.after); err != nil {
			return err
		}
	}
	return nil
}
