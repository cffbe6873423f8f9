package conformance

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/streamtest"
	"github.com/segue-music/segue/stream/wire"
)

// World is a backend in memory: one session, one track. It implements
// [server.Tickets] and [server.Objects].
type World struct {
	Plain     map[wire.Quality][]byte
	Track     [16]byte
	SessionID [16]byte
	Key       [16]byte

	sealed map[wire.Quality]seal.Sealed
	bytes  map[[16]byte][]byte

	mu      sync.Mutex
	ticket  string
	expires time.Time
	fence   wire.Code
	fences  int
	served  map[[16]byte]server.Served
	states  []wire.State
	changed chan struct{}
	resolve func(*wire.Play) error
}

// NewWorld encodes and seals a track of seconds; that takes a moment.
func NewWorld(tb testing.TB, seconds float64) *World {
	tb.Helper()
	return WorldOf(tb, map[wire.Quality][]byte{
		wire.Kbps96: streamtest.Ogg(tb, seconds, 96), wire.Kbps160: streamtest.Ogg(tb, seconds, 160),
	})
}

// WorldOf seals a track that is encoded already.
func WorldOf(tb testing.TB, plain map[wire.Quality][]byte) *World {
	tb.Helper()
	w := &World{
		Plain: plain, Track: [16]byte{0x77}, SessionID: [16]byte{5}, Key: [16]byte{6},
		sealed: map[wire.Quality]seal.Sealed{}, bytes: map[[16]byte][]byte{}, served: map[[16]byte]server.Served{},
		ticket: "ticket 1", expires: time.Now().Add(10 * time.Minute), changed: make(chan struct{}),
	}
	for q := range plain {
		w.Seal(tb, q)
	}
	return w
}

// Seal seals a quality anew: a new object with a new key, as after a new encoding.
func (w *World) Seal(tb testing.TB, q wire.Quality) {
	tb.Helper()
	var out bytes.Buffer
	s, err := seal.Object(&out, bytes.NewReader(w.Plain[q]), seal.Options{Random: rand.Reader, TempDir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed[q], w.bytes[s.ObjectID] = s, out.Bytes()
}

// Object returns the bytes of a quality's object.
func (w *World) Object(q wire.Quality) (seal.Sealed, []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sealed[q], w.bytes[w.sealed[q].ObjectID]
}

// Ticket is the ticket that is good now.
func (w *World) Ticket() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []byte(w.ticket)
}

// Renew makes a new ticket; the one before has run out.
func (w *World) Renew(ticket string, expires time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ticket, w.expires = ticket, expires
}

// SetFence says what the session is told from now on; 0 lets it go on.
func (w *World) SetFence(code wire.Code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fence = code
}

// Fences is how often the fence was asked for.
func (w *World) Fences() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fences
}

// SetResolve lets every PLAY fail with what f returns.
func (w *World) SetResolve(f func(*wire.Play) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolve = f
}

// ServedOf is what was counted for a play.
func (w *World) ServedOf(playID [16]byte) (millis, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.served[playID].Millis, w.served[playID].Bytes
}

// SetState publishes a player state.
func (w *World) SetState(s wire.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.states = append(w.states, s)
	close(w.changed)
	w.changed = make(chan struct{})
}

// Fixture describes the world to the suite; Dial is left out.
func (w *World) Fixture() Fixture {
	return Fixture{
		Plain: w.Plain, Track: w.Track, SessionID: w.SessionID, SessionKey: w.Key,
		Ticket: w.Ticket(), Expired: []byte("expired"), Foreign: []byte("foreign"),
		Fence: w.SetFence, Served: w.ServedOf, FenceCalls: w.Fences,
	}
}

// Verify implements [server.Tickets].
func (w *World) Verify(ticket []byte) (server.Session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case string(ticket) == "expired":
		return nil, wire.Errorf(wire.TicketExpired, "ticket ran out")
	case string(ticket) != w.ticket:
		return nil, wire.Errorf(wire.TicketInvalid, "no such ticket")
	}
	return &worldSession{w, w.expires}, nil
}

// Open implements [server.Objects].
func (w *World) Open(_ context.Context, id [16]byte) (server.Object, error) {
	w.mu.Lock()
	b, ok := w.bytes[id]
	w.mu.Unlock()
	if !ok {
		return nil, wire.Errorf(wire.NotFound, "no such object")
	}
	o, err := seal.OpenObject(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	return worldObject{bytes.NewReader(b), o}, nil
}

type worldObject struct {
	io.ReaderAt
	opened *seal.Opened
}

func (o worldObject) Opened() *seal.Opened { return o.opened }
func (o worldObject) Close() error         { return nil }

type worldSession struct {
	w       *World
	expires time.Time
}

func (s *worldSession) ID() [16]byte       { return s.w.SessionID }
func (s *worldSession) Expires() time.Time { return s.expires }

func (s *worldSession) Resolve(_ context.Context, p *wire.Play) (server.Resolved, error) {
	w := s.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.resolve != nil {
		if err := w.resolve(p); err != nil {
			return server.Resolved{}, err
		}
	}
	q := p.Quality
	if q == wire.Auto {
		q = wire.Kbps96
	}
	o, ok := w.sealed[q]
	switch {
	case p.Track != w.Track:
		return server.Resolved{}, wire.Errorf(wire.NotFound, "no such track")
	case !ok:
		return server.Resolved{}, wire.Errorf(wire.QualityUnavailable, "no such quality")
	}
	wrapped, err := seal.WrapKey(w.Key, o.BaseKey, o.ObjectID, o.SealID, o.KID, w.SessionID, rand.Reader)
	if err != nil {
		return server.Resolved{}, err
	}
	return server.Resolved{
		ObjectID: o.ObjectID, KID: o.KID, WrappedKey: wrapped, GainTrack: -1280, GainAlbum: -1024, Peak: -64,
		CDN: "/o/{object}",
	}, nil
}

func (s *worldSession) Fence(context.Context) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.fences++
	if s.w.fence != 0 {
		return wire.Errorf(s.w.fence, "fenced")
	}
	return nil
}

func (s *worldSession) Watch(ctx context.Context, since uint64, send func(wire.State) error) error {
	for {
		s.w.mu.Lock()
		states, changed := s.w.states, s.w.changed
		s.w.mu.Unlock()
		for _, st := range states {
			if st.Revision > since {
				if err := send(st); err != nil {
					return err
				}
				since = st.Revision
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *worldSession) Served(v server.Served) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	sum := s.w.served[v.PlayID]
	sum.Millis += v.Millis
	sum.Bytes += v.Bytes
	s.w.served[v.PlayID] = sum
}
