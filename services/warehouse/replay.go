package warehouse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/event"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

const (
	// replayRows and replayBytes bound an answer's message.
	replayRows, replayBytes = 256, 512 << 10
	// replayWindow is how many offsets of a file are put in order at a time: its rows lie
	// by time. A file of an hour that has more is read once for each such part.
	replayWindow = 100_000
	// replaySkew is how far the log's clock may be behind that of who made an event.
	replaySkew = time.Hour
)

// ReplayEvents implements AuditService.
func (s *Service) ReplayEvents(ctx context.Context, req *warehousev1.ReplayEventsRequest, out *connect.ServerStream[warehousev1.ReplayEventsResponse]) error {
	if _, ok := event.Lookup(req.GetTopic()); !ok {
		return ErrFilter.With("there is no topic " + req.GetTopic())
	}
	// Files first: what is flushed meanwhile is still in the log.
	files, err := s.deps.Store.Files(ctx)
	if err != nil {
		return unavailable("replay events", err)
	}
	places, err := s.replayed(ctx, req, files)
	if err != nil {
		return unavailable("replay events", err)
	}
	b := &batch{out: out}
	keys := newKeyCache(s.deps.PersonalKeys)
	for _, p := range places {
		from := req.GetOffset()
		if t := req.GetFrom(); t != nil {
			// Records before that are older; what the log has dropped is asked of the lake.
			at, err := s.deps.Events.OffsetAt(ctx, p.topic, p.partition, t.AsTime().Add(-replaySkew))
			if err != nil {
				return unavailable("replay events", err)
			}
			if first, _, err := s.deps.Events.Bounds(ctx, p.topic, p.partition); err != nil {
				return unavailable("replay events", err)
			} else if at > first {
				from = max(from, at)
			}
		}
		for row, err := range s.replay(ctx, p, filesOf(files, p), from, req.GetFrom()) {
			if err != nil {
				return unavailable("replay events", err)
			}
			ev := &warehousev1.ReplayedEvent{
				Partition: row.Partition, Offset: row.Offset, LogTime: timestamppb.New(row.LogTime), Key: row.Key, Envelope: row.Envelope, Raw: row.Raw,
			}
			if req.GetJson() {
				if ev.Json, err = s.render(ctx, keys, row); err != nil {
					return unavailable("replay events", fmt.Errorf("render event: %w", err))
				}
			}
			if err := b.add(ev); err != nil {
				return err
			}
		}
	}
	return b.flush()
}

// replayed are the partitions that are asked for: those of the log, and of the lake where
// the log had more once.
func (s *Service) replayed(ctx context.Context, req *warehousev1.ReplayEventsRequest, files []File) ([]place, error) {
	if req.Partition != nil {
		return []place{{req.GetTopic(), req.GetPartition()}}, nil
	}
	places, err := s.places(ctx, []string{req.GetTopic()})
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if p := (place{f.Topic, f.Partition}); f.Topic == req.GetTopic() && !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	return places, nil
}

// replay yields the rows of a partition in order, from an offset on, up to what was there
// when it began: of the lake where it has them, else of the log.
func (s *Service) replay(ctx context.Context, p place, files []File, at int64, oldest *timestamppb.Timestamp) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		_, end, err := s.deps.Events.Bounds(ctx, p.topic, p.partition)
		if errors.Is(err, event.ErrTopic) {
			end, err = 0, nil // a log that had more partitions once
		}
		if err != nil {
			yield(nil, fmt.Errorf("bounds of %s/%d: %w", p.topic, p.partition, err))
			return
		}
		pass := func(rows iter.Seq2[*Row, error]) bool {
			for row, err := range rows {
				if err == nil && oldest != nil && row.Time().Before(oldest.AsTime()) {
					continue
				}
				if !yield(row, err) || err != nil {
					return false
				}
			}
			return true
		}
		for _, f := range files {
			if f.Next <= at {
				continue
			}
			if !pass(s.ofLog(ctx, p, at, min(f.First, end))) {
				return
			}
			if oldest == nil || !f.Newest.Before(oldest.AsTime()) {
				if !pass(s.ofFile(ctx, f, max(at, f.First))) {
					return
				}
			}
			at = f.Next
		}
		pass(s.ofLog(ctx, p, at, end))
	}
}

// ofLog are the rows that the log has of the offsets from at up to end.
func (s *Service) ofLog(ctx context.Context, p place, at, end int64) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		if at >= end {
			return
		}
		for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, at, false) {
			if err != nil {
				yield(nil, err)
				return
			}
			if rec.Offset >= end {
				return
			}
			row := rowOf(rec)
			if !yield(&row, nil) {
				return
			}
		}
	}
}

// ofFile are the rows of a file from an offset on, in order.
func (s *Service) ofFile(ctx context.Context, f File, at int64) iter.Seq2[*Row, error] {
	return func(yield func(*Row, error) bool) {
		for ; at < f.Next; at += replayWindow {
			var rows []*Row
			for row, err := range s.deps.Store.Rows(ctx, f, Hint{}) {
				if err != nil {
					yield(nil, err)
					return
				}
				if row.Offset >= at && row.Offset < at+replayWindow {
					rows = append(rows, &row)
				}
			}
			slices.SortFunc(rows, func(a, b *Row) int { return cmp.Compare(a.Offset, b.Offset) })
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}
}

// batch sends events some at a time.
type batch struct {
	out    *connect.ServerStream[warehousev1.ReplayEventsResponse]
	events []*warehousev1.ReplayedEvent
	bytes  int
}

func (b *batch) add(ev *warehousev1.ReplayedEvent) error {
	b.events = append(b.events, ev)
	if b.bytes += proto.Size(ev); len(b.events) < replayRows && b.bytes < replayBytes {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.events) == 0 {
		return nil
	}
	res := &warehousev1.ReplayEventsResponse{Events: b.events}
	b.events, b.bytes = nil, 0
	return b.out.Send(res)
}
