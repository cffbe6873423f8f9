package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/segue-music/segue/stream/conformance"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// ends observes how streams end.
type ends struct {
	mu      sync.Mutex
	codes   []wire.Code
	refused []wire.Code // of plays that never began
	early   int
}

func (e *ends) Started(_ *wire.Play, early bool, _ time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if early {
		e.early++
	}
}

func (e *ends) Refused(c wire.Code) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refused = append(e.refused, c)
}

func (e *ends) Ended(c wire.Code) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.codes = append(e.codes, c)
}

func newServer(w *conformance.World, l server.Limits, o server.Observer) *server.Server {
	return server.New(server.Deps{Tickets: w, Objects: w, Observer: o, Now: time.Now, Log: slog.New(slog.DiscardHandler), Limits: l})
}

// wirePair is a stream whose server side is recorded: it may be read at any time.
type wirePair struct {
	in     *io.PipeReader
	feed   *io.PipeWriter
	mu     sync.Mutex
	out    []byte
	closed bool
	reset  wire.Code
	ctx    context.Context // server.Stream asks for it
	cancel context.CancelFunc
}

func newPair() *wirePair {
	p := &wirePair{}
	p.in, p.feed = io.Pipe()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *wirePair) Read(b []byte) (int, error) { return p.in.Read(b) }
func (p *wirePair) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reset != 0 {
		return 0, fmt.Errorf("reset: %s", p.reset)
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

func (p *wirePair) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	return nil
}
func (p *wirePair) CancelRead(wire.Code) { _ = p.in.CloseWithError(errors.New("cancelled")) }
func (p *wirePair) CancelWrite(c wire.Code) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reset = c
}
func (p *wirePair) Context() context.Context { return p.ctx }

func (p *wirePair) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.out)
}

// frames parses what the server sent.
func (p *wirePair) frames(t *testing.T) (types []wire.Type, refused *wire.Error, end *wire.End) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	r := wire.NewReader(&reader{p.out}, wire.MaxServer)
	for {
		f, err := r.Next()
		if err != nil {
			return types, refused, end
		}
		types = append(types, f.Type)
		switch f.Type {
		case wire.TypeErr:
			if refused, err = wire.ParseErr(f.Payload); err != nil {
				t.Fatal(err)
			}
		case wire.TypeEnd:
			e, err := wire.ParseEnd(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			end = &e
		default:
		}
	}
}

type reader struct{ b []byte }

func (r *reader) Read(b []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.b)
	r.b = r.b[n:]
	return n, nil
}

func request(w *conformance.World, change func(*wire.Play)) []byte {
	p := &wire.Play{Track: w.Track, PlayID: [16]byte{1}, Quality: wire.Kbps160, Codecs: wire.Vorbis.Set(), Ticket: w.Ticket()}
	if change != nil {
		change(p)
	}
	return p.Append(nil)
}

func TestServer(t *testing.T) {
	plain := conformance.NewWorld(t, 30).Plain
	for name, run := range map[string]func(*testing.T, *conformance.World){
		"early_data": earlyData, "refused_plays": refusedPlays, "fenced_while_idle": fencedWhileIdle, "fence_unknown": fenceUnknown, "idle_ends": idleEnds,
		"silent_stream": silentStream, "plays_per_session": playsPerSession, "watch": watch, "watch_expires": watchExpires, "drain": drain,
	} {
		t.Run(name, func(t *testing.T) {
			// The bubble has its own time; the ticket's is set by it.
			synctest.Test(t, func(t *testing.T) { run(t, conformance.WorldOf(t, plain)) })
		})
	}
}

// refusedPlays: a PLAY that never gets its first record is told as refused, one that was
// begun is not, however it ends.
func refusedPlays(t *testing.T, w *conformance.World) {
	o := &ends{}
	c := newServer(w, server.Limits{}, o).Conn(nil)
	for _, first := range [][]byte{
		request(w, func(p *wire.Play) { p.Track = [16]byte{99} }),         // NOT_FOUND
		request(w, func(p *wire.Play) { p.Ticket = []byte("no ticket") }), // TICKET_INVALID
		request(w, func(p *wire.Play) { p.Flags |= wire.HeadOnly }),       // begun
		(&wire.Watch{Ticket: []byte("no ticket")}).Append(nil),            // no PLAY
	} {
		p := newPair()
		done := make(chan struct{})
		go func() { defer close(done); c.Serve(t.Context(), p) }()
		if _, err := p.feed.Write(first); err != nil {
			t.Fatal(err)
		}
		_ = p.feed.Close()
		<-done
	}
	if want := []wire.Code{wire.NotFound, wire.TicketInvalid}; !slices.Equal(o.refused, want) {
		t.Errorf("refused %v, want %v", o.refused, want)
	}
	if len(o.codes) != 4 {
		t.Errorf("%d streams ended: %v", len(o.codes), o.codes)
	}
}

// earlyData: at most 12 KB before the handshake, nothing counted, and nothing twice.
func earlyData(t *testing.T, w *conformance.World) {
	o := &ends{}
	s := newServer(w, server.Limits{}, o)
	handshake := make(chan struct{})
	c := s.Conn(handshake)
	var wg sync.WaitGroup
	serve := func(b []byte) *wirePair {
		p := newPair()
		wg.Go(func() { c.Serve(t.Context(), p) })
		if _, err := p.feed.Write(b); err != nil {
			t.Fatal(err)
		}
		_ = p.feed.Close()
		synctest.Wait()
		return p
	}
	first := serve(request(w, nil))
	if n := first.sent(); n == 0 || n > 12<<10 {
		t.Errorf("%d bytes before the handshake", n)
	}
	again := serve(request(w, nil))
	second := serve(request(w, func(p *wire.Play) { p.PlayID = [16]byte{2} }))
	if n := first.sent() + again.sent() + second.sent(); n > 12<<10 {
		t.Errorf("%d bytes on the connection before the handshake", n)
	}
	if ms, n := w.ServedOf([16]byte{1}); ms != 0 || n != 0 {
		t.Errorf("%d ms counted before the handshake", ms)
	}
	close(handshake)
	wg.Wait()
	if ms, _ := w.ServedOf([16]byte{1}); ms < 10_000 {
		t.Errorf("%d ms counted after the handshake", ms)
	}
	if _, _, end := first.frames(t); end == nil {
		t.Error("the first play did not end")
	}
	if _, refused, end := again.frames(t); end != nil || (refused != nil && refused.Code != wire.EarlyRefused) {
		t.Errorf("the repeated play ended with %v, %v", refused, end)
	}
	if o.early != 2 {
		t.Errorf("%d plays began early", o.early)
	}
	// After the handshake the same play is good again.
	if _, refused, end := serve(request(w, nil)).frames(t); end == nil {
		t.Errorf("refused with %v", refused)
	}
	wg.Wait()
}

// start serves one stream that stays open.
func start(t *testing.T, s *server.Server, b []byte) (*wirePair, chan struct{}) {
	t.Helper()
	p, done := newPair(), make(chan struct{})
	go func() { defer close(done); s.Conn(nil).Serve(t.Context(), p) }()
	if _, err := p.feed.Write(b); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return p, done
}

// fencedWhileIdle: a device that has 10 s in its buffer stops within 5 s all the same.
func fencedWhileIdle(t *testing.T, w *conformance.World) {
	p, done := start(t, newServer(w, server.Limits{}, nil), request(w, nil))
	w.SetFence(wire.PlayingElsewhere)
	begin := time.Now()
	<-done
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if _, refused, _ := p.frames(t); refused == nil || refused.Code != wire.PlayingElsewhere {
		t.Errorf("ended with %v", refused)
	}
}

func fenceUnknown(t *testing.T, w *conformance.World) {
	p, done := start(t, newServer(w, server.Limits{}, nil), request(w, nil))
	w.SetFence(wire.Internal) // not an answer
	for ms := uint64(20_000); ms <= 30_000; ms += 10_000 {
		<-time.After(6 * time.Second)
		if _, err := p.feed.Write(wire.Credit{UntilMs: ms}.Append(nil)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	<-done
	if _, refused, end := p.frames(t); end == nil || end.Reason != wire.TrackEnd {
		t.Errorf("ended with %v, %v", refused, end)
	}
}

func idleEnds(t *testing.T, w *conformance.World) {
	p, done := start(t, newServer(w, server.Limits{}, nil), request(w, nil))
	begin := time.Now()
	<-done
	if took := time.Since(begin); took < 9*time.Minute || took > 11*time.Minute {
		t.Errorf("took %s", took)
	}
	if _, refused, end := p.frames(t); end == nil || end.Reason != wire.UntilReached {
		t.Errorf("ended with %v, %v", refused, end)
	}
}

func silentStream(t *testing.T, w *conformance.World) {
	p, done := start(t, newServer(w, server.Limits{}, nil), []byte{1})
	<-done
	if _, refused, _ := p.frames(t); refused == nil || refused.Code != wire.BadFrame {
		t.Errorf("ended with %v", refused)
	}
}

func playsPerSession(t *testing.T, w *conformance.World) {
	s := newServer(w, server.Limits{Plays: 2}, nil)
	a, aDone := start(t, s, request(w, nil))
	_, bDone := start(t, s, request(w, nil))
	c, cDone := start(t, s, request(w, nil))
	<-cDone
	if _, refused, _ := c.frames(t); refused == nil || refused.Code != wire.RateLimited || refused.RetryAfter == 0 {
		t.Errorf("the third ended with %v", refused)
	}
	d, dDone := start(t, s, request(w, nil))
	synctest.Wait() // it waits for one to end
	a.cancel()
	<-aDone
	synctest.Wait()
	if types, refused, _ := d.frames(t); len(types) == 0 || types[0] != wire.TypeHead {
		t.Errorf("after one has ended: %v", refused)
	}
	d.cancel()
	<-dDone
	s.Drain()
	<-bDone
}

func watch(t *testing.T, w *conformance.World) {
	p, done := start(t, newServer(w, server.Limits{}, nil), (&wire.Watch{Since: 3, Ticket: w.Ticket()}).Append(nil))
	for rev := uint64(2); rev <= 5; rev++ {
		w.SetState(wire.State{Revision: rev, Player: []byte{byte(rev)}})
		synctest.Wait()
	}
	if types, _, _ := p.frames(t); len(types) != 2 || types[0] != wire.TypeState {
		t.Errorf("sent %v", types)
	}
	if _, err := p.feed.Write([]byte{2, 1, 0}); err != nil { // a CREDIT is out of place
		t.Fatal(err)
	}
	<-done
	if _, refused, _ := p.frames(t); refused == nil || refused.Code != wire.BadFrame {
		t.Errorf("ended with %v", refused)
	}
}

func watchExpires(t *testing.T, w *conformance.World) {
	w.Renew("ticket 2", time.Now().Add(10*time.Minute))
	p, done := start(t, newServer(w, server.Limits{}, nil), (&wire.Watch{Ticket: w.Ticket()}).Append(nil))
	<-time.After(9 * time.Minute)
	w.Renew("ticket 3", time.Now().Add(10*time.Minute))
	if _, err := p.feed.Write((&wire.Watch{Ticket: w.Ticket()}).Append(nil)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	<-done
	if took := time.Since(begin); took < 9*time.Minute {
		t.Errorf("the renewed ticket lasted %s", took)
	}
	if _, refused, _ := p.frames(t); refused == nil || refused.Code != wire.TicketExpired {
		t.Errorf("ended with %v", refused)
	}
}

func drain(t *testing.T, w *conformance.World) {
	s := newServer(w, server.Limits{}, nil)
	p, done := start(t, s, request(w, nil))
	s.Drain()
	<-done
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, refused, _ := p.frames(t); refused == nil || refused.Code != wire.Draining {
		t.Errorf("ended with %v", refused)
	}
	q, done := start(t, s, request(w, nil))
	<-done
	if _, refused, _ := q.frames(t); refused == nil || refused.Code != wire.Draining {
		t.Errorf("a new stream ended with %v", refused)
	}
}
