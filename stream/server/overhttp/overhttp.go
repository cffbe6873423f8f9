// Package overhttp serves one play of segue/1 as one HTTP request: the fallback where
// UDP is blocked.
package overhttp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/segue-music/segue/stream/server"
	"github.com/segue-music/segue/stream/wire"
)

// ContentType of the request and of the answer.
const ContentType = "application/x-segue-frames"

// Serve answers POST /stream/v1/play: the body is one PLAY frame, the answer ends when
// its credit is used up. Refusals before HEAD have a status of their own.
func Serve(s *server.Server, w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST a PLAY frame", http.StatusMethodNotAllowed)
		return
	}
	control := http.NewResponseController(w)
	// Not all writers have deadlines: a test's has none, and needs none.
	if err := control.SetReadDeadline(time.Now().Add(server.DefaultLimits().FirstFrame)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		http.Error(w, "no deadline", http.StatusInternalServerError)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxFirst+1))
	if err != nil {
		body = nil // what is missing makes the frame malformed
	}
	if err := control.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		http.Error(w, "no deadline", http.StatusInternalServerError)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	st := &stream{w: w, control: control, body: bytes.NewReader(body), ctx: ctx, cancel: cancel}
	defer st.end()
	s.Conn(nil).Serve(ctx, st)
	if !st.started && ctx.Err() == nil {
		http.Error(w, "nothing to send", http.StatusInternalServerError)
	}
}

// stream is the request as a stream of the protocol.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	body    *bytes.Reader
	ctx     context.Context //nolint:containedctx // the request's, and as long as that
	cancel  context.CancelFunc
	started bool

	mu   sync.Mutex
	over bool // the handler returns: w must not be touched any more
}

func (s *stream) Read(b []byte) (int, error) { return s.body.Read(b) }

func (s *stream) Write(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if !s.started {
		s.started = true
		s.begin(b)
	}
	n, err := s.w.Write(b)
	if err != nil {
		return n, fmt.Errorf("write answer: %w", err)
	}
	// HTTP/2 would wait for more: the first record must go out now.
	if err := s.control.Flush(); err != nil {
		return n, fmt.Errorf("flush answer: %w", err)
	}
	return n, nil
}

// begin sends the header: an answer that begins with ERR has the status of its code.
func (s *stream) begin(b []byte) {
	s.w.Header().Set("Content-Type", ContentType)
	s.w.Header().Set("X-Accel-Buffering", "no")
	f, err := wire.NewReader(bytes.NewReader(b), wire.MaxServer).Next()
	if err != nil || f.Type != wire.TypeErr {
		s.w.WriteHeader(http.StatusOK)
		return
	}
	e, err := wire.ParseErr(f.Payload)
	if err != nil {
		e = wire.Errorf(wire.Internal, "internal error")
	}
	if e.RetryAfter > 0 {
		s.w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	s.w.WriteHeader(e.Code.HTTPStatus())
}

func (s *stream) Close() error             { return nil }
func (s *stream) CancelRead(wire.Code)     {}
func (s *stream) Context() context.Context { return s.ctx }

// CancelWrite breaks the answer off. It may come from another goroutine than Write.
func (s *stream) CancelWrite(wire.Code) {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		// A write that hangs in flow control ends by its deadline.
		_ = s.control.SetWriteDeadline(time.Now())
	}
}

// end is called when the handler returns. A cancel may still be on its way.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}
