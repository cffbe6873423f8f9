package stream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/edge/stream"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/internal/blob"
	"github.com/segue-music/segue/internal/blob/localblob"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/internal/ticket"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// playback answers an edge as the service does, for one track of a World.
type playback struct {
	playbackv1connect.UnimplementedStreamServiceHandler
	playbackv1connect.UnimplementedPlayerServiceHandler
	w *conformance.World

	mu       sync.Mutex
	verdict  string
	away     bool
	served   map[string]*playbackv1.Served
	reports  map[uint64]bool
	resolves []*playbackv1.ResolvePlayRequest
	state    *playbackv1.PlayerState
	changed  chan struct{}
}

func (p *playback) handler(opts ...connect.HandlerOption) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(playbackv1connect.NewStreamServiceHandler(p, opts...))
	mux.Handle(playbackv1connect.NewPlayerServiceHandler(p, opts...))
	return mux
}

func (p *playback) ResolvePlay(_ context.Context, req *playbackv1.ResolvePlayRequest) (*playbackv1.ResolvePlayResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resolves = append(p.resolves, req)
	if req.GetTrackId() != id.ID(p.w.Track).String() {
		return nil, fault.New(fault.NotFound, "track not found")
	}
	q := wire.Kbps96
	if req.GetQualityKbps() == 160 {
		q = wire.Kbps160
	}
	o, _ := p.w.Object(q)
	session, err := id.Parse(req.GetSessionId())
	if err != nil {
		return nil, err
	}
	wrapped, err := seal.WrapKey(p.w.Key, o.BaseKey, o.ObjectID, o.SealID, o.KID, session, rand.Reader)
	if err != nil {
		return nil, err
	}
	return &playbackv1.ResolvePlayResponse{ObjectId: hex.EncodeToString(o.ObjectID[:]), Kbps: q.Kbps(), Kid: o.KID, WrappedKey: wrapped, GainTrackQ8: -1280}, nil
}

func (p *playback) CheckFences(_ context.Context, req *playbackv1.CheckFencesRequest) (*playbackv1.CheckFencesResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return nil, fault.New(fault.Unavailable, "away")
	}
	return &playbackv1.CheckFencesResponse{Verdicts: slices.Repeat([]string{p.verdict}, len(req.GetFences()))}, nil
}

func (p *playback) ReportServed(_ context.Context, req *playbackv1.ReportServedRequest) (*playbackv1.ReportServedResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.away {
		return nil, fault.New(fault.Unavailable, "away")
	}
	if p.reports[req.GetSequence()] {
		return &playbackv1.ReportServedResponse{}, nil
	}
	p.reports[req.GetSequence()] = true
	for _, s := range req.GetServed() {
		sum := p.served[s.GetPlayId()]
		if sum == nil {
			sum = &playbackv1.Served{}
			p.served[s.GetPlayId()] = sum
		}
		sum.ServedMs += s.GetServedMs()
		sum.Bytes += s.GetBytes()
	}
	return &playbackv1.ReportServedResponse{}, nil
}

func (p *playback) WatchPlayer(ctx context.Context, req *playbackv1.WatchPlayerRequest, s *connect.ServerStream[playbackv1.WatchPlayerResponse]) error {
	since := req.GetSinceRevision()
	for {
		p.mu.Lock()
		st, changed := p.state, p.changed
		p.mu.Unlock()
		if st.GetRevision() > since {
			if err := s.Send(&playbackv1.WatchPlayerResponse{State: st}); err != nil {
				return err
			}
			since = st.GetRevision()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *playback) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// edge is a running edge with its playback.
type edge struct {
	t    *testing.T
	p    *playback
	ring *keyring.Ring
	cfg  stream.Config
	deps stream.Deps
	svc  *stream.Service
	stop func()
	web  *httptest.Server
}

func newEdge(t *testing.T, w *conformance.World) *edge {
	t.Helper()
	p := &playback{w: w, verdict: "ok", served: map[string]*playbackv1.Served{}, reports: map[uint64]bool{}, changed: make(chan struct{})}
	ring, err := keyring.Open(t.TempDir(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := localblob.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = blobs.Close() })
	for _, q := range []wire.Quality{wire.Kbps96, wire.Kbps160} {
		o, b := w.Object(q)
		if err := blobs.Put(t.Context(), "objects/"+hex.EncodeToString(o.ObjectID[:]), bytes.NewReader(b), blob.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	caller := rpctest.New(t, p.handler).As(identity.Identity{Target: "edge"})
	opts := connect.WithInterceptors(rpc.ClientInterceptor())
	e := &edge{
		t: t, p: p, ring: ring,
		cfg: stream.Config{
			Listen: "127.0.0.1:0", Origins: "https://music.example", EdgeID: "edge-1", Objects: 2, Handshakes: 1000,
			MaxConns: 1000, MaxConnsPerIP: 1000, ReportEvery: 5 * time.Millisecond, DrainTimeout: 5 * time.Second,
		},
		deps: stream.Deps{
			Streams: playbackv1connect.NewStreamServiceClient(caller, rpctest.URL, opts),
			Players: playbackv1connect.NewPlayerServiceClient(caller, rpctest.URL, opts),
			Blobs:   blobs, Ring: ring, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
		},
	}
	e.web = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.svc.Handler().ServeHTTP(w, r)
	}))
	e.web.EnableHTTP2 = true
	e.web.StartTLS()
	t.Cleanup(e.web.Close)
	e.start()
	return e
}

func (e *edge) start() {
	e.t.Helper()
	svc, err := stream.New(e.cfg, e.deps)
	if err != nil {
		e.t.Fatal(err)
	}
	e.svc = svc
	e.cfg.Listen = svc.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- svc.Run(ctx) }()
	var once sync.Once
	e.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				e.t.Error(err)
			}
		})
	}
	e.t.Cleanup(e.stop)
}

func (e *edge) ticket(expires time.Time) []byte {
	e.t.Helper()
	keys, err := e.ring.Keys(keyring.Ticket)
	if err != nil {
		e.t.Fatal(err)
	}
	return ticket.Mint(keys, ticket.Ticket{
		SessionID: e.p.w.SessionID, UserID: id.ID{8}, DeviceID: id.ID{9}, Market: "DE", Plan: "premium", MaxKbps: 320,
		ActiveEpoch: 3, SessionKeyID: 1, ExplicitAllowed: true, Expires: expires,
	})
}

func (e *edge) endpoint() client.Endpoint {
	addr, _, hashes := e.svc.Endpoint()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		e.t.Fatal(err)
	}
	return client.Endpoint{QUIC: "127.0.0.1:" + port, CertificateSHA256: hashes, Fallback: e.web.URL + "/stream/v1/play"}
}

func (e *edge) config() client.Config {
	return client.Config{
		SessionID: e.p.w.SessionID, SessionKey: e.p.w.Key, Ticket: e.ticket(time.Now().Add(10 * time.Minute)),
		Endpoints: []client.Endpoint{e.endpoint()}, HTTP: &http.Client{Transport: insecure()},
	}
}

func insecure() *http.Transport {
	return &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
}

func (e *edge) fixture() conformance.Fixture {
	foreign := e.ticket(time.Now().Add(time.Minute))
	foreign[len(foreign)-1] ^= 1
	return conformance.Fixture{
		Plain: e.p.w.Plain, Track: e.p.w.Track, SessionID: e.p.w.SessionID, SessionKey: e.p.w.Key,
		Ticket: e.ticket(time.Now().Add(10 * time.Minute)), Expired: e.ticket(time.Now().Add(-time.Second)), Foreign: foreign,
		Fence: func(code wire.Code) {
			verdict := map[wire.Code]string{0: "ok", wire.PlayingElsewhere: "elsewhere", wire.TicketInvalid: "revoked"}[code]
			if verdict == "" {
				panic(fmt.Sprintf("no verdict for %s", code))
			}
			e.p.set(func() { e.p.verdict = verdict })
		},
		Served: func(play [16]byte) (uint64, uint64) {
			e.p.mu.Lock()
			defer e.p.mu.Unlock()
			s := e.p.served[id.ID(play).String()]
			return s.GetServedMs(), s.GetBytes()
		},
	}
}
