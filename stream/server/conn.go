package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/wire"
)

// Stream is one bidirectional stream that a client opened. Read and Write may be
// called at the same time by two goroutines.
type Stream interface {
	io.Reader
	io.Writer
	// Close finishes the sending side in good order.
	Close() error
	// CancelRead tells the client to stop sending, and makes Read fail.
	CancelRead(code wire.Code)
	// CancelWrite breaks the sending side off, and makes Write fail.
	CancelWrite(code wire.Code)
	// Context ends when the client no longer wants what is sent.
	Context() context.Context
}

// Conn is what the streams of one connection have in common.
type Conn struct {
	s         *Server
	handshake <-chan struct{}

	mu       sync.Mutex
	verified bool
	open     int
	early    int // bytes that may still be sent before the handshake
}

// Conn begins a connection. The channel closes when its handshake is complete; nil
// says that it is. What is read until then counts as early data.
func (s *Server) Conn(handshake <-chan struct{}) *Conn {
	return &Conn{s: s, handshake: handshake, early: s.limits.EarlyBytes}
}

func (c *Conn) isEarly() bool {
	if c.handshake == nil {
		return false
	}
	select {
	case <-c.handshake:
		return false
	default:
		return true
	}
}

func (c *Conn) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := c.s.limits.Unverified
	if c.verified {
		limit = c.s.limits.Streams
	}
	if c.open >= limit {
		return &wire.Error{Code: wire.RateLimited, RetryAfter: time.Second, Text: "too many streams"}
	}
	c.open++
	return nil
}

func (c *Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
}

// verify checks the ticket and lifts the limits of the connection.
func (c *Conn) verify(ticket []byte) (Session, error) {
	sess, err := c.s.deps.Tickets.Verify(ticket)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified = true
	return sess, nil
}

// takeEarly grants up to n bytes of what may be sent before the handshake.
func (c *Conn) takeEarly(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n = min(n, c.early)
	c.early -= n
	return n
}

// Serve serves one stream to its end, which it reports to the client and to the
// observer. It returns when nothing of it is left running. ctx ends it at once.
func (c *Conn) Serve(ctx context.Context, st Stream) {
	c.s.active.add(1)
	defer c.s.active.add(-1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	unhookClient := context.AfterFunc(st.Context(), stop)
	// A write that hangs in flow control does not look at ctx.
	unhook := context.AfterFunc(ctx, func() { st.CancelWrite(wire.Cancelled); st.CancelRead(wire.Cancelled) })

	code := wire.Code(0)
	var far progress
	if err := c.serve(ctx, st, &far); err != nil {
		code = c.refuse(ctx, st, err)
	}
	// Finishing ends the stream's context: the hooks must not take that for the
	// client's wish, and break off what is still on its way.
	unhookClient()
	switch {
	case !unhook(), code == wire.Cancelled:
		code = wire.Cancelled
		st.CancelWrite(code)
	default:
		if err := st.Close(); err != nil {
			st.CancelWrite(code)
		}
	}
	st.CancelRead(code)
	if o := c.s.deps.Observer; o != nil {
		if far.play && !far.started {
			o.Refused(code)
		}
		o.Ended(code)
	}
}

// progress is how far a stream came.
type progress struct{ play, started bool }

func (c *Conn) serve(ctx context.Context, st Stream, far *progress) error {
	if err := c.enter(); err != nil {
		return err
	}
	defer c.leave()
	r := wire.NewReader(st, wire.MaxClient)
	r.Bound(wire.MaxFirst)
	slow := time.AfterFunc(c.s.limits.FirstFrame, func() { st.CancelRead(wire.BadFrame) })
	f, err := r.Next()
	if !slow.Stop() && err != nil {
		return wire.Errorf(wire.BadFrame, "no frame in time")
	}
	if err != nil {
		return readError(err)
	}
	if c.s.drained() {
		return errDraining()
	}
	switch f.Type {
	case wire.TypePlay:
		far.play = true
		return c.play(ctx, st, r, f.Payload, far)
	case wire.TypeWatch:
		return c.watch(ctx, st, r, f.Payload)
	default:
		return wire.Errorf(wire.BadFrame, "stream begins with frame %#x", uint64(f.Type))
	}
}

func errDraining() *wire.Error {
	return &wire.Error{Code: wire.Draining, RetryAfter: time.Second, Text: "server is stopping"}
}

// readError turns the failure of a read into what the client is told.
func readError(err error) error {
	var e *wire.Error
	switch {
	case errors.As(err, &e):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return wire.Errorf(wire.BadFrame, "stream ends inside a frame")
	default:
		return wire.Errorf(wire.Cancelled, "stream was reset")
	}
}

// refuse sends the ERR frame, and returns the code that the stream ends with.
func (c *Conn) refuse(ctx context.Context, st Stream, err error) wire.Code {
	var e *wire.Error
	if !errors.As(err, &e) {
		if ctx.Err() != nil {
			return wire.Cancelled
		}
		c.s.deps.Log.ErrorContext(ctx, "stream failed", "err", err)
		e = wire.Errorf(wire.Internal, "internal error")
		err = e
	}
	if e.Code == wire.Cancelled {
		return e.Code
	}
	if e.Code == wire.Internal && e != err { //nolint:errorlint // what is behind what the client is told
		c.s.deps.Log.WarnContext(ctx, "stream failed", "err", err)
	}
	stall := time.AfterFunc(c.s.limits.FirstFrame, func() { st.CancelWrite(e.Code) })
	defer stall.Stop()
	if c.isEarly() && c.takeEarly(maxErrFrame) < maxErrFrame {
		st.CancelWrite(e.Code)
		return e.Code
	}
	// If this fails the client has gone, or sees the code of the stream.
	_, _ = st.Write(e.Append(nil))
	return e.Code
}

const maxErrFrame = wire.MaxErrorText + 32

// send writes b, no more of it than allowed before the handshake is complete.
func (c *Conn) send(ctx context.Context, st Stream, b []byte) error {
	if c.isEarly() {
		n := c.takeEarly(len(b))
		if err := c.write(st, b[:n]); err != nil {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
		select {
		case <-c.handshake:
		case <-ctx.Done():
			return wire.Errorf(wire.Cancelled, "no handshake")
		}
	}
	return c.write(st, b)
}

func (c *Conn) write(st Stream, b []byte) error {
	stall := time.AfterFunc(c.s.limits.Stall, func() { st.CancelWrite(wire.Cancelled) })
	defer stall.Stop()
	if _, err := st.Write(b); err != nil {
		// The client went away or asked to stop: that is an end, not a fault.
		return fmt.Errorf("%w: %w", wire.Errorf(wire.Cancelled, "write"), err)
	}
	return nil
}

// prioritized streams (QUIC has them, RFC 9218) send what is listened to first.
type prioritized interface {
	SetPriority(urgency int8, incremental bool)
}
