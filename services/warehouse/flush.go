package warehouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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

// upTo says where to end writing a partition whose next offset for the lake is from.
type upTo func(ctx context.Context, p place, from, next int64) (end int64, err error)

// flushAtOnce is how many partitions are written at a time.
const flushAtOnce = 4

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

// flushAll writes everything that is in this process's part of the log now.
func (s *Service) flushAll(ctx context.Context) (flushed, error) {
	return s.flush(ctx, func(_ context.Context, _ place, _, next int64) (int64, error) { return next, nil })
}

// flush writes each partition up to where end says. An error of one partition does not
// hold up the others.
func (s *Service) flush(ctx context.Context, end upTo) (flushed, error) {
	select {
	case s.flushing <- struct{}{}:
		defer func() { <-s.flushing }()
	case <-ctx.Done():
		return flushed{}, ctx.Err()
	}
	portions, err := s.portions(ctx)
	if err != nil {
		return flushed{}, err
	}
	files, err := s.deps.Store.Files(ctx)
	if err != nil {
		return flushed{}, err
	}
	var done flushed
	var mu sync.Mutex
	var errs []error
	var eg errgroup.Group
	eg.SetLimit(flushAtOnce)
	for _, p := range portions {
		eg.Go(func() error {
			one, err := s.flushPortion(ctx, p, filesOf(files, p.place), end)
			mu.Lock()
			defer mu.Unlock()
			done.files = append(done.files, one.files...)
			done.events += one.events
			if err != nil {
				errs = append(errs, fmt.Errorf("flush %s/%d: %w", p.topic, p.partition, err))
			}
			return nil
		})
	}
	_ = eg.Wait() // none returns one
	slices.Sort(done.files)
	return done, errors.Join(errs...)
}

func (s *Service) flushPortion(ctx context.Context, p *portion, files []File, upTo upTo) (done flushed, err error) {
	ctx, release, ok := p.enter(ctx)
	if !ok {
		return done, nil
	}
	defer release()
	first, next, err := s.deps.Events.Bounds(ctx, p.topic, p.partition)
	if err != nil {
		return done, err
	}
	committed, err := s.deps.Events.Committed(ctx, Group, p.topic, p.partition)
	if err != nil {
		return done, err
	}
	from := reach(files, committed)
	if from > committed {
		// Files that were durable when a crash, or an error, kept us from saying so.
		if err := p.commit(ctx, from); err != nil {
			return done, fmt.Errorf("take up files: %w", err)
		}
	}
	if first > from {
		s.metrics.lost.Add(float64(first - from))
		s.deps.Log.ErrorContext(ctx, "the log dropped records before they were in the lake", "topic", p.topic, "partition", p.partition, "from", from, "to", first)
		from = first
		if err := p.commit(ctx, from); err != nil {
			return done, err
		}
	}
	if next < from {
		return done, fmt.Errorf("%w: they reach offset %d, the log %d: is this another log?", errAhead, from, next)
	}
	if next == from {
		return done, nil
	}
	end, err := upTo(ctx, p.place, from, next)
	if err != nil {
		return done, err
	}
	for end = min(end, next); from < end; {
		at, err := s.write(ctx, p, from, end, &done)
		if err != nil || at == from {
			return done, err
		}
		from = at
	}
	return done, nil
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
// where one would grow too large. It returns where to go on: before end where another
// writer was first with a file, which then may end where ours would not.
func (s *Service) write(ctx context.Context, p *portion, first, end int64, done *flushed) (int64, error) {
	var rows []Row
	size := 0
	put := func() (elsewhere bool, err error) {
		if len(rows) == 0 {
			return false, nil
		}
		next := rows[len(rows)-1].Offset + 1
		ctx, end := s.traceFile(ctx, p.place, rows)
		defer func() { end(err) }()
		f, err := s.deps.Store.Write(ctx, first, rows)
		if err != nil {
			return false, err
		}
		if err := p.commit(ctx, f.Next); err != nil {
			return false, fmt.Errorf("commit: %w", err)
		}
		s.metrics.files.Inc()
		s.metrics.rows.Add(float64(len(rows)))
		done.files = append(done.files, f.Name)
		done.events += uint64(len(rows))
		first, rows, size = f.Next, rows[:0], 0
		return f.Next != next, nil
	}
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, first, false) {
		if err != nil {
			return first, err
		}
		if rec.Offset >= end {
			break
		}
		bytes := len(rec.Value) + len(rec.Key)
		if len(rows) > 0 && (len(rows) >= s.deps.Config.FileRows || size+bytes > s.deps.Config.FileBytes || !sameHour(rows[0].LogTime, rec.Time)) {
			if elsewhere, err := put(); err != nil || elsewhere {
				return first, err
			}
		}
		row := rowOf(rec)
		row.PayloadJSON = payloadJSON(row.Envelope.GetPayload())
		rows, size = append(rows, row), size+bytes
	}
	_, err := put()
	return first, err
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
	s.mu.Lock()
	at, ok := s.peeked[p]
	s.mu.Unlock()
	if ok && at.offset == from {
		return at.time, nil
	}
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, from, false) {
		if err != nil {
			return time.Time{}, err
		}
		s.mu.Lock()
		s.peeked[p] = peek{from, rec.Time}
		s.mu.Unlock()
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
