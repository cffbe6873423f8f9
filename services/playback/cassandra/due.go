package cassandra

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/services/playback"
)

// listDue puts a play on the list where it must be looked at earlier than the list has it.
// A time that moved on costs nothing: whoever comes to the entry moves it.
func (s *Store) listDue(c *cassandrabox.Change, row *playRow) {
	switch due := row.play.Due; {
	case due.IsZero():
		row.dueAt = 0
	case row.dueAt == 0 || due.UnixMilli() < row.dueAt:
		row.dueAt = due.UnixMilli()
		c.Put(s.due, row.dueAt, row.play.ID)
	}
}

// DuePlays implements [playback.Store]. The time at which the list has a play is its Due or
// before, so the shards are read side by side in the order of those times until no play
// that was not seen yet can be earlier than those found.
func (s *Store) DuePlays(ctx context.Context, now time.Time, limit int) ([]playback.Play, error) {
	var heads []*shardHead
	defer func() {
		for _, h := range heads {
			h.stop()
		}
	}()
	for shard := range agenda.Shards {
		h := &shardHead{}
		h.next, h.stop = iter.Pull2(s.due.Walk(ctx, shard, now.UnixMilli()))
		heads = append(heads, h)
		if err := h.step(); err != nil {
			return nil, fmt.Errorf("list due plays: %w", err)
		}
	}
	var found []playback.Play
	have := map[[2]string]bool{}
	for {
		heads = slices.DeleteFunc(heads, func(h *shardHead) bool { return !h.ok })
		if len(heads) == 0 {
			break
		}
		first := slices.MinFunc(heads, func(a, b *shardHead) int { return cmp.Compare(a.entry.At, b.entry.At) })
		if len(found) >= limit {
			if sortDue(found); found[limit-1].Due.UnixMilli() <= first.entry.At {
				break
			}
		}
		p, due, err := s.lookDue(ctx, first.entry, now)
		if err != nil {
			return nil, fmt.Errorf("list due plays: %w", err)
		}
		if id := [2]string{p.UserID, p.ID}; due && !have[id] {
			have[id] = true
			found = append(found, p)
		}
		if err := first.step(); err != nil {
			return nil, fmt.Errorf("list due plays: %w", err)
		}
	}
	sortDue(found)
	return found[:min(limit, len(found))], nil
}

func sortDue(list []playback.Play) {
	slices.SortStableFunc(list, func(a, b playback.Play) int { return a.Due.Compare(b.Due) })
}

// shardHead is the first entry of a shard that was not looked at yet.
type shardHead struct {
	entry agenda.Entry
	ok    bool
	next  func() (agenda.Entry, error, bool)
	stop  func()
}

func (h *shardHead) step() (err error) {
	h.entry, err, h.ok = h.next()
	return err
}

// lookDue looks at the play of an entry. One that says nothing of its play any more is
// dropped, one whose play is due later is moved.
func (s *Store) lookDue(ctx context.Context, e agenda.Entry, now time.Time) (p playback.Play, due bool, err error) {
	version, err := s.head(ctx, e.Key, "version")
	if err != nil {
		return p, false, err
	}
	p, at, err := s.play(ctx, e.Key, e.Item)
	switch {
	case err != nil:
		return p, false, err
	case at == e.At && p.Due.UnixMilli() > now.UnixMilli():
		return p, false, s.moveDue(ctx, e)
	case at == e.At:
		return p, true, nil
	case e.Version >= version:
		// Its change is neither made nor given up. Whoever wanted it tries again.
		return p, false, s.box.Fence(ctx, e.Key, e.Version)
	}
	return p, false, s.due.Drop(ctx, e)
}

// errMoved says that an entry speaks of its play no more.
var errMoved = errors.New("moved")

func (s *Store) moveDue(ctx context.Context, e agenda.Entry) error {
	err := s.box.Write(ctx, e.Key, func(c *cassandrabox.Change) error {
		p, at, err := s.play(ctx, e.Key, e.Item)
		if err != nil {
			return err
		}
		if at != e.At {
			return errMoved
		}
		row := playRow{play: p} // as if no list had it
		s.listDue(c, &row)
		c.Do(`UPDATE listener SET due_at = ? WHERE user_id = ? AND kind = 'play' AND id = ?`, row.dueAt, e.Key, e.Item)
		return nil
	})
	if err == nil {
		return s.due.Drop(ctx, e)
	}
	if errors.Is(err, errMoved) { // the next look drops it
		err = nil
	}
	return err
}
