package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/textproto"
	"runtime/debug"
	"strings"
	"sync"
)

// InProcess carries requests to a handler of this process. Only the deadline and the end
// of the caller's context reach the other side, never its values: what a handler must
// know stands in the request, as it would between machines.
type InProcess struct {
	Handler http.Handler
	Log     *slog.Logger
}

// errAborted is what the caller reads when the handler panicked.
var errAborted = errors.New("in-process call: the handler was aborted")

// RoundTrip implements http.RoundTripper.
func (p *InProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel, release := apart(req.Context())
	reader, writer := io.Pipe()
	unhook := context.AfterFunc(req.Context(), func() {
		cancel(context.Cause(req.Context()))
		_ = reader.CloseWithError(req.Context().Err()) // both sides stop, as on a reset stream
	})
	in := incoming(ctx, req)
	w := &responseWriter{header: http.Header{}, body: writer, ready: make(chan struct{})}
	w.res = &http.Response{
		Proto: "HTTP/2.0", ProtoMajor: 2, Request: req, ContentLength: -1,
		Body: &responseBody{PipeReader: reader, cancel: func() { cancel(context.Canceled) }},
	}
	go func() {
		defer func() {
			release()
			unhook()
			cancel(nil)
		}()
		p.serve(w, in)
	}()
	select {
	case <-w.ready:
		return w.res, nil
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
}

// ServeHTTP is RoundTrip for a long answer at which nobody looks on the way: the handler
// writes it straight to w. What reaches the handler is the same.
func (p *InProcess) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel, release := apart(req.Context())
	defer release()
	defer cancel(nil)
	defer context.AfterFunc(req.Context(), func() { cancel(context.Cause(req.Context())) })()
	p.Handler.ServeHTTP(w, incoming(ctx, req))
}

// apart is a context with the deadline of another, and nothing else of it.
func apart(of context.Context) (ctx context.Context, cancel context.CancelCauseFunc, release func()) {
	ctx, cancel = context.WithCancelCause(context.Background())
	at, ok := of.Deadline()
	if !ok {
		return ctx, cancel, func() {}
	}
	ctx, stop := context.WithDeadline(ctx, at)
	return ctx, cancel, stop
}

// incoming is a request as the handler sees it.
func incoming(ctx context.Context, req *http.Request) *http.Request {
	in := req.Clone(ctx)
	in.RequestURI, in.RemoteAddr = req.URL.RequestURI(), "in-process"
	in.Proto, in.ProtoMajor, in.ProtoMinor = "HTTP/2.0", 2, 0
	if in.Host == "" {
		in.Host = req.URL.Host
	}
	if in.Body == nil {
		in.Body = http.NoBody
	}
	return in
}

func (p *InProcess) serve(w *responseWriter, in *http.Request) {
	defer func() {
		_ = in.Body.Close() // the caller's body; its error is the caller's to see
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler && p.Log != nil { //nolint:errorlint // the value itself, as net/http has it
				p.Log.ErrorContext(in.Context(), "handler panicked", "path", in.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			}
			w.WriteHeader(http.StatusInternalServerError)
			_ = w.body.CloseWithError(errAborted)
			return
		}
		w.WriteHeader(http.StatusOK)
		w.trailers()
		_ = w.body.Close()
	}()
	p.Handler.ServeHTTP(w, in)
}

// responseWriter hands the response over at the first WriteHeader. A handler writes from
// one goroutine at a time, as with net/http.
type responseWriter struct {
	header http.Header
	body   *io.PipeWriter
	res    *http.Response
	once   sync.Once
	ready  chan struct{}
}

func (w *responseWriter) Header() http.Header { return w.header }

func (w *responseWriter) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		return // informational: nothing of this module waits for them
	}
	w.once.Do(func() {
		w.res.StatusCode, w.res.Status = status, fmt.Sprintf("%d %s", status, http.StatusText(status))
		w.res.Header = w.header.Clone()
		w.res.Trailer = http.Header{}
		for _, names := range w.header["Trailer"] {
			for name := range strings.SplitSeq(names, ",") {
				w.res.Trailer[textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))] = nil
			}
		}
		close(w.ready)
	})
}

func (w *responseWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if len(b) == 0 {
		return 0, nil
	}
	return w.body.Write(b)
}

// FlushError and Flush have nothing to do: a write returns when it was read.
func (w *responseWriter) FlushError() error { w.WriteHeader(http.StatusOK); return nil }
func (w *responseWriter) Flush()            { w.WriteHeader(http.StatusOK) }

// trailers fills in what the reader may look at once it has seen the end of the body.
func (w *responseWriter) trailers() {
	for name := range w.res.Trailer {
		w.res.Trailer[name] = w.header[name]
	}
	for name, v := range w.header {
		if rest, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.res.Trailer[textproto.CanonicalMIMEHeaderKey(rest)] = v
		}
	}
}

// responseBody tells the handler when the caller stops reading.
type responseBody struct {
	*io.PipeReader
	cancel func()
}

func (b *responseBody) Close() error {
	err := b.PipeReader.Close()
	b.cancel()
	return err
}
