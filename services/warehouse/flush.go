package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/segue-music/segue/event"
)

// peek is the time of the first record that is not in the lake yet.
type peek struct {
	offset int64
	time   time.Time
}

// flushed is what one round wrote.
type flushed struct {
	files  []string
	events uint64
}

// flushDue writes every partition's finished hours, and what would fill a file.
func (s *Service) flushDue(ctx context.Context) error {
	_, err := s.flush(ctx, func(ctx context.Context, p place, from, next int64) (int64, error) {
		if next-from >= int64(s.deps.Config.FileRows) {
			return next, nil
		}
		// Records of an hour that come after its grace make a second file of it.
		hour := s.deps.Now().Add(-s.deps.Config.HourGrace).UTC().Truncate(time.Hour)
		at, err := s.peek(ctx, p, from)
		if err != nil || !at.Before(hour) {
			return from, err
		}
		return s.deps.Events.OffsetAt(ctx, p.topic, p.partition, hour)
	})
	return err
}

// flushAll writes everything that is in the log now.
func (s *Service) flushAll(ctx context.Context) (flushed, error) {
	return s.flush(ctx, func(_ context.Context, _ place, _, next int64) (int64, error) { return next, nil })
}

// flush writes each partition up to where upTo says. An error of one partition does not
// hold up the others.
func (s *Service) flush(ctx context.Context, upTo func(ctx context.Context, p place, from, next int64) (int64, error)) (flushed, error) {
	select {
	case s.flushing <- struct{}{}:
		defer func() { <-s.flushing }()
	case <-ctx.Done():
		return flushed{}, ctx.Err()
	}
	places, err := s.places(ctx, nil)
	if err != nil {
		return flushed{}, err
	}
	files, err := s.deps.Store.Files(ctx)
	if err != nil {
		return flushed{}, err
	}
	var done flushed
	var errs []error
	for _, p := range places {
		if err := s.flushPlace(ctx, p, filesOf(files, p), upTo, &done); err != nil {
			errs = append(errs, fmt.Errorf("flush %s/%d: %w", p.topic, p.partition, err))
		}
	}
	return done, errors.Join(errs...)
}

func (s *Service) flushPlace(ctx context.Context, p place, files []File, upTo func(ctx context.Context, p place, from, next int64) (int64, error), done *flushed) error {
	first, next, err := s.deps.Events.Bounds(ctx, p.topic, p.partition)
	if err != nil {
		return err
	}
	committed, err := s.deps.Events.Committed(ctx, Group, p.topic, p.partition)
	if err != nil {
		return err
	}
	from := reach(files, committed)
	if from > committed {
		// Files that were durable when a crash, or an error, kept us from saying so.
		if err := s.deps.Events.Commit(ctx, Group, p.topic, p.partition, from); err != nil {
			return fmt.Errorf("take up files: %w", err)
		}
	}
	if first > from {
		s.metrics.lost.Add(float64(first - from))
		s.deps.Log.ErrorContext(ctx, "the log dropped records before they were in the lake", "topic", p.topic, "partition", p.partition, "from", from, "to", first)
		from = first
		if err := s.deps.Events.Commit(ctx, Group, p.topic, p.partition, from); err != nil {
			return err
		}
	}
	if next < from {
		return fmt.Errorf("%w: they reach offset %d, the log %d: is this another log?", errAhead, from, next)
	}
	if next == from {
		return nil
	}
	end, err := upTo(ctx, p, from, next)
	if err != nil || end <= from {
		return err
	}
	return s.write(ctx, p, from, min(end, next), done)
}

// reach is the offset up to which files cover what follows from without a gap.
func reach(files []File, from int64) int64 {
	for _, f := range files {
		if f.First <= from {
			from = max(from, f.Next)
		}
	}
	return from
}

// write puts the records from first up to end into files: one per hour, and a new one
// where one would grow too large.
func (s *Service) write(ctx context.Context, p place, first, end int64, done *flushed) error {
	var rows []Row
	size := 0
	put := func() (err error) {
		if len(rows) == 0 {
			return nil
		}
		ctx, end := s.traceFile(ctx, p, rows)
		defer func() { end(err) }()
		f, err := s.deps.Store.Write(ctx, first, rows)
		if err != nil {
			return err
		}
		if err := s.deps.Events.Commit(ctx, Group, p.topic, p.partition, f.Next); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		s.metrics.files.Inc()
		s.metrics.rows.Add(float64(len(rows)))
		done.files = append(done.files, f.Name)
		done.events += uint64(len(rows))
		first, rows, size = f.Next, rows[:0], 0
		return nil
	}
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, first, false) {
		if err != nil {
			return err
		}
		if rec.Offset >= end {
			break
		}
		bytes := len(rec.Value) + len(rec.Key)
		if len(rows) > 0 && (len(rows) >= s.deps.Config.FileRows || size+bytes > s.deps.Config.FileBytes || !sameHour(rows[0].LogTime, rec.Time)) {
			if err := put(); err != nil {
				return err
			}
		}
		row := rowOf(rec)
		row.PayloadJSON = payloadJSON(row.Envelope.GetPayload())
		rows, size = append(rows, row), size+bytes
	}
	return put()
}

func sameHour(a, b time.Time) bool {
	return a.UTC().Truncate(time.Hour).Equal(b.UTC().Truncate(time.Hour))
}

// rowOf decodes a record. One that is no event is kept as it is.
func rowOf(rec event.Record) Row {
	r := Row{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset, LogTime: rec.Time.UTC(), Key: rec.Key}
	e, err := event.Unmarshal(rec.Value)
	if err != nil {
		r.Raw = rec.Value
		return r
	}
	r.Envelope = e
	return r
}

// peek is when the record at from was written to the log.
func (s *Service) peek(ctx context.Context, p place, from int64) (time.Time, error) {
	if at, ok := s.peeked[p]; ok && at.offset == from {
		return at.time, nil
	}
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, from, false) {
		if err != nil {
			return time.Time{}, err
		}
		s.peeked[p] = peek{from, rec.Time}
		return rec.Time, nil
	}
	return s.deps.Now(), nil
}

// places are the partitions of topics, of all when there are none.
func (s *Service) places(ctx context.Context, topics []string) ([]place, error) {
	var all []place
	for _, t := range event.Topics() {
		if len(topics) > 0 && !slices.Contains(topics, t.Name) {
			continue
		}
		n, err := s.deps.Events.Partitions(ctx, t.Name)
		if err != nil {
			return nil, fmt.Errorf("count partitions of %s: %w", t.Name, err)
		}
		for i := range n {
			all = append(all, place{t.Name, i})
		}
	}
	return all, nil
}

// filesOf is the part of files, which are in order, that belongs to p.
func filesOf(files []File, p place) []File {
	var out []File
	for _, f := range files {
		if f.Topic == p.topic && f.Partition == p.partition {
			out = append(out, f)
		}
	}
	return out
}
