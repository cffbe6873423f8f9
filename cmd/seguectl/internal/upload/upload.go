package upload

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/cmd/seguectl/internal/tus"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
)

// Result is what became of one file.
type Result struct {
	File     string `json:"file"`
	Bytes    int64  `json:"bytes"`
	UploadID string `json:"upload_id,omitempty"`
	TrackID  string `json:"track_id,omitempty"`
	// State: sent, receiving, queued, processing, playable, complete, duplicate, failed.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// TraceID is the trace of sending it, which its way to a track goes on with.
	TraceID string `json:"trace_id,omitempty"`
}

// The states that do not come from the server.
const (
	stateSent   = "sent"
	stateFailed = "failed"
)

// Failed reports whether the file did not arrive or could not be made into a track.
func (r *Result) Failed() bool { return r.State == stateFailed }

// Over reports whether nothing more is waited for.
func (r *Result) Over(until Until) bool {
	switch r.State {
	case "complete", stateFailed, "duplicate":
		return true
	case "playable":
		return until == UntilPlayable
	}
	return false
}

// Observer is told how it goes, from several goroutines.
type Observer struct {
	// Sent is told how many bytes of all files have been sent.
	Sent func(bytes int64)
	// Changed is told of a file that has a new state.
	Changed func(Result)
}

func (o Observer) sent(n int64) {
	if o.Sent != nil {
		o.Sent(n)
	}
}

func (o Observer) changed(r Result) {
	if o.Changed != nil {
		o.Changed(r)
	}
}

// Uploader uploads to one server.
type Uploader struct {
	Tus *tus.Client
	// Resume remembers uploads that are not complete; nil remembers none.
	Resume *Resume
	// Uploads is asked for the states.
	Uploads uploadv1connect.UploadServiceClient
	// Catalogue tells how far the track of a duplicate is; nil takes it as done.
	Catalogue Catalogue
	// Parallel is how many files are sent at a time; 0 is 2.
	Parallel int
	Observer Observer
}

// Send uploads files. The results are in the order of files; one that fails does not keep
// the others from being sent. The error is that of ctx.
func (u *Uploader) Send(ctx context.Context, files []File) ([]Result, error) {
	results := make([]Result, len(files))
	progress := &total{of: make([]int64, len(files)), tell: u.Observer.sent}
	group := errgroup.Group{}
	group.SetLimit(max(u.Parallel, 2))
	if u.Parallel == 1 {
		group.SetLimit(1)
	}
	for i, f := range files {
		group.Go(func() error {
			results[i] = u.one(ctx, f, func(n int64) { progress.set(i, n) })
			u.Observer.changed(results[i])
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return results, fmt.Errorf("upload: %w", err)
	}
	return results, nil
}

func (u *Uploader) one(ctx context.Context, file File, progress func(int64)) Result {
	ctx = act.Begin(ctx)
	r := Result{File: file.Path, Bytes: file.Size, State: stateFailed, TraceID: act.Hex(act.ID(ctx))}
	at, err := u.send(ctx, file, progress)
	if at != nil {
		r.UploadID = path.Base(at.Path)
	}
	if err != nil {
		r.Reason = err.Error()
		return r
	}
	r.State = stateSent
	return r
}

func (u *Uploader) send(ctx context.Context, file File, progress func(int64)) (*url.URL, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if file.Size == 0 {
		return nil, errors.New("the file is empty")
	}
	f, err := os.Open(file.Path)
	if err != nil {
		return nil, fmt.Errorf("open: %w", unpath(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open: %w", unpath(err))
	}
	key := keyOf(file.Path, info)
	const tries = 2 // a remembered upload may be gone, a fresh one is not
	for range tries {
		at, err := u.location(ctx, key, file.Path, info.Size())
		if err != nil {
			return nil, err
		}
		err = u.Tus.Send(ctx, at, f, info.Size(), progress)
		if err == nil {
			return at, u.Resume.drop(key)
		}
		if !errors.Is(err, tus.ErrGone) {
			return at, err
		}
		if err := u.Resume.drop(key); err != nil {
			return nil, err
		}
	}
	return nil, tus.ErrGone
}

// location is the remembered URL of an upload, or that of a new one.
func (u *Uploader) location(ctx context.Context, key, name string, size int64) (*url.URL, error) {
	if at := u.Resume.find(key, u.Tus.Endpoint); at != nil {
		return at, nil
	}
	at, err := u.Tus.Create(ctx, size, map[string]string{"filename": filepath.Base(name)})
	if err != nil {
		return nil, err
	}
	return at, u.Resume.keep(key, at)
}

// unpath takes the path out of an error that is shown beside it.
func unpath(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// total adds up the progress of several files.
type total struct {
	mu   sync.Mutex
	of   []int64
	sum  int64
	tell func(int64)
}

func (t *total) set(i int, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sum += n - t.of[i]
	t.of[i] = n
	t.tell(t.sum)
}

// stateName is a state as people and scripts read it.
func stateName(s uploadv1.UploadState) string {
	switch s {
	case uploadv1.UploadState_UPLOAD_STATE_RECEIVING:
		return "receiving"
	case uploadv1.UploadState_UPLOAD_STATE_QUEUED:
		return "queued"
	case uploadv1.UploadState_UPLOAD_STATE_PROCESSING:
		return "processing"
	case uploadv1.UploadState_UPLOAD_STATE_PLAYABLE:
		return "playable"
	case uploadv1.UploadState_UPLOAD_STATE_COMPLETE:
		return "complete"
	case uploadv1.UploadState_UPLOAD_STATE_FAILED:
		return stateFailed
	case uploadv1.UploadState_UPLOAD_STATE_DUPLICATE:
		return "duplicate"
	default:
		return stateSent
	}
}
