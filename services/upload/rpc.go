package upload

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/span"
)

// tusPrefix is where the bytes of resumable uploads come in.
const tusPrefix = "/upload/v1/files/"

// Handler serves the service's RPCs and the tus routes.
func (s *Service) Handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(uploadv1connect.NewUploadServiceHandler(uploadRPC{s}, opts...))
	mux.Handle(uploadv1connect.NewPrioritiseServiceHandler(prioritiseRPC{s}, opts...))
	mux.Handle(tusPrefix, s.tusHandler())
	mux.HandleFunc("POST "+bucketPath, s.serveBucket)
	return mux
}

// The service's own methods speak of domain types, so the RPCs have types of their own.
type (
	uploadRPC     struct{ s *Service }
	prioritiseRPC struct{ s *Service }
)

// ListUploads lists the caller's uploads; an admin's list has everyone's.
func (r uploadRPC) ListUploads(ctx context.Context, req *uploadv1.ListUploadsRequest) (*uploadv1.ListUploadsResponse, error) {
	q := Query{OwnerID: visibleOwner(ctx), State: req.GetState(), Size: int(req.GetPageSize()), Token: req.GetPageToken()}
	if q.Size == 0 {
		q.Size = 50
	}
	page, err := r.s.Store.List(ctx, q)
	if err != nil {
		return nil, err
	}
	res := &uploadv1.ListUploadsResponse{NextPageToken: page.Next}
	for _, u := range page.Uploads {
		res.Uploads = append(res.Uploads, r.s.message(u))
	}
	return res, nil
}

func (r uploadRPC) GetUpload(ctx context.Context, req *uploadv1.GetUploadRequest) (*uploadv1.GetUploadResponse, error) {
	u, err := r.s.visible(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	return &uploadv1.GetUploadResponse{Upload: r.s.message(u)}, nil
}

// RetryUpload begins again with the first stage: what is done already is found done.
func (r uploadRPC) RetryUpload(ctx context.Context, req *uploadv1.RetryUploadRequest) (*uploadv1.RetryUploadResponse, error) {
	u, err := r.s.visible(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	objects, err := r.s.Store.Objects(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	u, err = r.s.change(ctx, u.ID, "", func(d *draft) error {
		u := &d.Upload
		if u.State != Failed {
			return ErrNotFailed
		}
		if u.Source != SourceWatch && !u.Staged {
			return ErrSourceGone
		}
		u.State, u.Stage, u.Attempts, u.Reason, u.Step = Queued, StageTags, 0, "", ""
		u.RunAt, u.Progress, u.SHA256, u.Trace = r.s.Now().UTC(), 0, keepSHA(*u), span.Text(ctx)
		if len(published(objects)) > 0 {
			u.State = Playable
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &uploadv1.RetryUploadResponse{Upload: r.s.message(u)}, nil
}

// keepSHA forgets the hash of a watched file, which may have been mended since.
func keepSHA(u Upload) string {
	if u.Source == SourceWatch {
		return ""
	}
	return u.SHA256
}

func (r uploadRPC) GetIngestStatus(ctx context.Context, _ *uploadv1.GetIngestStatusRequest) (*uploadv1.GetIngestStatusResponse, error) {
	n, err := r.s.Store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	res := &uploadv1.GetIngestStatusResponse{
		Queued: n[Queued], Processing: n[Processing], Playable: n[Playable], Complete: n[Complete],
		Failed: n[Failed], Scanning: r.s.scan.busy.Load(),
	}
	for _, v := range n {
		res.Total += v
	}
	return res, nil
}

// Prioritise moves the job of a track to the front, to make 96 kbit/s alone first. A
// track that plays already is left alone.
func (r prioritiseRPC) Prioritise(ctx context.Context, req *uploadv1.PrioritiseRequest) (*uploadv1.PrioritiseResponse, error) {
	u, err := r.s.Store.ByTrack(ctx, req.GetTrackId())
	if errors.Is(err, ErrNotFound) {
		return nil, ErrTrackNotFound
	}
	if err != nil {
		return nil, err
	}
	if !wantsExpress(u) {
		return &uploadv1.PrioritiseResponse{}, nil
	}
	_, err = r.s.change(ctx, u.ID, "", func(d *draft) error {
		if wantsExpress(d.Upload) {
			d.Upload.Priority = Express
			// A job that waits after a failure is tried now; one in work is left alone.
			d.Upload.RunAt = r.s.Now().UTC()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &uploadv1.PrioritiseResponse{}, nil
}

func wantsExpress(u Upload) bool {
	return u.Priority < Express && (u.State == Queued || u.State == Processing) && u.Supersedes == ""
}

// visibleOwner restricts what a caller sees; empty, everything, is an admin's alone.
func visibleOwner(ctx context.Context) string {
	who := identity.From(ctx)
	if who.IsAdmin() {
		return ""
	}
	if who.UserID == "" {
		return "nobody" // is no id, so it owns nothing
	}
	return who.UserID
}

// visible reads an upload of the caller's. Someone else's is not found.
func (s *Service) visible(ctx context.Context, id string) (Upload, error) {
	u, err := s.Store.Get(ctx, id)
	if err != nil {
		return u, err
	}
	if owner := visibleOwner(ctx); owner != "" && owner != u.OwnerID {
		return Upload{}, ErrNotFound
	}
	return u, nil
}

func (s *Service) message(u Upload) *uploadv1.Upload {
	return &uploadv1.Upload{
		Id: u.ID, OwnerId: u.OwnerID, FileName: u.FileName, SizeBytes: uint64(u.Size), ReceivedBytes: uint64(u.Received),
		State: u.State, TrackId: u.TrackID, Reason: u.Reason, Step: u.Step, ProgressMilli: s.hub.liveProgress(u),
		Source: u.Source, Attempts: u.Attempts, CreatedUnixMs: u.Created.UnixMilli(), UpdatedUnixMs: u.Updated.UnixMilli(),
		SimilarTrackIds: u.Similar,
	}
}
