package cassandra

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
)

// list puts a listener on a list, at the time of what is written, where the list does not
// have them at that time or earlier.
func (s *Store) list(ctx context.Context, c *cassandrabox.Change, l *agenda.List, column string, at int64) error {
	have, err := s.head(ctx, c.Key, column)
	if err != nil || have != 0 && have <= at {
		return err
	}
	c.Put(l, at, "")
	setHead(c, column, at)
	return nil
}

// Prune implements [playback.Store]. The lists have each listener once, at the time of the
// oldest of what they have, so this looks only at those of whom something may go.
func (s *Store) Prune(ctx context.Context, sessions, plays time.Time) error {
	err1 := s.prune(ctx, s.sessions, "sessions_at", sessions, "session")
	err2 := s.prune(ctx, s.plays, "plays_at", plays, "play", "seen")
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("prune: %w", err)
	}
	return nil
}

func (s *Store) prune(ctx context.Context, l *agenda.List, column string, before time.Time, kinds ...string) error {
	return eachAtOnce(agenda.Shards, func(shard int) error {
		for e, err := range l.Walk(ctx, shard, before.UnixMilli()-1) {
			if err != nil {
				return err
			}
			if err := s.pruneListener(ctx, l, e, column, before.UnixMilli(), kinds); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxPruned bounds the rows that one batch removes.
const maxPruned = 500

func (s *Store) pruneListener(ctx context.Context, l *agenda.List, e agenda.Entry, column string, before int64, kinds []string) error {
	decided := true
	for more := true; more; {
		more = false
		err := s.box.Write(ctx, e.Key, func(c *cassandrabox.Change) error {
			at, err := s.head(ctx, e.Key, column)
			switch {
			case err != nil:
				return err
			case at != e.At && e.Version < c.Version:
				return nil // it is of a time when the listener was on the list otherwise
			case at != e.At:
				// Its change is neither made nor given up: the next look knows.
				decided = false
				return s.box.Fence(ctx, e.Key, e.Version)
			}
			oldest, removed, err := s.pruneRows(ctx, c, before, kinds)
			if more = removed == maxPruned; err != nil || more {
				return err
			}
			if oldest > 0 {
				c.Put(l, oldest, "")
			}
			setHead(c, column, oldest)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if !decided {
		return nil
	}
	return l.Drop(ctx, e)
}

// pruneRows removes up to maxPruned old rows and tells the time of the oldest that stays,
// 0 where none does.
func (s *Store) pruneRows(ctx context.Context, c *cassandrabox.Change, before int64, kinds []string) (oldest int64, removed int, err error) {
	for _, kind := range kinds {
		var id string
		var touched int64
		err := s.db.Each(ctx, `SELECT id, touched FROM listener WHERE user_id = ? AND kind = ?`, []any{c.Key, kind}, []any{&id, &touched}, func() (bool, error) {
			switch {
			case touched < before:
				deleteRow(c, kind, id)
				removed++
			case oldest == 0 || touched < oldest:
				oldest = touched
			}
			return removed < maxPruned, nil
		})
		if err != nil || removed == maxPruned {
			return oldest, removed, err
		}
	}
	return oldest, removed, nil
}
