package upload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
)

// Catalogue is the part of the catalogue's client that is needed.
type Catalogue interface {
	GetTracks(context.Context, *metadatav1.GetTracksRequest) (*metadatav1.GetTracksResponse, error)
}

// Until is how far an upload has to be.
type Until string

// The ends of waiting.
const (
	UntilPlayable Until = "playable"
	UntilComplete Until = "complete"
)

const (
	// watchMost is how many uploads one stream watches.
	watchMost = 500
	// again is the pause before a stream that ended is opened anew, pollEvery the one
	// between two looks at a duplicate's track.
	again     = time.Second
	pollEvery = time.Second
	// patience is how many looks show no change before a duplicate's track is taken to stay as
	// it is: the upload that it came by may have failed on the way.
	patience = 600
)

// Wait follows the uploads of results, which it changes, until each of them is as far
// as wanted or has failed.
func (u *Uploader) Wait(ctx context.Context, results []Result, until Until) error {
	w := &waiting{u: u, until: until, byID: map[string]*Result{}}
	var ids []string
	for i := range results {
		if r := &results[i]; !r.Failed() && r.UploadID != "" {
			w.byID[r.UploadID] = r
			ids = append(ids, r.UploadID)
		}
	}
	group, gctx := errgroup.WithContext(ctx)
	for chunk := range slices.Chunk(ids, watchMost) {
		group.Go(func() error { return w.watch(gctx, chunk) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("wait for uploads: %w", err)
	}
	return w.originals(ctx)
}

type waiting struct {
	u     *Uploader
	until Until

	mu   sync.Mutex
	byID map[string]*Result
}

// open are those of ids that are still waited for.
func (w *waiting) open(ids []string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return w.byID[id].Over(w.until) })
}

// watch follows some uploads. A stream that breaks off is opened again: the server sends
// the present states first.
func (w *waiting) watch(ctx context.Context, ids []string) error {
	for {
		ids = w.open(ids)
		if len(ids) == 0 {
			return nil
		}
		err := w.stream(ctx, ids)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if hopeless(err) {
			return err
		}
		if len(w.open(ids)) == 0 {
			return nil
		}
		if err := w.u.Tus.Wait(ctx, again); err != nil {
			return err
		}
	}
}

func hopeless(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeUnimplemented:
		return err != nil
	default:
		return false
	}
}

func (w *waiting) stream(ctx context.Context, ids []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.u.Uploads.WatchUploads(ctx, &uploadv1.WatchUploadsRequest{Ids: ids})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		w.take(stream.Msg().GetUpload())
		if len(w.open(ids)) == 0 {
			return nil
		}
	}
	return stream.Err()
}

func (w *waiting) take(up *uploadv1.Upload) {
	w.mu.Lock()
	r := w.byID[up.GetId()]
	if r == nil || r.Over(w.until) { // what comes after that is not waited for
		w.mu.Unlock()
		return
	}
	before := *r
	r.State, r.TrackID, r.Reason = stateName(up.GetState()), up.GetTrackId(), up.GetReason()
	now := *r
	w.mu.Unlock()
	if now.State != before.State {
		w.u.Observer.changed(now)
	}
}

// originals waits for the tracks that duplicates are of, which may be on their way too.
func (w *waiting) originals(ctx context.Context) error {
	want := map[string]bool{}
	for _, r := range w.byID {
		if r.State == "duplicate" && r.TrackID != "" {
			want[r.TrackID] = true
		}
	}
	if w.u.Catalogue == nil {
		return nil
	}
	for left := patience; len(want) > 0 && left > 0; left-- {
		var some []string
		for id := range want {
			if some = append(some, id); len(some) == 200 {
				break
			}
		}
		res, err := w.u.Catalogue.GetTracks(ctx, &metadatav1.GetTracksRequest{Ids: some})
		if err != nil {
			return fmt.Errorf("wait for tracks: %w", err)
		}
		waitFor := map[string]bool{}
		for _, t := range res.GetTracks() {
			switch t.GetState() {
			case metadatav1.TrackState_TRACK_STATE_PENDING:
				waitFor[t.GetId()] = true
			case metadatav1.TrackState_TRACK_STATE_PLAYABLE:
				waitFor[t.GetId()] = w.until == UntilComplete
			case metadatav1.TrackState_TRACK_STATE_FAILED:
				w.fail(t)
			default: // it is as far as can be
			}
		}
		for _, id := range some {
			if !waitFor[id] {
				delete(want, id) // what is hidden is not waited for either
				left = patience
			}
		}
		if len(want) > 0 {
			if err := w.u.Tus.Wait(ctx, pollEvery); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *waiting) fail(t *metadatav1.Track) {
	for _, r := range w.byID {
		if r.TrackID == t.GetId() && r.State == "duplicate" {
			r.State, r.Reason = stateFailed, t.GetFailure()
			if r.Reason == "" {
				r.Reason = "the track could not be made into sound"
			}
			w.u.Observer.changed(*r)
		}
	}
}

// Failures joins the reasons of the results that failed; nil when none did.
func Failures(results []Result) error {
	var errs []error
	for _, r := range results {
		if r.Failed() {
			errs = append(errs, fmt.Errorf("%s: %s", r.File, r.Reason))
		}
	}
	return errors.Join(errs...)
}
