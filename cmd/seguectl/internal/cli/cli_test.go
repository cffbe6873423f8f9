package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/gen/segue/upload/v1/uploadv1connect"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	warehousev1 "github.com/segue-music/segue/gen/segue/warehouse/v1"
	"github.com/segue-music/segue/gen/segue/warehouse/v1/warehousev1connect"
)

// server answers what the commands ask.
type server struct {
	metadatav1connect.UnimplementedCatalogueServiceHandler
	uploadv1connect.UnimplementedUploadServiceHandler
	userv1connect.UnimplementedAccountServiceHandler
	warehousev1connect.UnimplementedAuditServiceHandler

	mu      sync.Mutex
	filter  *warehousev1.Filter
	created *userv1.CreateAccountRequest
	updated *userv1.UpdateAccountRequest
	ingest  []*uploadv1.GetIngestStatusResponse
	asked   func() // is called when the status is asked for
}

func (s *server) ListTracks(_ context.Context, req *metadatav1.ListTracksRequest) (*metadatav1.ListTracksResponse, error) {
	credit := func(role, name string) *metadatav1.Credit {
		return &metadatav1.Credit{Role: role, Artist: &metadatav1.ArtistRef{Name: name}}
	}
	switch req.GetPageToken() {
	case "":
		return &metadatav1.ListTracksResponse{NextPageToken: "2", Tracks: []*metadatav1.Track{{
			Id: "1", Title: "One & \x1b[2JTwo", AlbumTitle: "A", DurationMs: 61_000, State: metadatav1.TrackState_TRACK_STATE_COMPLETE,
			Credits:  []*metadatav1.Credit{credit("main", "X"), credit("composer", "C"), credit("featured", "Y")},
			Features: &metadatav1.AudioFeatures{Version: 1, Bpm: proto.Float32(123.5), Key: proto.Uint32(9), Minor: true},
		}}}, nil
	case "2":
		return &metadatav1.ListTracksResponse{Tracks: []*metadatav1.Track{{Id: "2", State: metadatav1.TrackState_TRACK_STATE_PENDING}}}, nil
	}
	return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("no such page"))
}

func (s *server) GetIngestStatus(context.Context, *uploadv1.GetIngestStatusRequest) (*uploadv1.GetIngestStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked != nil {
		s.asked()
	}
	next := s.ingest[0]
	if len(s.ingest) > 1 {
		s.ingest = s.ingest[1:]
	}
	return next, nil
}

func (s *server) CreateAccount(_ context.Context, req *userv1.CreateAccountRequest) (*userv1.CreateAccountResponse, error) {
	s.created = req
	return &userv1.CreateAccountResponse{Account: &userv1.Account{Id: "u", Username: req.GetUsername(), Roles: req.GetRoles()}}, nil
}

func (s *server) ListAccounts(context.Context, *userv1.ListAccountsRequest) (*userv1.ListAccountsResponse, error) {
	return &userv1.ListAccountsResponse{Accounts: []*userv1.Account{{Id: "a", Username: "ada", Revision: 3}, {Id: "b", Username: "bob", Revision: 4}}}, nil
}

func (s *server) UpdateAccount(_ context.Context, req *userv1.UpdateAccountRequest) (*userv1.UpdateAccountResponse, error) {
	s.updated = req
	return &userv1.UpdateAccountResponse{Account: &userv1.Account{Id: req.GetId(), Disabled: req.GetDisabled()}}, nil
}

func (s *server) SearchEvents(_ context.Context, req *warehousev1.SearchEventsRequest, out *connect.ServerStream[warehousev1.SearchEventsResponse]) error {
	s.filter = req.GetFilter()
	if s.filter.GetSubject() == "user:forbidden" {
		return connect.NewError(connect.CodePermissionDenied, errors.New("only for admins"))
	}
	return out.Send(&warehousev1.SearchEventsResponse{Event: &warehousev1.StoredEvent{
		Json:     `{"type":"TrackPlayed","payload":{"@type":"x","heardMs":"5"}}`,
		Envelope: &eventv1.Envelope{Type: "TrackPlayed", Subject: "play:1", Time: timestamppb.New(time.Unix(0, 0))},
	}})
}

func (s *server) ReplayEvents(_ context.Context, req *warehousev1.ReplayEventsRequest, out *connect.ServerStream[warehousev1.ReplayEventsResponse]) error {
	if req.GetTopic() != "track-played-events" || req.Partition == nil || req.GetPartition() != 0 || req.GetOffset() != 7 || !req.GetJson() {
		return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("asked for %v", req))
	}
	at := timestamppb.New(time.Unix(0, 0))
	return out.Send(&warehousev1.ReplayEventsResponse{Events: []*warehousev1.ReplayedEvent{
		{Offset: 7, LogTime: at, Key: []byte("u"), Envelope: &eventv1.Envelope{Id: "e"}, Json: `{"id":"e"}`}, {Offset: 9, LogTime: at, Raw: []byte{0xff}},
	}})
}

// start serves s and signs in to it; it returns the configuration folder.
func start(t *testing.T, s *server) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(metadatav1connect.NewCatalogueServiceHandler(s))
	mux.Handle(uploadv1connect.NewUploadServiceHandler(s))
	mux.Handle(userv1connect.NewAccountServiceHandler(s))
	mux.Handle(warehousev1connect.NewAuditServiceHandler(s))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	d, err := home.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.SaveCredentials(home.Credentials{Server: srv.URL, User: "ada", RefreshToken: "r", AccessToken: "a", Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs a command line and returns what it printed.
func command(t *testing.T, dir, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	t.Setenv("SEGUECTL_CONFIG", dir)
	var o, e strings.Builder
	code = Run(t.Context(), "test", args, Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func TestTracks(t *testing.T) {
	dir := start(t, &server{})
	code, out, errs := command(t, dir, "", "tracks", "--json")
	want := `[
  {
    "id": "1",
    "title": "One & \u001b[2JTwo",
    "artists": [
      "X",
      "Y"
    ],
    "album": "A",
    "duration_ms": 61000,
    "state": "complete",
    "features": {
      "version": 1,
      "bpm": 123.5,
      "key": 9,
      "minor": true
    }
  },
  {
    "id": "2",
    "title": "",
    "artists": [],
    "album": "",
    "duration_ms": 0,
    "state": "pending",
    "features": null
  }
]
`
	if code != 0 || errs != "" {
		t.Fatalf("code %d: %s", code, errs)
	}
	if d := cmp.Diff(want, out); d != "" {
		t.Error(d)
	}
	_, out, _ = command(t, dir, "", "tracks")
	if d := cmp.Diff("ID  LENGTH  STATE     BPM  KEY  ARTISTS  ALBUM  TITLE\n1   1:01    complete  124  Am   X, Y     A      One &  [2JTwo\n2   0:00    pending\n", out); d != "" {
		t.Error(d)
	}
}

func TestStatus_Wait(t *testing.T) {
	s := &server{ingest: []*uploadv1.GetIngestStatusResponse{
		{Scanning: true}, {Total: 3, Queued: 2, Playable: 1}, {Total: 4, Complete: 2, Failed: 1},
	}}
	code, out, errs := command(t, start(t, s), "", "status", "--wait")
	if code != 0 || out != "2 complete, 0 playable, 0 in work, 0 waiting, 1 failed\n" {
		t.Errorf("code %d: %q, %s", code, out, errs)
	}
	if want := "0 complete, 0 playable, 0 in work, 0 waiting, looking for more\n0 complete, 1 playable, 0 in work, 2 waiting\n"; errs != want {
		t.Errorf("said %q", errs)
	}
}

func TestUser(t *testing.T) {
	s := &server{}
	dir := start(t, s)
	code, out, errs := command(t, dir, "s3cret word\n", "user", "create", "bob", "--role", "artist", "--role", "admin", "--password-stdin", "--json")
	if code != 0 || s.created.GetPassword() != "s3cret word" || !strings.Contains(out, `"username": "bob"`) || s.created.GetIdempotencyKey() == "" {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
	if d := cmp.Diff([]authv1.Role{authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_ADMIN}, s.created.GetRoles()); d != "" {
		t.Error(d)
	}
	if code, _, errs = command(t, dir, "", "user", "update", "bob", "--disable", "--plan", "free"); code != 0 {
		t.Error(errs)
	}
	if u := s.updated; u.GetId() != "b" || u.GetRevision() != 4 || !u.GetDisabled() || u.GetPlan() != "free" || u.Market != nil || u.Password != nil {
		t.Errorf("asked for %v", u)
	}
	if code, _, errs = command(t, dir, "", "user", "update", "bob", "--market", "DE"); code != 0 || s.updated.Disabled != nil {
		t.Errorf("asked for %v, %s", s.updated, errs)
	}
	if code, _, errs = command(t, dir, "", "user", "update", "eve", "--enable"); code != exitFailed || !strings.Contains(errs, `no account "eve"`) {
		t.Errorf("code %d: %s", code, errs)
	}
}

func TestEvents(t *testing.T) {
	s := &server{}
	dir := start(t, s)
	code, out, errs := command(t, dir, "", "events", "grep", "--topic", "x", "--type", "TrackPlayed", "--from", "2h", "needle")
	if code != 0 || out != "1970-01-01T00:00:00.000Z  TrackPlayed             play:1                          -                                 {\"heardMs\":\"5\"}\n" {
		t.Errorf("code %d: %q %s", code, out, errs)
	}
	if f := s.filter; f.GetContains() != "needle" || f.GetTopics()[0] != "x" || f.GetTypes()[0] != "TrackPlayed" || time.Since(f.GetFrom().AsTime()) < 2*time.Hour || f.GetTo() != nil {
		t.Errorf("filter is %v", f)
	}
	code, out, _ = command(t, dir, "", "audit", "--subject", "user:1", "--actor", "2", "--to", "2026-01-02", "--json")
	if code != 0 || !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 || s.filter.GetSubject() != "user:1" || s.filter.GetActorId() != "2" || s.filter.GetTo() == nil {
		t.Errorf("code %d: %q", code, out)
	}
	const trace = "0000000000000000000000000000000a"
	if code, _, errs := command(t, dir, "", "audit", "--trace", trace); code != 0 || s.filter.GetTraceId() != trace || s.filter.GetSubject() != "" {
		t.Errorf("code %d: %s, filter %v", code, errs, s.filter)
	}
	if code, _, errs := command(t, dir, "", "events", "grep", "--trace", "000000000000000000000A"); code != 0 || s.filter.GetTraceId() != trace {
		t.Errorf("code %d: %s, filter %v", code, errs, s.filter)
	}
	for _, args := range [][]string{{"--subject", "nonsense"}, {"--subject", "user:forbidden"}, {}} {
		if code, out, errs := command(t, dir, "", append([]string{"audit"}, args...)...); code != exitFailed || out != "" || errs == "" {
			t.Errorf("%v: code %d, %q, %q", args, code, out, errs)
		}
	}
}

func TestReplay(t *testing.T) {
	dir := start(t, &server{})
	code, out, errs := command(t, dir, "", "events", "replay", "track-played-events", "--partition", "0", "--offset", "7")
	const want = `{"topic":"track-played-events","partition":0,"offset":7,"log_time":"1970-01-01T00:00:00.000000Z","key":"u","event":{"id":"e"}}
{"topic":"track-played-events","partition":0,"offset":9,"log_time":"1970-01-01T00:00:00.000000Z","key":"","raw":"/w=="}
`
	if code != 0 || out != want || !strings.Contains(errs, "2 events") {
		t.Errorf("code %d: %q %s", code, out, errs)
	}
	if code, out, errs := command(t, dir, "", "events", "replay", "gossip"); code != exitFailed || out != "" || errs == "" {
		t.Errorf("code %d: %q %s", code, out, errs)
	}
}

func TestRun_Usage(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"nothing":             {nil, 0, "Usage: seguectl"},
		"help":                {[]string{"play", "--help"}, 0, "--sink"},
		"version":             {[]string{"--version"}, 0, "test"},
		"unknown command":     {[]string{"sing"}, exitUsage, "unexpected argument sing"},
		"unknown flag":        {[]string{"tracks", "--nonsense"}, exitUsage, "unknown flag"},
		"missing flag":        {[]string{"login"}, exitUsage, "missing flags"},
		"signed out":          {[]string{"tracks"}, exitFailed, "not signed in"},
		"no track id":         {[]string{"play", "x"}, exitFailed, `track "x"`},
		"quality":             {[]string{"play", "--quality", "128", "x"}, exitUsage, "--quality"},
		"wait for nonsense":   {[]string{"upload", "--wait=never", dir}, exitUsage, "neither playable nor complete"},
		"nothing to upload":   {[]string{"upload", "--wait", dir}, exitFailed, "no audio file"},
		"time":                {[]string{"audit", "--subject", "a:b", "--from", "yesterday"}, exitUsage, "is no time"},
		"no password":         {[]string{"login", "--server", "https://a.example", "--user", "a", "--password-stdin"}, exitFailed, "password is empty"},
		"no terminal":         {[]string{"login", "--server", "https://a.example", "--user", "a"}, exitFailed, "--password-stdin"},
		"no server":           {[]string{"login", "--server", "ftp://a", "--user", "a", "--password-stdin"}, exitFailed, "not http or https"},
		"password in the URL": {[]string{"login", "--server", "https://u:p@a", "--user", "a", "--password-stdin"}, exitFailed, "server URL"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := command(t, dir, "", tc.args...)
			if code != tc.code || !strings.Contains(out+errs, tc.says) {
				t.Errorf("code %d, want %d and %q: %s%s", code, tc.code, tc.says, out, errs)
			}
		})
	}
}

func TestRun_Unreachable(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	srv.Close()
	code, _, errs := command(t, t.TempDir(), "pw\n", "login", "--server", srv.URL, "--user", "a", "--password-stdin")
	if code != exitFailed || !strings.Contains(errs, srv.URL+" is not reachable") {
		t.Errorf("code %d: %s", code, errs)
	}
}

func TestRun_Interrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &server{ingest: []*uploadv1.GetIngestStatusResponse{{Total: 1, Queued: 1}}, asked: cancel}
	dir := start(t, s)
	var o, e strings.Builder
	code := Run(ctx, "test", []string{"--config", dir, "status", "--wait"}, Streams{Out: &o, Err: &e})
	if code != exitInterrupted || o.Len() > 0 || strings.Contains(e.String(), "seguectl:") {
		t.Errorf("code %d: %s%s", code, o.String(), e.String())
	}
}

func TestWait_Flag(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want wait
	}{
		"left out": {[]string{"f"}, ""}, "alone before a file": {[]string{"--wait", "f"}, "complete"}, "alone at the end": {[]string{"f", "--wait"}, "complete"},
		"playable": {[]string{"--wait=playable", "f"}, "playable"}, "complete": {[]string{"--wait=complete", "f"}, "complete"}, "off": {[]string{"--wait=false", "f"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var c uploadCmd
			p, err := kong.New(&c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			if c.Wait != tc.want || len(c.Files) != 1 || c.Files[0] != "f" {
				t.Errorf("wait %q, files %v", c.Wait, c.Files)
			}
		})
	}
}

func TestWhen(t *testing.T) {
	for text, want := range map[string]time.Time{
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), "2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"2026-01-02T03:04": time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local), "": {}, "soon": {},
	} {
		var w when
		if err := w.UnmarshalText([]byte(text)); (err == nil) == want.IsZero() || !w.Equal(want) {
			t.Errorf("%q is %v, %v", text, w.Time, err)
		}
	}
}

func TestPlay_Line(t *testing.T) {
	dir := t.TempDir()
	for sink, ok := range map[string]bool{"null": true, "wav:" + filepath.Join(dir, "x.wav"): true, "wav:": false, "mp3:x": false, "speaker": false, "": false} {
		c := playCmd{Sink: sink, Pace: "fast"}
		l, err := c.line(t.Context())
		if (err == nil) != ok {
			t.Errorf("%q: %v", sink, err)
		}
		if err == nil {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "x.wav")); err != nil || info.Size() != 44 {
		t.Errorf("wav: %v", err)
	}
}
