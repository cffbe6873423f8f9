package player

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/cmd/seguectl/internal/pcm"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/server/overhttp"
	"github.com/segue-music/segue/stream/server/overquic"
	"github.com/segue-music/segue/stream/streamtest"
	"github.com/segue-music/segue/stream/wire"
)

// site is a streaming server with tracks, on loopback, over QUIC and HTTP.
type site struct {
	endpoint client.Endpoint
	http     *http.Client

	mu     sync.Mutex
	tracks map[id.ID]*sealed
	bytes  map[[16]byte][]byte
	plays  []wire.Play
}

// sealed is a track in one quality.
type sealed struct {
	seal.Sealed
	plain  []byte
	stream *ogg.Stream
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{tracks: map[id.ID]*sealed{}, bytes: map[[16]byte][]byte{}}
	srv := server.New(server.Deps{Tickets: s, Objects: s, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := quic.ListenAddrEarly("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{overquic.ALPN},
	}, &quic.Config{Allow0RTT: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept(ctx)
			if err != nil {
				return
			}
			conns.Go(func() { overquic.Serve(ctx, srv, c) })
		}
	})
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { overhttp.Serve(srv, w, r) }))
	t.Cleanup(func() {
		web.Close()
		cancel()
		_ = ln.Close()
		conns.Wait()
	})
	sum := sha256.Sum256(der)
	s.endpoint = client.Endpoint{QUIC: ln.Addr().String(), CertificateSHA256: [][]byte{sum[:]}, Fallback: web.URL + "/stream/v1/play"}
	s.http = web.Client()
	return s
}

// add makes a track.
func (s *site) add(t *testing.T, seconds float64, kbps int) id.ID {
	t.Helper()
	tr := &sealed{plain: streamtest.Ogg(t, seconds, kbps)}
	var out bytes.Buffer
	var err error
	if tr.stream, err = ogg.Split(bytes.NewReader(tr.plain)); err != nil {
		t.Fatal(err)
	}
	if tr.Sealed, err = seal.Object(&out, bytes.NewReader(tr.plain), seal.Options{Random: rand.Reader, TempDir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	trackID := id.New(time.Now(), rand.Reader)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracks[trackID], s.bytes[tr.ObjectID] = tr, out.Bytes()
	return trackID
}

// sound is the whole track as ffmpeg decodes the file.
func (s *site) sound(t *testing.T, trackID id.ID) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-loglevel", "error", "-i", "pipe:0", "-ar", "44100", "-ac", "2", "-f", "s16le", "pipe:1")
	cmd.Stdin = bytes.NewReader(s.tracks[trackID].plain)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out[:s.tracks[trackID].TotalSamples*pcm.Rate/uint64(s.tracks[trackID].Rate)*pcm.FrameSize]
}

func (s *site) asked() []wire.Play {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]wire.Play(nil), s.plays...)
}

var (
	siteSession = [16]byte{5}
	siteKey     = [16]byte{6}
)

func (s *site) open(t *testing.T, transport string) *client.Session {
	t.Helper()
	e := s.endpoint
	if transport == client.TransportFallback {
		e.QUIC = ""
	}
	c, err := client.Open(client.Config{
		SessionID: siteSession, SessionKey: siteKey, Ticket: []byte("ticket"), Endpoints: []client.Endpoint{e}, HTTP: s.http,
		FallbackAfter: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Verify implements server.Tickets.
func (s *site) Verify([]byte) (server.Session, error) { return session{s}, nil }

// Open implements server.Objects.
func (s *site) Open(_ context.Context, object [16]byte) (server.Object, error) {
	s.mu.Lock()
	b := s.bytes[object]
	s.mu.Unlock()
	o, err := seal.OpenObject(bytes.NewReader(b), int64(len(b)))
	return heldObject{bytes.NewReader(b), o}, err
}

type heldObject struct {
	io.ReaderAt
	opened *seal.Opened
}

func (o heldObject) Opened() *seal.Opened { return o.opened }
func (heldObject) Close() error           { return nil }

type session struct{ s *site }

func (session) ID() [16]byte                { return siteSession }
func (session) Expires() time.Time          { return time.Now().Add(time.Hour) }
func (session) Fence(context.Context) error { return nil }
func (session) Served(server.Served)        {}
func (session) Watch(ctx context.Context, _ uint64, _ func(wire.State) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (v session) Resolve(_ context.Context, p *wire.Play) (server.Resolved, error) {
	v.s.mu.Lock()
	defer v.s.mu.Unlock()
	v.s.plays = append(v.s.plays, *p)
	tr := v.s.tracks[p.Track]
	if tr == nil {
		return server.Resolved{}, wire.Errorf(wire.NotFound, "no such track")
	}
	wrapped, err := seal.WrapKey(siteKey, tr.BaseKey, tr.ObjectID, tr.SealID, tr.KID, siteSession, rand.Reader)
	return server.Resolved{ObjectID: tr.ObjectID, KID: tr.KID, WrappedKey: wrapped}, err
}
