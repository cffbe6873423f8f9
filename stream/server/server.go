// Package server serves the streams of segue/1 over any transport that has
// bidirectional streams. It opens no socket and knows no store: what it needs it takes
// as the small interfaces of this file.
//
// The order of a play is fixed: a bounded first frame, the ticket, then everything
// that costs something. See docs/protocol/segue-1.md, section 3.
package server

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// Tickets verifies tickets.
type Tickets interface {
	// Verify returns the session of a genuine ticket. It fails with a [wire.Error]:
	// TicketExpired or TicketInvalid. It must be cheap and ask nobody.
	Verify(ticket []byte) (Session, error)
}

// Session is what a valid ticket allows. Errors that are a [wire.Error] reach the
// client as they are; all others are logged and reach it as Internal.
type Session interface {
	// ID is the session's id, Expires when the ticket runs out.
	ID() [16]byte
	Expires() time.Time
	// Resolve answers which object a PLAY gets.
	Resolve(ctx context.Context, p *wire.Play) (Resolved, error)
	// Fence tells whether the session may go on: nil, PlayingElsewhere or
	// TicketInvalid. Any other error is taken as "not known", and the stream goes on.
	Fence(ctx context.Context) error
	// Watch calls send for every player state newer than since, until ctx ends or send
	// fails.
	Watch(ctx context.Context, since uint64, send func(wire.State) error) error
	// Served counts what was sent since the last call for this play.
	Served(s Served)
}

// Resolved is the answer to a PLAY.
type Resolved struct {
	ObjectID [16]byte
	KID      uint64
	// WrappedKey is the object's key, wrapped for the session.
	WrappedKey                 []byte
	GainTrack, GainAlbum, Peak int16
	// CDN is the URL for ranges of the object, or empty.
	CDN string
}

// Objects opens sealed objects.
type Objects interface {
	// Open returns an object that is ready to be read; the caller closes it. It fails
	// with NotFound when there is none.
	Open(ctx context.Context, id [16]byte) (Object, error)
}

// Object is an open sealed object. The bytes never change.
type Object interface {
	io.ReaderAt
	io.Closer
	// Opened is the header and the index, not to be changed.
	Opened() *seal.Opened
}

// Served is a part of a play that went out after the handshake.
type Served struct {
	Track, PlayID [16]byte
	Millis, Bytes uint64
}

// Observer is told what happens, for metrics. Its methods must not block.
type Observer interface {
	// Started is called when HEAD and the first record of a play are written, with the time since
	// the PLAY was read.
	Started(p *wire.Play, early bool, took time.Duration)
	// Refused is called when a PLAY ends before Started, with the code that it got.
	Refused(code wire.Code)
	// Ended is called once per stream, with 0 or the code of the refusal.
	Ended(code wire.Code)
}

// Tracer follows plays, one by one. Its methods must not block.
type Tracer interface {
	// Play is called for each PLAY that was parsed, before its ticket is looked at. What is
	// asked of others for its start is asked under the context returned.
	Play(ctx context.Context, p *wire.Play, early bool) (context.Context, Trace)
}

// Trace is one play that is followed.
type Trace interface {
	// Verified is called when the ticket was found genuine, Started when HEAD and the first
	// record are written, Ended once, with what the play ended with.
	Verified()
	Started()
	Ended(err error)
}

// Limits bound what clients may do. Zero fields take the value of [DefaultLimits].
type Limits struct {
	// FirstFrame is how long the first frame of a stream may take.
	FirstFrame time.Duration
	// Unverified and Streams bound the streams of a connection before and after its
	// first valid ticket, Plays the plays of a session, on all connections.
	Unverified, Streams, Plays int
	// EarlyBytes bound what a connection is sent before its handshake is complete.
	EarlyBytes int
	// EarlyPlays bounds the memory of plays that came in early data.
	EarlyPlays int
	// FenceEvery is how often an open stream is checked, FenceTimeout how long that may take.
	FenceEvery, FenceTimeout time.Duration
	// Crowded is how long a play waits for another of its session to end where there are
	// Plays already. Who turns from track to track opens streams faster than a busy server
	// sees that those before were cancelled.
	Crowded time.Duration
	// Idle ends a stream that waits for credit, Stall one whose client reads nothing.
	Idle, Stall time.Duration
}

// DefaultLimits are the limits of the protocol.
func DefaultLimits() Limits {
	return Limits{
		FirstFrame: 5 * time.Second, Unverified: 8, Streams: 32, Plays: 16,
		EarlyBytes: 12 << 10, EarlyPlays: 1 << 16,
		FenceEvery: 5 * time.Second, FenceTimeout: 2 * time.Second, Crowded: time.Second,
		Idle: 10 * time.Minute, Stall: 10 * time.Minute,
	}
}

func (l Limits) filled() Limits {
	d := DefaultLimits()
	for _, v := range []struct{ have, want *int }{
		{&l.Unverified, &d.Unverified}, {&l.Streams, &d.Streams}, {&l.Plays, &d.Plays},
		{&l.EarlyBytes, &d.EarlyBytes}, {&l.EarlyPlays, &d.EarlyPlays},
	} {
		if *v.have == 0 {
			*v.have = *v.want
		}
	}
	for _, v := range []struct{ have, want *time.Duration }{
		{&l.FirstFrame, &d.FirstFrame}, {&l.FenceEvery, &d.FenceEvery}, {&l.FenceTimeout, &d.FenceTimeout},
		{&l.Crowded, &d.Crowded}, {&l.Idle, &d.Idle}, {&l.Stall, &d.Stall},
	} {
		if *v.have == 0 {
			*v.have = *v.want
		}
	}
	return l
}

// Deps are what a Server needs. Observer and Tracer may be nil.
type Deps struct {
	Tickets  Tickets
	Objects  Objects
	Observer Observer
	Tracer   Tracer
	Now      func() time.Time
	Log      *slog.Logger
	Limits   Limits
}

// Server serves streams. Its methods may be called concurrently.
type Server struct {
	deps   Deps
	limits Limits
	replay replaySet
	plays  counter
	spare  sync.Pool // of *buffers

	drainOnce sync.Once
	draining  chan struct{}
	active    active
}

// New makes a Server.
func New(d Deps) *Server {
	l := d.Limits.filled()
	if d.Tracer == nil {
		d.Tracer = untraced{}
	}
	return &Server{
		deps: d, limits: l, draining: make(chan struct{}),
		replay: replaySet{limit: l.EarlyPlays, seen: map[[16]byte]time.Time{}},
		plays:  counter{n: map[[16]byte]int{}, left: map[[16]byte]chan struct{}{}},
	}
}

// Streams is how many streams are open.
func (s *Server) Streams() int { return s.active.count() }

// untraced follows nothing.
type untraced struct{}

func (untraced) Play(ctx context.Context, _ *wire.Play, _ bool) (context.Context, Trace) {
	return ctx, untraced{}
}
func (untraced) Verified()   {}
func (untraced) Started()    {}
func (untraced) Ended(error) {}

// Drain refuses new streams and ends the open ones at their next record with
// DRAINING, so that clients connect elsewhere and play on from their buffers.
func (s *Server) Drain() { s.drainOnce.Do(func() { close(s.draining) }) }

// Wait waits until no stream is open, or ctx ends. It is for after Drain.
func (s *Server) Wait(ctx context.Context) error { return s.active.wait(ctx) }

func (s *Server) drained() bool {
	select {
	case <-s.draining:
		return true
	default:
		return false
	}
}

// active counts open streams.
type active struct {
	mu   sync.Mutex
	n    int
	none chan struct{} // closed when n falls to 0; nil when nobody waits
}

func (a *active) add(d int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n += d; a.n == 0 && a.none != nil {
		close(a.none)
		a.none = nil
	}
}

func (a *active) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.n
}

func (a *active) wait(ctx context.Context) error {
	a.mu.Lock()
	if a.n == 0 {
		a.mu.Unlock()
		return nil
	}
	if a.none == nil {
		a.none = make(chan struct{})
	}
	none := a.none
	a.mu.Unlock()
	select {
	case <-none:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
