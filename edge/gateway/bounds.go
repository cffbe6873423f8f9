package gateway

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// errDraining ends streams when the gateway stops.
var errDraining = errors.New("gateway is draining")

// bound puts limits of size and time on the request; the function it returns lifts what
// would outlive it. A request is to be done within read plus write; of a stream each
// read and each write alone is bounded, and waiting for the service is not.
func (x *exchange) bound() (done func()) {
	rt := x.route
	x.w.idle = 0
	now := time.Now() // deadlines of sockets are of the real clock
	body := &bodyReader{ReadCloser: http.MaxBytesReader(x.w, x.r.Body, rt.body), control: x.w.control, x: x}
	ctx := x.r.Context()
	var cancel context.CancelFunc
	if x.streams() {
		x.w.idle, body.idle = rt.write, rt.read
		_ = x.w.control.SetWriteDeadline(time.Time{}) // not supported: the server bounds it
		var end context.CancelCauseFunc
		ctx, end = context.WithCancelCause(ctx)
		unhook := context.AfterFunc(x.g.streams, func() { end(errDraining) })
		cancel = func() { unhook(); end(nil) }
	} else {
		_ = x.w.control.SetWriteDeadline(now.Add(rt.read + rt.write + headerTimeout)) // as above
		ctx, cancel = context.WithTimeout(ctx, rt.read+rt.write)
	}
	if x.r.Body == nil || x.r.Body == http.NoBody || x.r.ContentLength == 0 {
		// Without a body the server's own read, for the next request, is what waits.
		_ = x.w.control.SetReadDeadline(time.Time{}) // as above
		x.r = x.r.WithContext(ctx)
		return cancel
	}
	x.readBy.Store(now.Add(rt.read).UnixNano())
	_ = x.w.control.SetReadDeadline(now.Add(rt.read)) // as above
	x.r = x.r.WithContext(ctx)
	x.r.Body = body
	return cancel
}

// slow reports whether the body did not come in time. The connection's end may be noticed
// before the failed read is, so the clock decides.
func (x *exchange) slow() bool {
	at := x.readBy.Load()
	return at != 0 && time.Now().UnixNano() >= at
}

// await bounds how long the server waits for a body that nobody reads, which it does
// before it sends the answer.
func (x *exchange) await(d time.Duration) {
	if x.r.Body != nil && x.r.Body != http.NoBody {
		_ = x.w.control.SetReadDeadline(time.Now().Add(d)) // as in bound
	}
	_ = x.w.control.SetWriteDeadline(time.Now().Add(d + headerTimeout)) // as in bound
}

// bodyReader moves the deadline of a stream's body on, and lifts it at the end: from then
// on a read of the connection only waits for the client to go away.
type bodyReader struct {
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	x       *exchange
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.idle > 0 {
		at := time.Now().Add(b.idle)
		b.x.readBy.Store(at.UnixNano())
		_ = b.control.SetReadDeadline(at) // as in bound
	}
	n, err := b.ReadCloser.Read(p)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		b.x.over.Store(true)
	case errors.Is(err, io.EOF):
		b.x.readBy.Store(0)
		_ = b.control.SetReadDeadline(time.Time{}) // as in bound
	}
	return n, err
}

// writer counts the answer and puts the policy headers on it.
type writer struct {
	http.ResponseWriter
	x       *exchange
	control *http.ResponseController
	status  int
	bytes   int64
	idle    time.Duration // of a stream
}

// Unwrap serves http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	if w.x.worked != nil {
		w.x.worked() // what follows waits for the client
	}
	w.x.policy(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.limit()
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// limit gives a stream's client so long to take what is written next.
func (w *writer) limit() {
	if w.idle > 0 {
		_ = w.control.SetWriteDeadline(time.Now().Add(w.idle)) // as in bound
	}
}

// unlimit ends that: nobody waits now, and in HTTP/2 a deadline that is left would end the
// stream.
func (w *writer) unlimit() {
	if w.idle > 0 {
		_ = w.control.SetWriteDeadline(time.Time{})
	}
}

// FlushError serves http.ResponseController, which the proxy calls after each write.
func (w *writer) FlushError() error {
	err := w.control.Flush()
	if err == nil {
		w.unlimit()
	}
	return err
}

// Flush serves http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }
