package warehouse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/event"
)

// compactDue has the store make few files of the many of hours that are over. An hour is
// over when it ended a while ago and everything that the log has of it is in the lake. Of
// several processes the one with a topic's first partition does it.
func (s *Service) compactDue(ctx context.Context) error {
	ended := s.deps.Now().Add(-s.deps.Config.CompactAfter - time.Hour)
	written := map[string]time.Time{}
	var errs []error
	n, err := s.deps.Store.Compact(ctx, func(topic string, hour time.Time) bool {
		if hour.After(ended) || !s.compacts(topic) {
			return false
		}
		until, ok := written[topic]
		if !ok {
			var err error
			if until, err = s.writtenUntil(ctx, topic); err != nil {
				errs = append(errs, fmt.Errorf("how far %s is written: %w", topic, err))
			}
			written[topic] = until
		}
		return !hour.Add(time.Hour).After(until)
	})
	s.metrics.compacted.Add(float64(n))
	return errors.Join(append(errs, err)...)
}

func (s *Service) compacts(topic string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.dividing || s.held[place{topic, 0}] != nil
}

// writtenUntil is a time of the log before which all records of a topic are in the lake;
// the zero time where that is not known.
func (s *Service) writtenUntil(ctx context.Context, topic string) (time.Time, error) {
	until := s.deps.Now() // what comes to the log from now on is of later hours
	err := event.Uncommitted(ctx, s.deps.Events, Group, topic, func(p int32, from, _ int64) error {
		at, err := s.peek(ctx, place{topic, p}, from)
		if err == nil && at.Before(until) {
			until = at
		}
		return err
	})
	if err != nil {
		return time.Time{}, err
	}
	return until, nil
}
