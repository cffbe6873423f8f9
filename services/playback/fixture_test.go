package playback_test

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	uploadv1 "github.com/segue-music/segue/gen/segue/upload/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/playback/sqlite"
	"github.com/segue-music/segue/stream/id"
)

// fixture is playback on its embedded store with a real key ring and event log. The
// services beside it answer from memory.
type fixture struct {
	tb    testing.TB
	dir   string
	conf  playback.Config
	clock atomic.Int64 // Unix ms
	ring  *keyring.Ring
	log   event.Log
	// notices are those of one instance among several; nil for the only one.
	notices playback.Notices
	meta    *catalogue
	queue   *queue
	store   *sqlite.Store
	svc     *playback.Service
	srv     *rpctest.Server
}

// catalogue is the metadata service as playback sees it.
type catalogue struct {
	metadatav1connect.IngestServiceClient
	mu     sync.Mutex
	tracks map[string]*metadatav1.Track
	calls  int
	err    error
}

func (c *catalogue) LookupTracks(_ context.Context, req *metadatav1.LookupTracksRequest) (*metadatav1.LookupTracksResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	res := &metadatav1.LookupTracksResponse{}
	for _, id := range req.GetIds() {
		if t := c.tracks[id]; t != nil {
			res.Tracks = append(res.Tracks, proto.CloneOf(t))
		}
	}
	return res, c.err
}

func (c *catalogue) put(t *metadatav1.Track) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tracks[t.GetId()] = t
}

// queue is the upload service as playback sees it.
type queue struct {
	mu     sync.Mutex
	tracks []string
}

func (q *queue) Prioritise(_ context.Context, req *uploadv1.PrioritiseRequest) (*uploadv1.PrioritiseResponse, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tracks = append(q.tracks, req.GetTrackId())
	return &uploadv1.PrioritiseResponse{}, nil
}

func setUp(tb testing.TB) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, dir: tb.TempDir(), meta: &catalogue{tracks: map[string]*metadatav1.Track{}}, queue: &queue{}}
	f.clock.Store(1_750_000_000_000)
	fs := flag.NewFlagSet("", flag.PanicOnError)
	f.conf.RegisterFlags("playback.", fs)
	f.conf.Together = time.Millisecond // the same way, without the wait
	var err error
	if f.ring, err = keyring.Open(filepath.Join(f.dir, "secrets"), f.now); err != nil {
		tb.Fatal(err)
	}
	if f.log, err = locallog.Open(filepath.Join(f.dir, "log"), locallog.Options{}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.log.Close() })
	f.start()
	tb.Cleanup(func() { _ = f.store.Close() })
	return f
}

func (f *fixture) now() time.Time { return time.UnixMilli(f.clock.Load()).UTC() }

func (f *fixture) advance(d time.Duration) { f.clock.Add(d.Milliseconds()) }

func (f *fixture) start() {
	f.tb.Helper()
	var err error
	f.store, err = sqlite.Open(f.tb.Context(), filepath.Join(f.dir, "playback.db"), sqlite.Options{Now: f.now})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.svc = f.instance()
	f.srv = rpctest.New(f.tb, f.svc.Handler)
}

// instance is one process of several on the same store.
func (f *fixture) instance() *playback.Service {
	f.tb.Helper()
	svc, err := playback.New(playback.Deps{
		Config: f.conf, Store: f.store, Log: slog.New(slog.NewTextHandler(f.tb.Output(), nil)), Now: f.now,
		NewID: func() string { return id.New(f.now(), rand.Reader).String() }, Random: rand.Reader,
		Keys: f.ring, Events: f.log, Notices: f.notices, Metadata: f.meta, Upload: f.queue,
		Endpoints: func(context.Context) ([]*playbackv1.Endpoint, error) {
			return []*playbackv1.Endpoint{{Quic: ":4433", Fallback: "/stream/v1/play"}}, nil
		},
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	return svc
}

// restart is the end of the process and the start of the next.
func (f *fixture) restart() {
	f.tb.Helper()
	if err := f.store.Close(); err != nil {
		f.tb.Fatal(err)
	}
	f.start()
}

// run runs the service's background work until the test ends or the function is called.
func (f *fixture) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.svc.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				f.tb.Error(err)
			}
		})
	}
	f.tb.Cleanup(stop)
	return stop
}

// until waits for a condition.
func (f *fixture) until(what string, ok func() bool) {
	f.tb.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) { //nolint:forbidigo // until the condition holds
		if time.Now().After(end) {
			f.tb.Fatalf("no %s within 20 s", what)
		}
	}
}

// events publishes what is in the outbox and returns all of a topic.
func (f *fixture) events(topic string) (list []*eventv1.Envelope) {
	f.tb.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.store.Relay(f.log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	f.until("empty outbox", func() bool {
		n, err := f.store.Pending(ctx)
		return err == nil && n == 0
	})
	cancel()
	if err := <-done; err != nil {
		f.tb.Fatal(err)
	}
	for r, err := range f.log.Read(context.Background(), topic, 0, 0, false) {
		if err != nil {
			f.tb.Fatal(err)
		}
		env, err := event.Unmarshal(r.Value)
		if err != nil {
			f.tb.Fatal(err)
		}
		list = append(list, env)
	}
	return list
}

// payloads are the events of one type.
func payloads[T proto.Message](f *fixture, topic string) (list []T) {
	f.tb.Helper()
	for _, env := range f.events(topic) {
		m, err := env.GetPayload().UnmarshalNew()
		if err != nil {
			f.tb.Fatal(err)
		}
		if t, ok := m.(T); ok {
			list = append(list, t)
		}
	}
	return list
}

func intercept() connect.ClientOption { return connect.WithInterceptors(rpc.ClientInterceptor()) }

func uid(name string) string { return id.Derive("user", name).String() }

func ident(parts ...any) string { return id.Derive(fmt.Sprint(parts...)).String() }

func person(name string) identity.Identity {
	return identity.Identity{
		Target: "gateway", UserID: uid(name), Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, LoginID: "login-" + name,
		Market: "DE", Plan: "premium", ExplicitAllowed: true,
	}
}

func service(target string) identity.Identity { return identity.Identity{Target: target} }

func (f *fixture) sessions(who identity.Identity) playbackv1connect.SessionServiceClient {
	return playbackv1connect.NewSessionServiceClient(f.srv.As(who), rpctest.URL, intercept())
}

func (f *fixture) players(who identity.Identity) playbackv1connect.PlayerServiceClient {
	return playbackv1connect.NewPlayerServiceClient(f.srv.As(who), rpctest.URL, intercept())
}

func (f *fixture) streams() playbackv1connect.StreamServiceClient {
	return playbackv1connect.NewStreamServiceClient(f.srv.As(service("edge")), rpctest.URL, intercept())
}

func (f *fixture) keys() playbackv1connect.KeyServiceClient {
	return playbackv1connect.NewKeyServiceClient(f.srv.As(service("upload")), rpctest.URL, intercept())
}

func (f *fixture) records() playbackv1connect.RecordServiceClient {
	return playbackv1connect.NewRecordServiceClient(f.srv.As(service("collect")), rpctest.URL, intercept())
}

// device is a signed-in app.
type device struct {
	*fixture
	who     identity.Identity
	id      string
	private *ecdh.PrivateKey
	session *playbackv1.OpenSessionResponse
	ticket  ticket.Ticket
}

func (f *fixture) open(who identity.Identity, name string) *device {
	f.tb.Helper()
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		f.tb.Fatal(err)
	}
	d := &device{fixture: f, who: who, id: ident("device", name), private: private}
	d.session, err = f.sessions(who).OpenSession(f.tb.Context(), &playbackv1.OpenSessionRequest{
		DeviceId: d.id, DeviceName: name, PublicKey: private.PublicKey().Bytes(), Client: "test",
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	d.take(d.session.GetTicket())
	return d
}

// take reads a ticket as an edge does.
func (d *device) take(b []byte) {
	d.tb.Helper()
	keys, err := d.ring.Keys(keyring.Ticket)
	if err != nil {
		d.tb.Fatal(err)
	}
	if d.ticket, err = ticket.Verify(keys, b, d.now()); err != nil {
		d.tb.Fatal(err)
	}
}

// play is what an edge asks for a PLAY of the device.
func (d *device) play(trackID string, kbps uint32) *playbackv1.ResolvePlayRequest {
	t := d.ticket
	return &playbackv1.ResolvePlayRequest{
		TrackId: trackID, QualityKbps: kbps, UserId: t.UserID.String(), SessionId: t.SessionID.String(), DeviceId: t.DeviceID.String(),
		DeviceKeyHash: t.DeviceKeyHash[:], Market: t.Market, Plan: t.Plan, ActiveEpoch: t.ActiveEpoch, MaxKbps: t.MaxKbps,
		ExplicitAllowed: t.ExplicitAllowed, SessionKeyId: t.SessionKeyID,
	}
}

func (d *device) fence() string {
	d.tb.Helper()
	res, err := d.streams().CheckFences(d.tb.Context(), &playbackv1.CheckFencesRequest{Fences: []*playbackv1.Fence{{
		UserId: d.who.UserID, SessionId: d.session.GetSessionId(), DeviceId: d.id, ActiveEpoch: d.ticket.ActiveEpoch,
	}}})
	if err != nil {
		d.tb.Fatal(err)
	}
	return res.GetVerdicts()[0]
}

func objectOf(trackID string, kbps uint32) string {
	sum := sha256.Sum256(fmt.Append(nil, trackID, kbps))
	return fmt.Sprintf("%x", sum[:16])
}

func baseKey(trackID string, kbps uint32) [16]byte {
	sum := sha256.Sum256(fmt.Append(nil, "key", trackID, kbps))
	return [16]byte(sum[:16])
}

// addTrack puts a track of 200 s with renditions into metadata, and their keys into playback.
func (f *fixture) addTrack(name string, kbps ...uint32) *metadatav1.Track {
	f.tb.Helper()
	t := &metadatav1.Track{
		Id: ident("track", name), Revision: 1, DurationMs: 200_000, State: metadatav1.TrackState_TRACK_STATE_PLAYABLE,
		OwnerId: uid("owner"), Availability: &metadatav1.Availability{}, GainTrackQ8: -300, GainAlbumQ8: -200, PeakQ8: -10,
	}
	if len(kbps) == 4 {
		t.State = metadatav1.TrackState_TRACK_STATE_COMPLETE
	}
	if len(kbps) == 0 {
		t.State = metadatav1.TrackState_TRACK_STATE_PENDING
	}
	for _, k := range kbps {
		base := baseKey(t.GetId(), k)
		_, err := f.keys().PutKey(f.tb.Context(), &playbackv1.PutKeyRequest{
			ObjectId: objectOf(t.GetId(), k), TrackId: t.GetId(), Kbps: k, Kid: 1, SealId: make([]byte, 16), BaseKey: base[:],
		})
		if err != nil {
			f.tb.Fatal(err)
		}
		t.Renditions = append(t.Renditions, &metadatav1.Rendition{Kbps: k, ObjectId: objectOf(t.GetId(), k)})
	}
	f.meta.put(t)
	return t
}

func wantKind(tb testing.TB, what string, err error, want fault.Kind) {
	tb.Helper()
	if fault.KindOf(err) != want || (want == 0) != (err == nil) {
		tb.Errorf("%s: got %v, want kind %v", what, err, want)
	}
}

func (f *fixture) streamsAs(who identity.Identity) playbackv1connect.StreamServiceClient {
	return playbackv1connect.NewStreamServiceClient(f.srv.As(who), rpctest.URL, intercept())
}

func (f *fixture) keysAs(who identity.Identity) playbackv1connect.KeyServiceClient {
	return playbackv1connect.NewKeyServiceClient(f.srv.As(who), rpctest.URL, intercept())
}

func (f *fixture) recordsAs(who identity.Identity) playbackv1connect.RecordServiceClient {
	return playbackv1connect.NewRecordServiceClient(f.srv.As(who), rpctest.URL, intercept())
}
