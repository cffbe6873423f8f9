package metadata

import (
	"context"
	"fmt"
)

// spreadBatch bounds the tracks of one change, and with it the wait of other writers.
const spreadBatch = 64

// Spread brings every track up to date whose album or artist is marked and has been
// quiet for the time in Config. Run calls it.
func (s *Service) Spread(ctx context.Context) error {
	for {
		marks, err := s.store.Marks(ctx, s.now(), 16)
		if err != nil {
			return fmt.Errorf("read marks: %w", err)
		}
		if len(marks) == 0 {
			return nil
		}
		for _, m := range marks {
			if err := s.spread(ctx, m); err != nil {
				return fmt.Errorf("spread %s %s: %w", m.Kind, m.ID, err)
			}
			s.spreads.Inc()
		}
	}
}

func (s *Service) spread(ctx context.Context, m Mark) error {
	members, albums := View.AlbumMemberIDs, false
	if m.Kind == KindArtist {
		members, albums = View.ArtistMemberIDs, true
	}
	err := s.eachBatch(ctx, m.ID, members, func(ctx context.Context, p *planner, trackID string) error {
		t, err := p.track(ctx, trackID)
		if err != nil || t == nil { // a member is written before its track
			return err
		}
		return p.dress(ctx, t.after)
	})
	if err != nil {
		return err
	}
	if albums {
		err := s.eachBatch(ctx, m.ID, View.ArtistAlbumIDs, func(ctx context.Context, p *planner, albumID string) error {
			a, err := p.album(ctx, albumID)
			if err != nil || a.before == nil { // an artist is linked before its album is written
				return err
			}
			return p.restateAlbum(ctx, a)
		})
		if err != nil {
			return err
		}
	}
	return s.plan(ctx, func(_ context.Context, p *planner) error {
		p.done = append(p.done, m)
		return nil
	})
}

// eachBatch runs do on each id of a list, a batch in a change.
func (s *Service) eachBatch(ctx context.Context, of string, list func(View, context.Context, string, string, int) ([]string, error),
	do func(context.Context, *planner, string) error,
) error {
	after, n := "", spreadBatch
	for n == spreadBatch {
		var last string
		err := s.plan(ctx, func(ctx context.Context, p *planner) error {
			ids, err := list(p.view, ctx, of, after, spreadBatch)
			if err != nil {
				return fmt.Errorf("read ids: %w", err)
			}
			n = len(ids)
			for _, id := range ids {
				if err := do(ctx, p, id); err != nil {
					return err
				}
				last = id
			}
			return nil
		})
		if err != nil {
			return err
		}
		after = last
	}
	return nil
}
