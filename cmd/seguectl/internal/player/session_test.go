package player

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
)

// backend is the listener's player and sessions, in memory.
type backend struct {
	playbackv1connect.UnimplementedSessionServiceHandler
	playbackv1connect.UnimplementedPlayerServiceHandler
	site *site

	mu    sync.Mutex
	state *playbackv1.PlayerState
	race  int // changes by others that come between reading and writing
	log   []string
	news  chan struct{} // is closed by every change
}

func (b *backend) WatchPlayer(ctx context.Context, req *playbackv1.WatchPlayerRequest, out *connect.ServerStream[playbackv1.WatchPlayerResponse]) error {
	for sent := req.GetSinceRevision(); ; {
		b.mu.Lock()
		state, news := proto.CloneOf(b.state), b.news
		b.mu.Unlock()
		if state.GetRevision() > sent {
			sent = state.GetRevision()
			if err := out.Send(&playbackv1.WatchPlayerResponse{State: state}); err != nil {
				return err
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *backend) OpenSession(_ context.Context, req *playbackv1.OpenSessionRequest) (*playbackv1.OpenSessionResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, "open "+req.GetDeviceName())
	sealed, err := seal.SealSessionKey(req.GetPublicKey(), siteSession, siteKey)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &playbackv1.OpenSessionResponse{
		SessionId: id.ID(siteSession).String(), Ticket: []byte("ticket"), TicketExpiresUnixMs: now.Add(time.Hour).UnixMilli(),
		SealedKey: sealed, ServerUnixMs: now.UnixMilli(),
		Endpoints: []*playbackv1.Endpoint{{Quic: b.site.endpoint.QUIC, CertificateSha256: b.site.endpoint.CertificateSHA256}},
	}, nil
}

func (b *backend) GetPlayer(context.Context, *playbackv1.GetPlayerRequest) (*playbackv1.GetPlayerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &playbackv1.GetPlayerResponse{State: proto.CloneOf(b.state)}, nil
}

func (b *backend) UpdatePlayer(_ context.Context, req *playbackv1.UpdatePlayerRequest) (*playbackv1.UpdatePlayerResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.race > 0 {
		b.race--
		b.state.Revision++
	}
	if req.GetRevision() != b.state.GetRevision() {
		return nil, connect.NewError(connect.CodeAborted, errors.New("player has changed"))
	}
	active, epoch := b.state.GetActiveDeviceId(), b.state.GetActiveEpoch()
	if req.GetActivate() {
		active, epoch = req.GetDeviceId(), epoch+1
		b.log = append(b.log, "activate")
	}
	b.state = proto.CloneOf(req.GetState())
	b.state.Revision, b.state.ActiveDeviceId, b.state.ActiveEpoch = req.GetRevision()+1, active, epoch
	return &playbackv1.UpdatePlayerResponse{State: proto.CloneOf(b.state)}, nil
}

func (b *backend) change(f func(*playbackv1.PlayerState)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(b.state)
	b.state.Revision++
	close(b.news)
	b.news = make(chan struct{})
}

func (b *backend) now() *playbackv1.PlayerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return proto.CloneOf(b.state)
}

func serve(t *testing.T, b *backend) (*httptest.Server, *url.URL) {
	t.Helper()
	b.news = make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle(playbackv1connect.NewSessionServiceHandler(b))
	mux.Handle(playbackv1connect.NewPlayerServiceHandler(b))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	base, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return srv, base
}

func TestOpenSession_Plays(t *testing.T) {
	s := newSite(t)
	tr := s.add(t, 0.5, 160)
	b := &backend{site: s, state: &playbackv1.PlayerState{}}
	srv, base := serve(t, b)
	sessions := playbackv1connect.NewSessionServiceClient(srv.Client(), srv.URL)
	session, sessionID, err := OpenSession(t.Context(), Server{Base: base, Sessions: sessions, HTTP: srv.Client()},
		Device{ID: "d", Name: "name", Client: "c"}, rand.Reader, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	var sink tape
	if _, err := player(session, &sink, &events{}).Play(t.Context(), []id.ID{tr}, 0); err != nil {
		t.Fatal(err)
	}
	differ(t, sink.Bytes(), s.sound(t, tr))
	if sessionID != id.ID(siteSession).String() || !slices.Equal(b.log, []string{"open name"}) {
		t.Errorf("session %s, %v", sessionID, b.log)
	}
}

func TestEndpoints(t *testing.T) {
	base := &url.URL{Scheme: "https", Host: "music.example:8443"}
	got := endpoints(base, []*playbackv1.Endpoint{
		{Quic: ":4433", Fallback: "/stream/v1/play", CertificateSha256: [][]byte{{1}}},
		{Quic: "0.0.0.0:1", Fallback: "https://edge.example/stream/v1/play"},
		{Quic: "[::]:2"}, {Quic: "edge.example:3"}, {Quic: "nonsense", Fallback: ":"},
	})
	want := []client.Endpoint{
		{QUIC: "music.example:4433", Fallback: "https://music.example:8443/stream/v1/play", CertificateSHA256: [][]byte{{1}}},
		{QUIC: "music.example:1", Fallback: "https://edge.example/stream/v1/play"},
		{QUIC: "music.example:2"}, {QUIC: "edge.example:3"}, {},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRemote_Follows(t *testing.T) {
	const device = "this device"
	tracks := []id.ID{{1}, {2}}
	b := &backend{race: 2, state: &playbackv1.PlayerState{Revision: 7, VolumeMilli: 300, ActiveDeviceId: "other", ActiveEpoch: 4}}
	srv, _ := serve(t, b)
	players := playbackv1connect.NewPlayerServiceClient(srv.Client(), srv.URL)
	r, err := Activate(t.Context(), players, device, tracks, 1500*time.Millisecond, 160, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := b.now()
	if s.GetActiveDeviceId() != device || s.GetActiveEpoch() != 5 || s.GetPositionMs() != 1500 || !s.GetPlaying() || s.GetVolumeMilli() != 300 ||
		len(s.GetQueue()) != 2 || s.GetQueue()[1].GetTrackId() != tracks[1].String() || s.GetQualityKbps() != 160 {
		t.Errorf("state is %v", s)
	}
	b.change(func(s *playbackv1.PlayerState) { s.VolumeMilli = 100 }) // someone turns it down
	r.At(1, 0, true)
	r.Stop(t.Context(), 1, 2*time.Second)
	if s := b.now(); s.GetIndex() != 1 || s.GetPositionMs() != 2000 || s.GetPlaying() || s.GetVolumeMilli() != 100 {
		t.Errorf("state is %v", s)
	}
}

// Where another device took over, nothing of its player is changed any more.
func TestRemote_Elsewhere(t *testing.T) {
	b := &backend{state: &playbackv1.PlayerState{}}
	srv, _ := serve(t, b)
	players := playbackv1connect.NewPlayerServiceClient(srv.Client(), srv.URL)
	r, err := Activate(t.Context(), players, "this device", []id.ID{{1}}, 0, 0, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go r.Watch(t.Context(), func() { close(stopped) })
	b.change(func(s *playbackv1.PlayerState) { s.VolumeMilli = 5 }) // someone else's change is no reason to stop
	b.change(func(s *playbackv1.PlayerState) {
		s.ActiveDeviceId, s.ActiveEpoch, s.Queue, s.PositionMs = "other", s.GetActiveEpoch()+1, nil, 9
	})
	want := b.now()
	<-stopped
	r.At(0, time.Second, true)
	r.Stop(t.Context(), 0, 2*time.Second)
	if d := cmp.Diff(want.String(), b.now().String()); d != "" {
		t.Error(d)
	}
}
