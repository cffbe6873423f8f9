package upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"golang.org/x/exp/slog" // what tusd takes

	"github.com/segue-music/segue/cmd/seguectl/internal/tus"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
)

// site takes uploads in by tusd, and tells of them what script says, one stream a step.
type site struct {
	uploadv1connect.UnimplementedUploadServiceHandler
	mu      sync.Mutex
	streams int
	script  func(stream int, id string) []*uploadv1.Upload
	tracks  []metadatav1.TrackState // of the track of a duplicate, one a question
}

func (s *site) WatchUploads(_ context.Context, req *uploadv1.WatchUploadsRequest, out *connect.ServerStream[uploadv1.WatchUploadsResponse]) error {
	s.mu.Lock()
	s.streams++
	n := s.streams
	s.mu.Unlock()
	for _, id := range req.GetIds() {
		for _, u := range s.script(n, id) {
			u.Id = id
			if err := out.Send(&uploadv1.WatchUploadsResponse{Upload: u}); err != nil {
				return err
			}
		}
	}
	return nil // a stream that breaks off
}

func (s *site) GetTracks(_ context.Context, req *metadatav1.GetTracksRequest) (*metadatav1.GetTracksResponse, error) {
	state := s.tracks[0]
	s.tracks = s.tracks[1:]
	return &metadatav1.GetTracksResponse{Tracks: []*metadatav1.Track{{Id: req.GetIds()[0], State: state, Failure: "no sound in it"}}}, nil
}

func newUploader(t *testing.T, s *site) *Uploader {
	t.Helper()
	composer := handler.NewStoreComposer()
	filestore.New(t.TempDir()).UseIn(composer)
	h, err := handler.NewHandler(handler.Config{
		StoreComposer: composer, BasePath: "/files/", MaxSize: 1000, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/files/", http.StripPrefix("/files/", h))
	mux.Handle(uploadv1connect.NewUploadServiceHandler(s))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	at, err := url.Parse(srv.URL + "/files/")
	if err != nil {
		t.Fatal(err)
	}
	return &Uploader{
		Tus:       &tus.Client{HTTP: srv.Client(), Endpoint: at, Pause: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }},
		Resume:    NewResume(t.TempDir()),
		Uploads:   uploadv1connect.NewUploadServiceClient(srv.Client(), srv.URL),
		Catalogue: s,
	}
}

func write(t *testing.T, dir, name string, size int) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	for name, size := range map[string]int{
		"b.FLAC": 2, "a/x.mp3": 1, "a/cover.jpg": 1, "a/.hidden.mp3": 1, ".git/y.ogg": 1, "empty.ogg": 0, "notes.txt": 3,
	} {
		write(t, dir, name, size)
	}
	if err := os.Symlink(filepath.Join(dir, "b.FLAC"), filepath.Join(dir, "link.flac")); err != nil {
		t.Fatal(err)
	}
	got, err := Find([]string{dir, filepath.Join(dir, "notes.txt"), filepath.Join(dir, "b.FLAC")})
	if err != nil {
		t.Fatal(err)
	}
	want := []File{{filepath.Join(dir, "a/x.mp3"), 1}, {filepath.Join(dir, "b.FLAC"), 2}, {filepath.Join(dir, "notes.txt"), 3}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := Find([]string{t.TempDir()}); !errors.Is(err, ErrNoFile) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Find([]string{filepath.Join(dir, "missing")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Find([]string{"/dev/null"}); err == nil {
		t.Error("a device: no error")
	}
}

func TestUploader_SendAndWait(t *testing.T) {
	dir := t.TempDir()
	ok, big, empty := write(t, dir, "ok.flac", 900), write(t, dir, "big.flac", 1001), write(t, dir, "empty.flac", 0)
	bad := write(t, dir, "bad.flac", 5)
	up := func(state uploadv1.UploadState, track, reason string) *uploadv1.Upload {
		return &uploadv1.Upload{State: state, TrackId: track, Reason: reason}
	}
	var badID string
	s := &site{script: func(stream int, id string) []*uploadv1.Upload {
		switch {
		case id == badID && stream == 1:
			return []*uploadv1.Upload{up(uploadv1.UploadState_UPLOAD_STATE_FAILED, "", "This is no audio file.")}
		case stream == 1:
			return []*uploadv1.Upload{up(uploadv1.UploadState_UPLOAD_STATE_QUEUED, "", ""), up(uploadv1.UploadState_UPLOAD_STATE_PLAYABLE, "T", "")}
		default:
			return []*uploadv1.Upload{up(uploadv1.UploadState_UPLOAD_STATE_COMPLETE, "T", "")}
		}
	}}
	for until, wantState := range map[Until]string{UntilComplete: "complete", UntilPlayable: "playable"} {
		t.Run(string(until), func(t *testing.T) {
			s.streams = 0
			u := newUploader(t, s)
			results, err := u.Send(t.Context(), []File{{ok, 900}, {big, 1001}, {empty, 0}, {bad, 5}, {filepath.Join(dir, "gone.flac"), 1}})
			if err != nil {
				t.Fatal(err)
			}
			badID = results[3].UploadID
			if err := u.Wait(t.Context(), results, until); err != nil {
				t.Fatal(err)
			}
			states := []string{}
			for _, r := range results {
				states = append(states, fmt.Sprintf("%s %s", r.State, r.TrackID))
				if r.Failed() != (r.Reason != "") {
					t.Errorf("%s: %s", r.File, r.Reason)
				}
			}
			if d := cmp.Diff([]string{wantState + " T", "failed ", "failed ", "failed ", "failed "}, states); d != "" {
				t.Error(d)
			}
			if results[3].Reason != "This is no audio file." {
				t.Errorf("reason is %q", results[3].Reason)
			}
		})
	}
}

func TestUploader_Duplicate(t *testing.T) {
	pending, playable, complete := metadatav1.TrackState_TRACK_STATE_PENDING, metadatav1.TrackState_TRACK_STATE_PLAYABLE, metadatav1.TrackState_TRACK_STATE_COMPLETE
	for name, tc := range map[string]struct {
		until  Until
		tracks []metadatav1.TrackState
		want   string
	}{
		"complete": {UntilComplete, []metadatav1.TrackState{pending, playable, complete}, "duplicate"},
		"playable": {UntilPlayable, []metadatav1.TrackState{pending, playable}, "duplicate"},
		"failed":   {UntilPlayable, []metadatav1.TrackState{metadatav1.TrackState_TRACK_STATE_FAILED}, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &site{tracks: tc.tracks, script: func(int, string) []*uploadv1.Upload {
				return []*uploadv1.Upload{{State: uploadv1.UploadState_UPLOAD_STATE_DUPLICATE, TrackId: "T"}}
			}}
			u := newUploader(t, s)
			results := []Result{{File: "x", UploadID: "u", State: stateSent}}
			if err := u.Wait(t.Context(), results, tc.until); err != nil {
				t.Fatal(err)
			}
			if len(s.tracks) != 0 || results[0].State != tc.want {
				t.Errorf("%+v, %d questions left", results[0], len(s.tracks))
			}
		})
	}
}

// An upload that was cut off is found again, one that the server has forgotten begins anew.
func TestUploader_Remembers(t *testing.T) {
	s := &site{}
	u := newUploader(t, s)
	file := write(t, t.TempDir(), "x.flac", 500)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf(file, info)
	at, err := u.Tus.Create(t.Context(), 500, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, known := range map[string]*url.URL{"cut off": at, "forgotten": u.Tus.Endpoint.JoinPath("unknown")} {
		if err := u.Resume.keep(key, known); err != nil {
			t.Fatal(err)
		}
		results, err := u.Send(t.Context(), []File{{file, 500}})
		if err != nil || results[0].State != stateSent {
			t.Fatalf("%s: %+v, %v", name, results, err)
		}
		if same := results[0].UploadID == filepath.Base(at.Path); same != (known == at) {
			t.Errorf("%s: upload %s", name, results[0].UploadID)
		}
		if u.Resume.find(key, u.Tus.Endpoint) != nil {
			t.Errorf("%s: still remembered", name)
		}
	}
	if err := u.Resume.keep(key, &url.URL{Scheme: "https", Host: "other.example", Path: "/x"}); err != nil {
		t.Fatal(err)
	}
	if u.Resume.find(key, u.Tus.Endpoint) != nil {
		t.Error("an upload to another server is found")
	}
}
