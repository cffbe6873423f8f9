package upload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/blob"
)

const (
	sweepEvery = time.Minute
	sweepBatch = 200
	// finishAfter leaves a request the time to finish its upload itself.
	finishAfter = 30 * time.Second
	// sealedAfter is long past any attempt that could still publish an object.
	sealedAfter = 2 * time.Hour
	// settleAfter is how long after a start calls of the process before may still arrive.
	settleAfter = time.Minute
	// retiredAfter lets streams of a replaced object end, and edges forget it.
	retiredAfter = 24 * time.Hour
)

// runJanitor sweeps at once and then every minute.
func (s *Service) runJanitor(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		s.sweep(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sweep does what a crash or time has left to do. Each part is safe to repeat.
func (s *Service) sweep(ctx context.Context) {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"finish uploads", s.finishCut}, {"expire uploads", s.expire}, {"drop staged bytes", s.dropStaged},
		{"sweep sealed objects", s.sweepSealed}, {"delete retired objects", s.sweepRetired},
	} {
		if err := part.do(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, part.name, "err", err)
		}
	}
}

// finishCut queues uploads whose bytes are complete but whose last request was cut off.
func (s *Service) finishCut(ctx context.Context) error {
	before := s.Now().Add(-finishAfter)
	if s.begun.After(before) {
		before = s.begun // requests of the process before have ended with it
	}
	us, err := s.Store.Stale(ctx, Receiving, false, before, sweepBatch)
	for _, u := range us {
		if u.Received == u.Size {
			err = errors.Join(err, s.finishReceiving(ctx, u.ID))
		}
	}
	return err
}

func (s *Service) expire(ctx context.Context) error {
	us, err := s.Store.Stale(ctx, Receiving, false, s.Now().Add(-s.cfg.Expire), sweepBatch)
	for _, u := range us {
		if u.Received == u.Size {
			continue
		}
		_, changeErr := s.change(ctx, u.ID, "", func(d *draft) error {
			if d.Upload.Revision != u.Revision {
				return ErrConflict // a byte came in the end
			}
			d.Upload.State, d.Upload.Reason = Failed, "The upload was not finished in time."
			d.emit(&eventv1.UploadRejected{Code: "expired", Reason: d.Upload.Reason})
			return nil
		})
		if changeErr == nil {
			changeErr = s.partial.Remove(u.ID)
		}
		err = errors.Join(err, changeErr)
	}
	return err
}

// dropStaged deletes the bytes of uploads that need them no more.
func (s *Service) dropStaged(ctx context.Context) error {
	done, err := s.Store.Stale(ctx, Duplicate, true, s.Now(), sweepBatch)
	failed, failedErr := s.Store.Stale(ctx, Failed, true, s.Now().Add(-s.cfg.KeepFailed), sweepBatch)
	done, err = append(done, failed...), errors.Join(err, failedErr)
	if !s.cfg.KeepOriginals {
		complete, completeErr := s.Store.Stale(ctx, Complete, true, s.Now(), sweepBatch)
		done, err = append(done, complete...), errors.Join(err, completeErr)
	}
	for _, u := range done {
		err = errors.Join(err, s.dropBytes(ctx, u))
	}
	return err
}

// dropBytes deletes first and notes it then: a crash between is found by the next sweep.
func (s *Service) dropBytes(ctx context.Context, u Upload) error {
	if err := s.Blob.Delete(ctx, stagingKey(u.ID)); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("drop staged bytes: %w", err)
	}
	_, err := s.change(ctx, u.ID, "", func(d *draft) error {
		if d.Upload.State != u.State {
			return ErrConflict
		}
		d.Upload.Staged = false
		return nil
	})
	return err
}

// tidy removes what a job that has ended needs no more. The sweep does what fails here.
func (s *Service) tidy(ctx context.Context, u Upload) {
	if err := os.RemoveAll(filepath.Join(s.work, u.ID)); err != nil {
		s.Log.WarnContext(ctx, "remove work folder", "upload", u.ID, "err", err)
	}
	if !u.Staged || s.cfg.KeepOriginals && u.State == Complete {
		return
	}
	if err := s.dropBytes(ctx, u); err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "drop staged bytes", "upload", u.ID, "err", err)
	}
}

// sweepSealed deletes objects that no attempt published, and adopts those that one did
// without living to say so.
func (s *Service) sweepSealed(ctx context.Context) error {
	before := s.Now().Add(-sealedAfter)
	// One process has the store: with the one before its attempts have ended.
	if s.Now().Sub(s.begun) > settleAfter && s.begun.After(before) {
		before = s.begun
	}
	objects, err := s.Store.StaleObjects(ctx, ObjectSealed, before, sweepBatch)
	for _, o := range objects {
		named, lookErr := s.namedObjects(ctx, o.TrackID)
		switch {
		case lookErr != nil:
			err = errors.Join(err, lookErr)
		case named[o.ID]:
			_, changeErr := s.change(ctx, o.UploadID, "", func(d *draft) error {
				o.State, o.At = ObjectPublished, s.Now().UTC()
				d.Objects = []Object{o}
				return nil
			})
			err = errors.Join(err, changeErr)
		default:
			err = errors.Join(err, s.dropObject(ctx, o))
		}
	}
	return err
}

func (s *Service) sweepRetired(ctx context.Context) error {
	objects, err := s.Store.StaleObjects(ctx, ObjectRetired, s.Now().Add(-retiredAfter), sweepBatch)
	for _, o := range objects {
		err = errors.Join(err, s.dropObject(ctx, o))
	}
	return err
}

func (s *Service) dropObject(ctx context.Context, o Object) error {
	if err := s.Blob.Delete(ctx, objectKey(o.ID)); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("delete object: %w", err)
	}
	return s.Store.DropObject(ctx, o.ID)
}

// sweepFolders removes local files of uploads that need them no more. It runs before any
// worker does.
func (s *Service) sweepFolders(ctx context.Context) error {
	parts, err := s.partial.List()
	if err != nil {
		return err
	}
	for _, id := range parts {
		u, getErr := s.Store.Get(ctx, id)
		if errors.Is(getErr, ErrNotFound) || getErr == nil && u.State != Receiving {
			getErr = s.partial.Remove(id)
		}
		err = errors.Join(err, getErr)
	}
	works, readErr := os.ReadDir(s.work)
	err = errors.Join(err, readErr)
	for _, w := range works {
		u, getErr := s.Store.Get(ctx, w.Name())
		if errors.Is(getErr, ErrNotFound) || getErr == nil && u.Stage == StageNone {
			getErr = os.RemoveAll(filepath.Join(s.work, w.Name()))
		}
		err = errors.Join(err, getErr)
	}
	return err
}
