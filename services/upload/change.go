package upload

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/span"
)

// draft is a change that is being made.
type draft struct {
	Change
	payloads []proto.Message
}

// emit adds an event to the change.
func (d *draft) emit(m proto.Message) { d.payloads = append(d.payloads, m) }

// stage queues the job of an upload whose bytes are all staged.
func (d *draft) stage(digest string, now time.Time) {
	u := &d.Upload
	u.State, u.Stage, u.Step, u.Staged, u.SHA256, u.RunAt = Queued, StageTags, "probe", true, digest, now
	d.emit(&eventv1.UploadStaged{SizeBytes: uint64(u.Size), Sha256: digest})
}

const maxConflicts = 8

// change reads an upload, lets fn alter it and saves it, again when another change came
// between. A change of state is told by an event.
func (s *Service) change(ctx context.Context, uploadID, lease string, fn func(*draft) error) (Upload, error) {
	for range maxConflicts {
		u, err := s.Store.Get(ctx, uploadID)
		if err != nil {
			return u, err
		}
		if lease != "" && u.Lease != lease {
			return u, ErrConflict
		}
		d := &draft{Change: Change{Upload: u, Lease: lease}}
		if err := fn(d); err != nil {
			return u, err
		}
		if d.Upload.State != u.State {
			d.emit(stateChanged(u.State, d.Upload))
		}
		d.Upload.Updated = s.Now().UTC()
		if d.Events, err = s.envelopes(d.Upload, u.Revision+1, d.payloads); err != nil {
			return u, err
		}
		err = s.Store.Save(ctx, d.Change)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return u, err
		}
		d.Upload.Revision++
		if d.EndLease || lease != "" && !d.KeepLease {
			d.Upload.Lease = ""
		}
		s.changed(u, d.Upload)
		return d.Upload, nil
	}
	return Upload{}, ErrConflict
}

// changed tells who watches and who works.
func (s *Service) changed(old, now Upload) {
	s.hub.changed(now)
	s.metrics.transition(old, now, s.Now())
	if now.Stage != StageNone && (now.Lease == "" || now.Stage != old.Stage) {
		s.poke()
	}
}

// started are the events of a new upload.
func (s *Service) started(u Upload) ([]*eventv1.Envelope, error) {
	return s.envelopes(u, 1, []proto.Message{
		&eventv1.UploadStarted{Source: u.Source, FileName: u.FileName, SizeBytes: uint64(u.Size)}, stateChanged(0, u),
	})
}

func stateChanged(from State, u Upload) *eventv1.UploadStateChanged {
	return &eventv1.UploadStateChanged{From: stateName(from), To: stateName(u.State), TrackId: u.TrackID}
}

// envelopes wraps payloads about u as it is at a revision.
func (s *Service) envelopes(u Upload, revision uint64, payloads []proto.Message) ([]*eventv1.Envelope, error) {
	out := make([]*eventv1.Envelope, len(payloads))
	for i, p := range payloads {
		e, err := event.New(s.NewID(), s.Now(), "upload:"+u.ID, revision, p)
		if err != nil {
			return nil, fmt.Errorf("make event: %w", err)
		}
		e.UserId, e.TraceId = u.OwnerID, span.TraceID(span.Continue(context.Background(), u.Trace))
		out[i] = e
	}
	return out, nil
}
