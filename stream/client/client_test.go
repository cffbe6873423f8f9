package client_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/segue-music/segue/audio/ogg"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/server/overhttp"
	"github.com/segue-music/segue/stream/server/overquic"
	"github.com/segue-music/segue/stream/wire"
)

// encoded keeps tracks by their seconds: encoding takes longer than all tests together.
var encoded struct {
	sync.Mutex
	by map[float64]map[wire.Quality][]byte
}

func world(t *testing.T, seconds float64) *conformance.World {
	t.Helper()
	encoded.Lock()
	defer encoded.Unlock()
	if encoded.by == nil {
		encoded.by = map[float64]map[wire.Quality][]byte{}
	}
	if encoded.by[seconds] == nil {
		encoded.by[seconds] = conformance.NewWorld(t, seconds).Plain
	}
	return conformance.WorldOf(t, encoded.by[seconds])
}

// site is a server on loopback with QUIC and the fallback.
type site struct {
	w        *conformance.World
	mu       sync.Mutex
	srv      *server.Server
	endpoint client.Endpoint
	stop     func()
	tls      *tls.Config
	token    quic.TokenGeneratorKey
}

func newSite(t *testing.T, w *conformance.World) *site {
	t.Helper()
	cert, hash := certificate(t)
	s := &site{w: w, tls: &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{overquic.ALPN}}}
	s.tls.SetSessionTicketKeys([][32]byte{{1}})
	s.endpoint.CertificateSHA256 = [][]byte{hash}
	s.start(t, "127.0.0.1:0")
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		overhttp.Serve(s.server(), rw, r)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	s.endpoint.Fallback = web.URL + "/stream/v1/play"
	return s
}

func (s *site) server() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// start listens; stop ends that, and start may be called again.
func (s *site) start(t *testing.T, addr string) {
	t.Helper()
	srv := server.New(server.Deps{Tickets: s.w, Objects: s.w, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	s.mu.Lock()
	s.srv = srv
	s.mu.Unlock()
	udp, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	sock, err := net.ListenUDP("udp", udp)
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: sock, TokenGeneratorKey: &s.token}
	ln, err := tr.ListenEarly(s.tls, &quic.Config{Allow0RTT: true})
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
			conns.Go(func() {
				overquic.Serve(ctx, srv, c)
				_ = overquic.Close(c, wire.Draining)
			})
		}
	})
	s.endpoint.QUIC = sock.LocalAddr().String()
	var once sync.Once
	s.stop = func() {
		once.Do(func() {
			cancel()
			conns.Wait()
			_ = tr.Close()
			_ = sock.Close()
		})
	}
	t.Cleanup(s.stop)
}

func (s *site) config() client.Config {
	return client.Config{
		SessionID: s.w.SessionID, SessionKey: s.w.Key, Ticket: s.w.Ticket(), Endpoints: []client.Endpoint{s.endpoint},
		HTTP: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}},
	}
}

func open(t *testing.T, cfg client.Config) *client.Session {
	t.Helper()
	s, err := client.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func play(t *testing.T, s *client.Session, req client.Request) *client.Stream {
	t.Helper()
	st, err := s.Play(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	return st
}

// read takes the whole stream and checks that positions join.
func read(t *testing.T, st *client.Stream) []byte {
	t.Helper()
	return readFrom(t, st, st.Head().FirstSample)
}

func readFrom(t *testing.T, st *client.Stream, at uint64) []byte {
	t.Helper()
	var out []byte
	for {
		r, err := st.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.First != at || r.End < r.First {
			t.Fatalf("record %d is %d to %d, expected to begin at %d", r.Number, r.First, r.End, at)
		}
		at = r.End
		out = append(out, r.Pages...)
	}
}

func TestPlay_Whole(t *testing.T) {
	w := world(t, 46)
	for _, transport := range []string{client.TransportQUIC, client.TransportFallback} {
		t.Run(transport, func(t *testing.T) {
			cfg := newSite(t, w).config()
			if transport == client.TransportFallback {
				cfg.Endpoints[0].QUIC = ""
			}
			st := play(t, open(t, cfg), client.Request{Track: w.Track, Quality: wire.Kbps160})
			got := append(bytes.Clone(st.Setup()), read(t, st)...)
			if !bytes.Equal(got, w.Plain[wire.Kbps160]) {
				t.Error("what came is not the Ogg file")
			}
			stats := st.Stats()
			if stats.Transport != transport || stats.Start <= 0 || stats.Bytes < uint64(len(got)-len(st.Setup())) {
				t.Errorf("stats are %+v", stats)
			}
			if st.Index() == nil {
				t.Error("no index")
			}
		})
	}
}

func TestPlay_Seek(t *testing.T) {
	w := world(t, 26)
	s := open(t, newSite(t, w).config())
	o, err := ogg.Split(bytes.NewReader(w.Plain[wire.Kbps96]))
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Duration{0, 7*time.Second + 123*time.Millisecond, 25 * time.Second} {
		st := play(t, s, client.Request{Track: w.Track, Quality: wire.Kbps96, From: from, Until: from + time.Second})
		target := uint64(from.Milliseconds()) * 44100 / 1000
		rec := o.RecordAt(target)
		if st.Head().FirstSample != o.Records[rec].JoinSample || st.Skip() != target-o.Records[rec].JoinSample {
			t.Errorf("from %s: begins at %d, skips %d", from, st.Head().FirstSample, st.Skip())
		}
		if len(read(t, st)) == 0 {
			t.Errorf("from %s: nothing came", from)
		}
	}
}

func TestPlay_EarlyData(t *testing.T) {
	w := world(t, 26)
	site := newSite(t, w)
	cfg := site.config()
	cfg.Resumption = client.NewResumption()
	first := open(t, cfg)
	read(t, play(t, first, client.Request{Track: w.Track, Until: time.Second}))

	// A new process of the server: 0-RTT survives it, as the keys do.
	site.stop()
	site.start(t, site.endpoint.QUIC)
	second := open(t, cfg)
	id := [16]byte{42}
	st := play(t, second, client.Request{Track: w.Track, PlayID: id, Until: 3 * time.Second})
	read(t, st)
	if got := st.Stats().Transport; got != client.TransportQUIC0RTT {
		t.Fatalf("transport is %s", got)
	}
	// The same play in early data again, as a replay would have it: it is refused, and
	// the client sends it after the handshake.
	third := open(t, cfg)
	st = play(t, third, client.Request{Track: w.Track, PlayID: id, Until: 3 * time.Second})
	if len(read(t, st)) == 0 {
		t.Error("nothing came")
	}

	// A server with other keys rejects the early data; the client begins again.
	site.stop()
	site.tls.SetSessionTicketKeys([][32]byte{{2}})
	site.start(t, site.endpoint.QUIC)
	fourth := open(t, cfg)
	st = play(t, fourth, client.Request{Track: w.Track, Until: time.Second})
	read(t, st)
	if got := st.Stats().Transport; got != client.TransportQUIC {
		t.Errorf("transport is %s", got)
	}
}

func TestPlay_FallbackWins(t *testing.T) {
	w := world(t, 26)
	site := newSite(t, w)
	hole, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hole.Close() })
	cfg := site.config()
	cfg.Endpoints[0].QUIC = hole.LocalAddr().String() // takes everything, says nothing
	cfg.FallbackAfter = 10 * time.Millisecond
	st := play(t, open(t, cfg), client.Request{Track: w.Track, Until: time.Second})
	read(t, st)
	if got := st.Stats().Transport; got != client.TransportFallback {
		t.Errorf("transport is %s", got)
	}
}

func TestPlay_Pinned(t *testing.T) {
	w := world(t, 26)
	cfg := newSite(t, w).config()
	cfg.Endpoints[0].Fallback = ""
	cfg.Endpoints[0].CertificateSHA256 = [][]byte{make([]byte, 32)}
	if _, err := open(t, cfg).Play(t.Context(), client.Request{Track: w.Track}); err == nil {
		t.Error("another certificate was accepted")
	}
}

func TestPlay_Ticket(t *testing.T) {
	w := world(t, 26)
	cfg := newSite(t, w).config()
	cfg.Ticket = []byte("expired")
	if _, err := open(t, cfg).Play(t.Context(), client.Request{Track: w.Track}); !errors.Is(err, &wire.Error{Code: wire.TicketExpired}) {
		t.Errorf("without a way to renew: %v", err)
	}
	renewed := 0
	cfg.RenewTicket = func(context.Context) ([]byte, time.Time, error) {
		renewed++
		return w.Ticket(), time.Now().Add(10 * time.Minute), nil
	}
	s := open(t, cfg)
	for range 2 {
		read(t, play(t, s, client.Request{Track: w.Track, Until: time.Second}))
	}
	if renewed != 1 {
		t.Errorf("renewed %d times", renewed)
	}
	cfg.Ticket = []byte("foreign")
	if _, err := open(t, cfg).Play(t.Context(), client.Request{Track: w.Track}); !errors.Is(err, &wire.Error{Code: wire.TicketInvalid}) {
		t.Errorf("invalid ticket: %v", err)
	}
}

// A track that was sealed anew has another key than the one the client keeps.
func TestPlay_SealedAnew(t *testing.T) {
	w := world(t, 26)
	s := open(t, newSite(t, w).config())
	req := client.Request{Track: w.Track, Quality: wire.Kbps96, Until: time.Second}
	a := play(t, s, req)
	read(t, a)
	w.Seal(t, wire.Kbps96)
	b := play(t, s, req)
	read(t, b)
	if a.Head().ObjectID == b.Head().ObjectID {
		t.Error("same object")
	}
}

func TestPlay_Fenced(t *testing.T) {
	w := world(t, 46)
	s := open(t, newSite(t, w).config())
	st := play(t, s, client.Request{Track: w.Track, Quality: wire.Kbps96})
	if _, err := st.Next(); err != nil {
		t.Fatal(err)
	}
	w.SetFence(wire.PlayingElsewhere)
	for {
		_, err := st.Next()
		if err == nil {
			continue
		}
		if !errors.Is(err, &wire.Error{Code: wire.PlayingElsewhere}) {
			t.Errorf("ended with %v", err)
		}
		return
	}
}

// A server that stops in the middle is left, and the play goes on without a gap.
func TestPlay_Resumes(t *testing.T) {
	w := world(t, 46)
	site := newSite(t, w)
	st := play(t, open(t, site.config()), client.Request{Track: w.Track, Quality: wire.Kbps160})
	var got []byte
	for i := range 20 {
		r, err := st.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Pages...)
		if i == 10 {
			site.server().Drain()
			site.stop()
			site.start(t, site.endpoint.QUIC)
		}
	}
	for {
		r, err := st.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Pages...)
	}
	if !bytes.Equal(append(bytes.Clone(st.Setup()), got...), w.Plain[wire.Kbps160]) {
		t.Error("what came is not the Ogg file")
	}
	if st.Stats().Resumed == 0 {
		t.Error("was not resumed")
	}
}

// A prefetched head goes on to the end when its track is played.
func TestStream_Extend(t *testing.T) {
	w := world(t, 26)
	s := open(t, newSite(t, w).config())
	st := play(t, s, client.Request{Track: w.Track, Quality: wire.Kbps96, Until: 2 * time.Second, Prefetch: true})
	head := read(t, st)
	o, err := ogg.Split(bytes.NewReader(w.Plain[wire.Kbps96]))
	if err != nil {
		t.Fatal(err)
	}
	at := o.Records[st.Stats().Records].FirstSample
	st.Extend()
	all := append(append(bytes.Clone(st.Setup()), head...), readFrom(t, st, at)...)
	if !bytes.Equal(all, w.Plain[wire.Kbps96]) {
		t.Errorf("%d bytes, want %d", len(all), len(w.Plain[wire.Kbps96]))
	}
}

func TestStream_HeadOnly(t *testing.T) {
	w := world(t, 26)
	st := play(t, open(t, newSite(t, w).config()), client.Request{Track: w.Track, HeadOnly: true, Prefetch: true})
	if len(read(t, st)) != 0 || st.Head().TotalSamples == 0 || len(st.Setup()) == 0 {
		t.Errorf("%+v", st.Head())
	}
}

// Without anybody listening the server sends no more than the buffer holds.
func TestStream_Credit(t *testing.T) {
	w := world(t, 46)
	s := open(t, newSite(t, w).config())
	st := play(t, s, client.Request{Track: w.Track, Quality: wire.Kbps96})
	deadline := time.After(5 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
wait:
	for st.Buffered() < 19*time.Second {
		select {
		case <-look.C:
		case <-deadline:
			break wait
		}
	}
	if b := st.Buffered(); b < 19*time.Second || b > 31*time.Second {
		t.Errorf("buffered %s", b)
	}
	read(t, st)
	if b := st.Buffered(); b != 0 {
		t.Errorf("buffered %s at the end", b)
	}
}

// What a client takes from servers that lie.
func TestConformance(t *testing.T) {
	conformance.Client(t, world(t, 5), func(t *testing.T, w *conformance.World, answer func(*wire.Play) []byte) ([]byte, error) {
		web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			f, err := wire.NewReader(r.Body, wire.MaxClient).Next()
			if err != nil {
				t.Error(err)
				return
			}
			p, err := wire.ParsePlay(f.Payload)
			if err != nil {
				t.Error(err)
				return
			}
			rw.Header().Set("Content-Type", overhttp.ContentType)
			_, _ = rw.Write(answer(p)) // the client may have gone
		}))
		defer web.Close()
		s := open(t, client.Config{
			SessionID: w.SessionID, SessionKey: w.Key, Ticket: w.Ticket(),
			Endpoints: []client.Endpoint{{Fallback: web.URL + "/stream/v1/play"}},
		})
		st, err := s.Play(t.Context(), client.Request{Track: w.Track, Quality: wire.Kbps96})
		if err != nil {
			return nil, err
		}
		defer st.Close()
		out := bytes.Clone(st.Setup())
		for {
			r, err := st.Next()
			if errors.Is(err, io.EOF) {
				return out, nil
			}
			if err != nil {
				return out, err
			}
			out = append(out, r.Pages...)
		}
	})
}

func certificate(tb testing.TB) (tls.Certificate, []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		tb.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, sum[:]
}
