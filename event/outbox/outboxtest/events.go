package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
)

var errBoom = errors.New("boom")

func add(ctx context.Context, o Opened) error {
	if owner := o.Source.Owner(); owner != event.OwnerUpload {
		return fmt.Errorf("owner %q", owner)
	}
	if err := commit(ctx, o, "upload:1", 2); err != nil {
		return err
	}
	err := o.Write(ctx, func(tx Tx) error {
		return errors.Join(tx.Add(ctx, event.Upload, "upload:1", Envelope("upload:1", 3)), errBoom)
	})
	if err := errors.Join(wantErr("rolled back", err, errBoom), wantPending(ctx, o, 1)); err != nil {
		return err
	}
	// Two of one revision, and another subject.
	err = o.Write(ctx, func(tx Tx) error {
		return errors.Join(tx.Add(ctx, event.Upload, "upload:1", Envelope("upload:1", 2)), tx.Add(ctx, event.Upload, "upload:2", Envelope("upload:2", 1)))
	})
	got, err2 := drain(ctx, o)
	return errors.Join(err, err2, diff("published", []seen{{"upload:1", 2}, {"upload:1", 2}, {"upload:2", 1}}, got), wantPending(ctx, o, 0))
}

func addRefused(ctx context.Context, o Opened) error {
	foreign := o.Write(ctx, func(tx Tx) error { return tx.Add(ctx, event.Billing, "k", Envelope("x", 1)) })
	large := Envelope("upload:9", 1)
	large.UserId = string(make([]byte, event.MaxValue))
	over := o.Write(ctx, func(tx Tx) error { return tx.Add(ctx, event.Upload, "upload:9", large) })
	got, err := drain(ctx, o)
	return errors.Join(err, wantErr("another owner's topic", foreign, event.ErrNotOwner), wantErr("too large", over, event.ErrTooLarge),
		diff("published", []seen(nil), got))
}

func revisionBack(ctx context.Context, o Opened) error {
	if err := commit(ctx, o, "upload:1", 2); err != nil {
		return err
	}
	back := commit(ctx, o, "upload:1", 1)
	got, err := drain(ctx, o)
	return errors.Join(err, wantErr("a lower revision", back, outbox.ErrRevision), diff("published", []seen{{"upload:1", 2}}, got))
}

func order(ctx context.Context, o Opened) error {
	var want []seen
	for rev := 1; rev <= 2*batch+1; rev++ {
		if err := commit(ctx, o, "upload:1", rev); err != nil {
			return err
		}
		want = append(want, seen{"upload:1", uint64(rev)})
	}
	got, err := drain(ctx, o)
	return errors.Join(err, diff("published", want, got))
}

// orderUnderWay publishes while several write, each with a subject of its own.
func orderUnderWay(ctx context.Context, o Opened) error {
	const subjects, each = 6, 40
	writers, writing := errgroup.WithContext(ctx)
	for i := range subjects {
		writers.Go(func() error {
			for rev := 1; rev <= each; rev++ {
				if err := commit(writing, o, fmt.Sprint("upload:", i), rev); err != nil {
					return err
				}
			}
			return nil
		})
	}
	wrote := make(chan error, 1)
	go func() { wrote <- writers.Wait() }()
	last, total := map[string]uint64{}, 0
	for done := false; !done; {
		var got []seen
		var err error
		select {
		case err = <-wrote:
			done = true
			if err == nil {
				got, err = drain(ctx, o)
			}
		default:
			got, _, err = takeRipe(ctx, o)
		}
		if err != nil {
			return err
		}
		for _, s := range got {
			if s.Revision != last[s.Subject]+1 {
				return fmt.Errorf("%s at %d follows %d", s.Subject, s.Revision, last[s.Subject])
			}
			last[s.Subject] = s.Revision
			total++
		}
	}
	return diff("published", subjects*each, total)
}

func publishFails(ctx context.Context, o Opened) error {
	for rev := 1; rev <= 3; rev++ {
		if err := commit(ctx, o, "upload:1", rev); err != nil {
			return err
		}
	}
	_, err := o.Source.Take(ctx, batch, func(context.Context, outbox.Batch) error { return errBoom })
	if err := errors.Join(wantErr("take", err, errBoom), wantPending(ctx, o, 3)); err != nil {
		return err
	}
	got, err := drain(ctx, o)
	return errors.Join(err, diff("published", []seen{{"upload:1", 1}, {"upload:1", 2}, {"upload:1", 3}}, got))
}

func wakes(ctx context.Context, o Opened) error {
	for rev := 1; rev <= 3; rev++ {
		if err := commit(ctx, o, "upload:1", rev); err != nil {
			return err
		}
		select {
		case <-o.Source.Woken():
		case <-time.After(5 * time.Second):
			return errors.New("a commit wakes nobody")
		}
	}
	return nil
}

func backlog(ctx context.Context, o Opened) error {
	value, err := o.Source.Oldest(ctx)
	if err != nil || value != nil {
		return fmt.Errorf("the oldest of none is %q, %w", value, err)
	}
	for rev := 1; rev <= 3; rev++ {
		if err := commit(ctx, o, "upload:1", rev); err != nil {
			return err
		}
	}
	value, err = o.Source.Oldest(ctx)
	if err != nil {
		return err
	}
	e, err := event.Unmarshal(value)
	if err != nil {
		return err
	}
	if err := errors.Join(diff("oldest", uint64(1), e.GetRevision()), wantPending(ctx, o, 3)); err != nil {
		return err
	}
	_, err = drain(ctx, o)
	return errors.Join(err, wantPending(ctx, o, 0))
}
