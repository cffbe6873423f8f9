package playback

import (
	"context"
	"errors"
	"fmt"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/stream/id"
)

// edit is something to be taken into one play. apply may run several times, on whatever
// state the play has then, so it starts from nothing each time.
type edit struct {
	userID, playID string
	// ids of the events that may be new.
	ids []string
	// apply changes p and returns the events to publish with the change, each with the
	// id by which it is known again, and nothing when there is nothing to change.
	apply func(p *Play, seen map[string]bool) []taken
}

// taken is one event that a play has taken in.
type taken struct {
	id  string // "" when it need not be known again
	env *eventv1.Envelope
}

// commitTries bounds the compare-and-set of a play against other changes of it.
const commitTries = 20

// commit makes every edit, in one transaction where the store can, and repeats those
// that met another change. Edits of one play are to be one edit.
func (s *Service) commit(ctx context.Context, edits []*edit) error {
	for try := range commitTries {
		changes, made, err := s.changes(ctx, edits, try == 0)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		var again []*edit
		var failed error
		for i, err := range s.Store.CommitPlays(ctx, changes) {
			switch {
			case errors.Is(err, ErrStale):
				s.plays.forget(&changes[i].Play)
				again = append(again, made[i])
			case err != nil:
				s.plays.forget(&changes[i].Play)
				failed = err
			default:
				s.plays.keep(&changes[i].Play)
				s.counted(changes[i])
			}
		}
		if failed != nil {
			return failed
		}
		if edits = again; len(edits) == 0 {
			return nil
		}
	}
	return ErrContention
}

// changes are what the edits come to now, with the edit of each. With remembered a play
// may be as this process left it: where it has changed since, or an event of the edit was
// taken in before, the store refuses the change.
func (s *Service) changes(ctx context.Context, edits []*edit, remembered bool) (changes []PlayChange, made []*edit, err error) {
	for _, e := range edits {
		var c *PlayChange
		if p, ok := s.plays.get(e); ok && remembered {
			if c, err = s.change(ctx, p, e.apply, nil); err != nil {
				return nil, nil, err
			}
			// An event that it refuses may be a repeat, of which only the store knows.
			if c != nil && len(c.Seen) < len(e.ids) {
				c = nil
			}
		}
		if c == nil {
			if c, err = s.read(ctx, e); err != nil {
				return nil, nil, err
			}
		}
		if c != nil {
			changes, made = append(changes, *c), append(made, e)
		}
	}
	return changes, made, nil
}

// read is what an edit comes to on the play as it is stored.
func (s *Service) read(ctx context.Context, e *edit) (*PlayChange, error) {
	p, err := s.Store.Play(ctx, e.userID, e.playID)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	if len(e.ids) > 0 {
		if seen, err = s.Store.SeenEvents(ctx, e.userID, e.ids); err != nil {
			return nil, err
		}
	}
	return s.change(ctx, p, e.apply, seen)
}

func (s *Service) change(ctx context.Context, p Play, apply func(*Play, map[string]bool) []taken, seen map[string]bool) (*PlayChange, error) {
	list := apply(&p, seen)
	if len(list) == 0 {
		return nil, nil
	}
	p.Revision++
	c := &PlayChange{}
	for _, t := range list {
		if t.id != "" {
			c.Seen = append(c.Seen, t.id)
		}
		if t.env == nil {
			continue // noted, not published
		}
		t.env.Subject, t.env.Revision = "play:"+p.ID, p.Revision
		c.Events = append(c.Events, Event{event.Playback, p.UserID, t.env})
	}
	now := s.Now().UTC()
	listen := p.settle(now, timings{s.Config.Silence, s.Config.PausedSilence, s.Config.Settle})
	if listen != nil {
		// Not of the play id alone: that is the client's choice, and another listener's
		// listen must not be taken for a repeat of this one.
		env, err := event.New(id.Derive("track played", p.UserID, p.ID).String(), now, "play:"+p.ID, p.Revision, listen)
		if err != nil {
			return nil, fmt.Errorf("derive listen: %w", err)
		}
		s.stampPlay(ctx, env, p.ID, p.UserID, p.DeviceID, p.SessionID)
		c.Events = append(c.Events, Event{event.TrackPlayed, p.UserID, env})
	}
	c.Play = p
	return c, nil
}

func (s *Service) counted(c PlayChange) {
	for _, e := range c.Events {
		if e.Topic == event.TrackPlayed {
			s.metrics.listens.Inc()
		}
	}
}
