package charts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pause"
)

// Group is the name under which the log knows the service.
const Group = "charts"

const (
	batchMost = 500 // records of one write of the store
	again     = time.Second
)

// count counts the partitions that fall to this process, until ctx ends.
func (s *Service) count(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.Events.Divide(ctx, Group, []string{event.TrackPlayed}, s.hold); ctx.Err() == nil {
			s.metrics.failures.Inc()
			s.Log.ErrorContext(ctx, "charts are behind: the log gives out no partitions", "err", err)
			pause.For(ctx, again)
		}
	}
}

// hold counts a partition until another is to have it.
func (s *Service) hold(ctx context.Context, p event.Portion) error {
	for ctx.Err() == nil {
		// Another process may have counted on for as long as it was taken for the owner.
		if err := s.countPortion(ctx, p); ctx.Err() == nil && !errors.Is(err, ErrPosition) {
			s.metrics.failures.Inc()
			s.Log.WarnContext(ctx, "count plays", "partition", p.Partition, "err", err)
		}
		pause.For(ctx, again)
	}
	return nil // an error would end the other partitions, too
}

// countPortion counts one partition from where the store says that it continues: what was
// committed to the log only tells others how far it is.
func (s *Service) countPortion(ctx context.Context, p event.Portion) error {
	from, err := s.Store.Position(ctx, p.Partition)
	if err != nil {
		return err
	}
	b := Batch{Partition: p.Partition, From: from, Next: from}
	for {
		// What is there makes one batch; where nothing is, the first that comes is waited for.
		for _, wait := range []bool{false, true} {
			if b.Next > b.From {
				break
			}
			most := batchMost
			if wait {
				most = 1
			}
			for rec, err := range s.Events.Read(ctx, p.Topic, p.Partition, b.From, wait) {
				if err != nil {
					return err
				}
				b.Next = rec.Offset + 1
				if play, ok := s.play(ctx, rec); ok {
					b.Plays = append(b.Plays, play)
				}
				if most--; most == 0 {
					break
				}
			}
		}
		if err := s.Store.Count(ctx, b); err != nil {
			return fmt.Errorf("count: %w", err)
		}
		s.metrics.plays.Add(float64(len(b.Plays)))
		if err := p.Commit(ctx, b.Next); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		b = Batch{Partition: p.Partition, From: b.Next, Next: b.Next}
	}
}

// play is the listen in a record. The job of jobs/ reads records by the same rules.
func (s *Service) play(ctx context.Context, rec event.Record) (Play, bool) {
	unreadable := func(err error) (Play, bool) {
		s.metrics.unreadable.Inc()
		s.Log.WarnContext(ctx, "listen skipped", "partition", rec.Partition, "offset", rec.Offset, "err", err)
		return Play{}, false
	}
	env, err := event.Unmarshal(rec.Value)
	if err != nil {
		return unreadable(err)
	}
	if env.GetType() != "TrackPlayed" {
		return Play{}, false
	}
	played := new(eventv1.TrackPlayed)
	if err := env.GetPayload().UnmarshalTo(played); err != nil {
		return unreadable(err)
	}
	if !isID(played.GetTrackId()) {
		return unreadable(errors.New("no track"))
	}
	began := env.GetTime().AsTime()
	if t := played.GetStarted(); t != nil && t.CheckValid() == nil {
		began = t.AsTime()
	}
	if began.Before(s.oldest()) {
		return Play{}, false
	}
	return Play{EventID: env.GetId(), Began: began, Market: marketOf(played.GetMarket()), TrackID: played.GetTrackId()}, true
}
