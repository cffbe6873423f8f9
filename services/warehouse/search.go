package warehouse

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/event"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/internal/fault"
)

const (
	defaultLimit = 1000
	maxLimit     = 100_000
	// maxOpen bounds what a search holds of the log, in bytes.
	maxOpen = 256 << 20
)

// SearchEvents implements AuditService.
func (s *Service) SearchEvents(ctx context.Context, req *warehousev1.SearchEventsRequest, out *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
	f, err := newFilter(req.GetFilter())
	if err != nil {
		return err
	}
	limit := min(int(req.GetLimit()), maxLimit)
	if limit == 0 {
		limit = defaultLimit
	}
	for ev, err := range s.search(ctx, f) {
		if err != nil {
			return unavailable("search events", err)
		}
		if err := out.Send(&warehousev1.SearchEventsResponse{Event: ev}); err != nil {
			return err
		}
		if limit--; limit == 0 {
			return nil
		}
	}
	return nil
}

// unavailable gives an error of log or lake its kind.
func unavailable(verb string, err error) error {
	if err == nil || fault.KindOf(err) != 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return ErrUnavailable.Because(fmt.Errorf("%s: %w", verb, err))
}

// search merges lake and log: events by time, then by their place in the log, each once.
func (s *Service) search(ctx context.Context, f *filter) iter.Seq2[*warehousev1.StoredEvent, error] {
	return func(yield func(*warehousev1.StoredEvent, error) bool) {
		m := &merge{}
		defer m.stop()
		keys := newKeyCache(s.deps.PersonalKeys)
		if err := s.sources(ctx, f, keys, m); err != nil {
			yield(nil, err)
			return
		}
		heap.Init(m)
		told := once{}
		for m.Len() > 0 {
			src := (*m).sources[0]
			row := src.row
			if err := src.advance(ctx, f); err != nil {
				yield(nil, err)
				return
			}
			if src.row != nil {
				heap.Fix(m, 0)
			} else {
				heap.Pop(m)
			}
			if row == nil || told.before(row) {
				continue
			}
			ev, ok, err := s.finish(ctx, f, keys, row)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok {
				continue
			}
			if told.note(row); !yield(ev, nil) {
				return
			}
		}
	}
}

// finish renders a row that passed the cheap tests, and tries the dear one.
func (s *Service) finish(ctx context.Context, f *filter, keys event.PersonalKeys, row *Row) (*warehousev1.StoredEvent, bool, error) {
	text, err := s.render(ctx, keys, row)
	if err != nil {
		return nil, false, fmt.Errorf("render event: %w", err)
	}
	if f.contains != "" && !strings.Contains(strings.ToLower(text), f.contains) {
		return nil, false, nil
	}
	return &warehousev1.StoredEvent{Topic: row.Topic, Partition: row.Partition, Offset: row.Offset, Envelope: row.Envelope, Json: text}, true, nil
}

// once are the events that a search has told, by topic and id, which are never more than
// it may tell. There are second records of an event: a publisher that was not sure appends
// it again, and an app that had no answer sends it again, when the server's time is another.
type once map[[2]string]struct{}

func (o once) before(r *Row) bool {
	_, ok := o[[2]string{r.Topic, r.Envelope.GetId()}]
	return ok
}

func (o once) note(r *Row) {
	if r.Envelope != nil {
		o[[2]string{r.Topic, r.Envelope.GetId()}] = struct{}{}
	}
}

// sources puts into m a source for each file and each part of the log that is in no file.
// Files first: what is flushed meanwhile is still in the log.
func (s *Service) sources(ctx context.Context, f *filter, keys event.PersonalKeys, m *merge) error {
	files, err := s.deps.Store.Files(ctx)
	if err != nil {
		return err
	}
	places, err := s.places(ctx, f.topics)
	if err != nil {
		return err
	}
	for _, file := range files {
		p := place{file.Topic, file.Partition}
		if !slices.Contains(places, p) && f.wantsTopic(p.topic) {
			places = append(places, p) // of a log that had more partitions
		}
	}
	budget := maxOpen
	for _, p := range places {
		var next int64
		if _, known := event.Lookup(p.topic); known {
			if _, next, err = s.deps.Events.Bounds(ctx, p.topic, p.partition); errors.Is(err, event.ErrTopic) {
				next, err = 0, nil
			}
			if err != nil {
				return fmt.Errorf("bounds of %s/%d: %w", p.topic, p.partition, err)
			}
		}
		at := int64(0)
		for _, file := range filesOf(files, p) {
			if file.Next <= at {
				continue // another file has it all
			}
			if err := s.fromLog(ctx, f, keys, m, p, at, min(file.First, next), &budget); err != nil {
				return err
			}
			if f.mayHold(file) {
				m.add(fromFile(ctx, s.deps.Store, file, max(at, file.First), f))
			}
			at = file.Next
		}
		if err := s.fromLog(ctx, f, keys, m, p, at, next, &budget); err != nil {
			return err
		}
	}
	return nil
}

// fromLog adds the matching records from at up to end, in order of their times.
func (s *Service) fromLog(ctx context.Context, f *filter, keys event.PersonalKeys, m *merge, p place, at, end int64, budget *int) error {
	if at >= end {
		return nil
	}
	var rows []*Row
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, at, false) {
		if err != nil {
			return err
		}
		if rec.Offset >= end {
			break
		}
		row := rowOf(rec)
		if !f.matches(&row) {
			continue
		}
		if f.contains != "" {
			if _, ok, err := s.finish(ctx, f, keys, &row); err != nil || !ok {
				if err != nil {
					return err
				}
				continue
			}
		}
		if *budget -= len(rec.Value) + 512; *budget < 0 {
			return ErrTooMuch
		}
		rows = append(rows, &row)
	}
	slices.SortFunc(rows, compareRows)
	if len(rows) > 0 {
		next, stop := iter.Pull2(func(yield func(*Row, error) bool) {
			for _, r := range rows {
				if !yield(r, nil) {
					return
				}
			}
		})
		src := &source{next: next, stop: stop, oldest: rows[0].Time()}
		m.add(src)
	}
	return nil
}

func compareRows(a, b *Row) int {
	return cmp.Or(a.Time().Compare(b.Time()), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
}
