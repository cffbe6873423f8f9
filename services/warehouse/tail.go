package warehouse

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
)

// TailEvents implements AuditService. The answer's header says that it follows: whatever
// is written after it has come is sent.
func (s *Service) TailEvents(ctx context.Context, req *warehousev1.TailEventsRequest, out *connect.ServerStream[warehousev1.TailEventsResponse]) error {
	f, err := newFilter(req.GetFilter())
	if err != nil {
		return err
	}
	places, err := s.places(ctx, f.topics)
	if err != nil {
		return unavailable("tail events", err)
	}
	from := make([]int64, len(places))
	for i, p := range places {
		if _, from[i], err = s.deps.Events.Bounds(ctx, p.topic, p.partition); err != nil {
			return unavailable("tail events", err)
		}
	}
	if err := out.Send(nil); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	found := make(chan Row) // a slow reader slows the log's readers, nobody else
	for i, p := range places {
		group.Go(func() error { return s.follow(ctx, f, p, from[i], found) })
	}
	group.Go(func() error {
		keys := newKeyCache(s.deps.PersonalKeys)
		for {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case row := <-found:
				ev, ok, err := s.finish(ctx, f, keys, &row)
				if err != nil {
					return err
				}
				if !ok {
					continue
				}
				if err := out.Send(&warehousev1.TailEventsResponse{Event: ev}); err != nil {
					return err
				}
			}
		}
	})
	return unavailable("tail events", group.Wait())
}

func (s *Service) follow(ctx context.Context, f *filter, p place, from int64, found chan<- Row) error {
	for rec, err := range s.deps.Events.Read(ctx, p.topic, p.partition, from, true) {
		if err != nil {
			return fmt.Errorf("follow %s/%d: %w", p.topic, p.partition, err)
		}
		row := rowOf(rec)
		if !f.matches(&row) {
			continue
		}
		select {
		case found <- row:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// FlushLake implements AuditService.
func (s *Service) FlushLake(ctx context.Context, _ *warehousev1.FlushLakeRequest) (*warehousev1.FlushLakeResponse, error) {
	done, err := s.flushAll(ctx)
	if err != nil {
		return nil, unavailable("flush lake", err)
	}
	return &warehousev1.FlushLakeResponse{Files: done.files, Events: done.events}, nil
}
