package cassandra

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/services/metadata"
)

func markKey(m metadata.Mark) string { return "mark/" + string(m.Kind) + "/" + m.ID }

func (s *Store) due(ctx context.Context, key string) (version, due int64, err error) {
	_, err = s.db.Get(ctx, `SELECT version, due FROM entity WHERE key = ? AND kind = '' AND id = ''`, []any{key}, &version, &due)
	return version, due, err
}

func (s *Store) mark(ctx context.Context, m metadata.Mark) error {
	return s.setDue(ctx, m, func(now int64) (int64, bool) { return m.Due.UnixMilli(), now != m.Due.UnixMilli() })
}

func (s *Store) unmark(ctx context.Context, m metadata.Mark) error {
	return s.setDue(ctx, m, func(now int64) (int64, bool) { return 0, now == m.Due.UnixMilli() })
}

func (s *Store) setDue(ctx context.Context, m metadata.Mark, to func(now int64) (due int64, change bool)) error {
	return s.box.Write(ctx, markKey(m), func(c *cassandrabox.Change) error {
		_, now, err := s.due(ctx, c.Key)
		if err != nil {
			return err
		}
		due, change := to(now)
		if !change {
			return nil
		}
		c.Do(`UPDATE entity SET due = ? WHERE key = ? AND kind = '' AND id = ''`, due, c.Key)
		if due != 0 {
			c.Put(s.marks, due, "")
		}
		return nil
	})
}

// lookMark tells whether an entry says what its mark does. One that never will is dropped.
func (s *Store) lookMark(ctx context.Context, e agenda.Entry) (m metadata.Mark, ok bool, err error) {
	version, due, err := s.due(ctx, e.Key)
	switch {
	case err != nil:
		return m, false, err
	case due == e.At && version > e.Version:
		kind, id, _ := strings.Cut(strings.TrimPrefix(e.Key, "mark/"), "/")
		return metadata.Mark{Kind: metadata.Kind(kind), ID: id, Due: time.UnixMilli(due).UTC()}, true, nil
	case e.Version >= version:
		// Its change is neither made nor given up. Whoever wanted it tries again.
		return m, false, s.box.Fence(ctx, e.Key, e.Version)
	}
	return m, false, s.marks.Drop(ctx, e)
}

// walkMarks gives the first marks up to a time of each shard, at most limit.
func (s *Store) walkMarks(ctx context.Context, upTo int64, limit int) ([]metadata.Mark, error) {
	var mu sync.Mutex
	var all []metadata.Mark
	err := eachAtOnce(ctx, agenda.Shards, func(ctx context.Context, shard int) error {
		n, have := 0, map[string]bool{}
		for e, err := range s.marks.Walk(ctx, shard, upTo) {
			if err != nil {
				return err
			}
			m, ok, err := s.lookMark(ctx, e)
			if err != nil {
				return err
			}
			if !ok || have[e.Key] { // it was set twice for one time
				continue
			}
			have[e.Key] = true
			mu.Lock()
			all = append(all, m)
			mu.Unlock()
			if n++; n == limit {
				break
			}
		}
		return nil
	})
	slices.SortFunc(all, func(a, b metadata.Mark) int {
		return cmp.Or(a.Due.Compare(b.Due), strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.ID, b.ID))
	})
	return all[:min(limit, len(all))], err
}

// Marks implements [metadata.Store].
func (s *Store) Marks(ctx context.Context, now time.Time, limit int) ([]metadata.Mark, error) {
	list, err := s.walkMarks(ctx, now.UnixMilli(), limit)
	if err != nil {
		return nil, failed("marks", err)
	}
	return list, nil
}

// NextMark implements [metadata.Store].
func (s *Store) NextMark(ctx context.Context) (time.Time, error) {
	list, err := s.walkMarks(ctx, forever, 1)
	switch {
	case err != nil:
		return time.Time{}, failed("marks", err)
	case len(list) == 0:
		return time.Time{}, nil
	}
	return list[0].Due, nil
}

// forever is after every mark, in Unix ms: the year 33658.
const forever = 1_000_000_000_000_000
