package conformance

import (
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// Memory returns a Dial whose connections are memory, with streams that behave like
// those of QUIC: bounded in flight, finished or broken off on each side for itself.
func Memory(s *server.Server) func(testing.TB) Conn {
	return func(testing.TB) Conn {
		ctx, cancel := context.WithCancel(context.Background())
		return &memoryConn{ctx: ctx, cancel: cancel, c: s.Conn(nil)}
	}
}

type memoryConn struct {
	ctx     context.Context //nolint:containedctx // the connection is the context
	cancel  context.CancelFunc
	c       *server.Conn
	streams sync.WaitGroup
}

func (m *memoryConn) Close() {
	m.cancel()
	m.streams.Wait()
}

func (m *memoryConn) Open(testing.TB) Stream {
	up, down := newHalf(), newHalf()
	ctx, cancel := context.WithCancel(m.ctx)
	down.onRefused = cancel
	m.streams.Go(func() {
		defer cancel()
		m.c.Serve(m.ctx, serverEnd{up, down, ctx})
	})
	return clientEnd{up, down}
}

// half is one direction of a stream.
type half struct {
	mu        sync.Mutex
	cond      *sync.Cond
	buf       []byte
	fin       bool
	reset     error // by the sender
	refused   error // by the receiver
	onRefused func()
}

// window is what may be in flight, as in flow control.
const window = 512 << 10

func newHalf() *half {
	h := &half{}
	h.cond = sync.NewCond(&h.mu)
	return h
}

func (h *half) Write(b []byte) (n int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for n < len(b) {
		for len(h.buf) >= window && h.refused == nil && h.reset == nil {
			h.cond.Wait()
		}
		switch {
		case h.refused != nil:
			return n, h.refused
		case h.reset != nil:
			return n, h.reset
		case h.fin:
			return n, io.ErrClosedPipe
		}
		k := min(len(b)-n, window-len(h.buf))
		h.buf = append(h.buf, b[n:n+k]...)
		n += k
		h.cond.Broadcast()
	}
	return n, nil
}

func (h *half) Read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.buf) == 0 && !h.fin && h.reset == nil && h.refused == nil {
		h.cond.Wait()
	}
	switch {
	case h.refused != nil:
		return 0, h.refused
	case h.reset != nil:
		return 0, h.reset
	case len(h.buf) == 0:
		return 0, io.EOF
	}
	n := copy(b, h.buf)
	h.buf = h.buf[n:]
	h.cond.Broadcast()
	return n, nil
}

func (h *half) end(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
	h.cond.Broadcast()
}

func (h *half) finish() { h.end(func() { h.fin = true }) }

func (h *half) breakOff(code wire.Code) {
	h.end(func() {
		if !h.fin && h.reset == nil {
			h.reset = fmt.Errorf("stream reset: %s", code)
		}
	})
}

func (h *half) refuse(code wire.Code) {
	h.end(func() {
		if h.refused == nil {
			h.refused = fmt.Errorf("stream refused: %s", code)
			if h.onRefused != nil {
				h.onRefused()
			}
		}
	})
}

type serverEnd struct {
	up, down *half
	ctx      context.Context //nolint:containedctx // server.Stream asks for it
}

func (s serverEnd) Read(b []byte) (int, error)  { return s.up.Read(b) }
func (s serverEnd) Write(b []byte) (int, error) { return s.down.Write(b) }
func (s serverEnd) Close() error                { s.down.finish(); return nil }
func (s serverEnd) CancelRead(code wire.Code)   { s.up.refuse(code) }
func (s serverEnd) CancelWrite(code wire.Code)  { s.down.breakOff(code) }
func (s serverEnd) Context() context.Context    { return s.ctx }

type clientEnd struct{ up, down *half }

func (c clientEnd) Read(b []byte) (int, error)  { return c.down.Read(b) }
func (c clientEnd) Write(b []byte) (int, error) { return c.up.Write(b) }
func (c clientEnd) Close() error                { c.up.finish(); return nil }
func (c clientEnd) Cancel(code wire.Code)       { c.up.breakOff(code); c.down.refuse(code) }
