package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/span"
)

// exchange is one request and its answer.
type exchange struct {
	g      *Gateway
	w      *writer
	r      *http.Request
	id     string
	ip     netip.Addr
	start  time.Time
	span   trace.Span
	route  *route
	rpc    method       // of a byMethod route
	over   atomic.Bool  // the body went over its bound
	readBy atomic.Int64 // when the body is to be here, Unix nanoseconds; 0 when nobody waits
	user   string
	token  string // of identity, for the target

	worked   func() // gives back the place of a request that is worked on
	reserved int64  // of Gateway.buffered
	cancel   context.CancelCauseFunc
	ending   sync.Mutex
	ended    bool // its connection is not to be touched any more

	reason string // why it was refused
}

type exchangeKey struct{}

func (g *Gateway) begin(w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{g: g, id: g.deps.NewID(), ip: clientIP(r, g.trusted), start: g.deps.Now()}
	// The act that the client says this request belongs to goes on; a span of the client's
	// is nobody's parent here, since nobody sends it to where ours go. That it asks for the
	// trace to be kept is a wish: see internal/obs.
	ctx := r.Context()
	if v := r.Header[span.Header]; len(v) == 1 {
		if sc, ok := span.Parse(v[0]); ok {
			ctx = span.Root(ctx, sc.TraceID(), sc.IsSampled())
		}
	}
	ctx, x.cancel = context.WithCancelCause(ctx)
	ctx, x.span = g.tracer.Start(ctx, "gateway", trace.WithSpanKind(trace.SpanKindServer))
	x.r = r.WithContext(ctx)
	x.w = &writer{ResponseWriter: w, x: x, control: http.NewResponseController(w)}
	x.w.Header().Set("X-Request-Id", x.id)
	g.metrics.inFlight.Inc()
	x.await(headerTimeout)
	return x
}

// end runs deferred: it catches a panic, and logs and counts the exchange.
func (x *exchange) end() {
	v := recover()
	defer x.close()
	if v != nil {
		if v != http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
			x.g.deps.Log.ErrorContext(x.r.Context(), "gateway panicked", "request", x.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
		if x.w.status == 0 && v != http.ErrAbortHandler { //nolint:errorlint // as above
			x.refuse(refusal{status: http.StatusInternalServerError, code: connect.CodeInternal, reason: "panic", text: "internal error"})
			v = nil
		}
	}
	took := x.g.deps.Now().Sub(x.start)
	name := "none"
	if x.route != nil {
		name = x.route.prefix
	}
	status := x.w.status
	if status == 0 {
		status = http.StatusOK
		if v != nil {
			status = 499 // the client, or the service behind, went away
		}
	}
	x.g.metrics.observe(name, x.r.Method, status, x.reason, took)
	x.trace(name, status, took)
	x.log(name, status, took)
	if v != nil {
		panic(http.ErrAbortHandler) // the answer is torn: the client must see that
	}
}

// slowCall is from when on a call that is not a stream is kept as slow.
const slowCall = time.Second

// trace ends the exchange's span. One that went wrong, or took too long, and whose trace
// is not kept leaves a span all the same: that of the gateway alone, made now.
func (x *exchange) trace(route string, status int, took time.Duration) {
	why := ""
	switch {
	case status >= http.StatusInternalServerError:
		why = "error"
	case took >= slowCall && x.route != nil && x.route.who == byMethod && !x.streams():
		why = "slow"
	}
	if why != "" && !x.span.IsRecording() && x.g.tracer.On() {
		id := trace.SpanContextFromContext(x.r.Context()).TraceID()
		_, x.span = x.g.tracer.Start(span.Root(context.Background(), id, false), "gateway",
			trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.start), trace.WithAttributes(span.Kept.String(why)))
	}
	if !x.span.IsRecording() {
		return
	}
	at := route
	if _, known := x.g.methods[x.r.URL.Path]; known {
		at = x.r.URL.Path
		x.span.SetAttributes(attribute.String("rpc.method", at))
	}
	x.span.SetName(x.method() + " " + at)
	x.span.SetAttributes(attribute.String("http.request.method", x.method()), attribute.String("http.route", route),
		attribute.Int("http.response.status_code", status), attribute.String("segue.request_id", x.id))
	if x.reason != "" {
		x.span.SetAttributes(attribute.String("segue.refused", x.reason))
	}
	if status >= http.StatusInternalServerError {
		x.span.SetStatus(codes.Error, x.reason)
	}
	x.span.End()
}

// close lets go of what the exchange holds.
func (x *exchange) close() {
	x.ending.Lock()
	x.ended = true
	x.ending.Unlock()
	x.cancel(nil)
	x.g.buffered.Add(-x.reserved)
}

// log writes the access log: no query, no header, no token.
func (x *exchange) log(route string, status int, took time.Duration) {
	level := slog.LevelInfo
	if x.route != nil && x.route.serve == serveHealth {
		level = slog.LevelDebug
	}
	x.g.deps.Log.LogAttrs(x.r.Context(), level, "request",
		slog.String("method", x.method()), slog.String("route", route), slog.String("path", clip(x.r.URL.Path, 256)),
		slog.Int("status", status), slog.Int64("bytes", x.w.bytes), slog.Duration("took", took), slog.String("request", x.id),
		slog.String("user", x.user), slog.String("ip", x.ip.String()), slog.String("proto", x.r.Proto), slog.String("refused", x.reason))
}

// method is the request's method as far as it is one of HTTP: the rest is a client's invention.
func (x *exchange) method() string { return knownMethod(x.r.Method) }

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "OTHER"
}

// refusal is an answer of the gateway's own.
type refusal struct {
	status int
	code   connect.Code // for RPC clients; 0 answers every client in plain text
	reason string       // for metrics and logs
	text   string       // for the client
	retry  time.Duration
	bearer string // WWW-Authenticate
}

// refuse answers in the words that the client's protocol has for it.
func (x *exchange) refuse(f refusal) {
	x.reason = f.reason
	if x.w.status != 0 {
		return
	}
	x.await(time.Second)
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	if f.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((f.retry+time.Second-1)/time.Second), 10))
	}
	if f.bearer != "" {
		h.Set("WWW-Authenticate", f.bearer)
	}
	if f.code != 0 && x.route != nil && x.route.who == byMethod && x.g.errors.IsSupported(x.r) {
		_ = x.g.errors.Write(x.w, x.r, connect.NewError(f.code, errors.New(f.text))) // a client that went away
		return
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	x.w.WriteHeader(f.status)
	if x.r.Method != http.MethodHead {
		_, _ = fmt.Fprintf(x.w, "%s\n", f.text) // a client that went away
	}
}

// fail is refuse for what is our own fault.
func (x *exchange) fail(err error) {
	x.g.deps.Log.ErrorContext(x.r.Context(), "request failed", "request", x.id, "err", err)
	x.refuse(refusal{status: http.StatusInternalServerError, code: connect.CodeInternal, reason: "internal", text: "internal error"})
}

func (x *exchange) tooMany(reason string, retry time.Duration) {
	x.refuse(refusal{status: http.StatusTooManyRequests, code: connect.CodeResourceExhausted, reason: reason, text: "too many requests", retry: retry})
}

func notFound(reason string) refusal {
	return refusal{status: http.StatusNotFound, reason: reason, text: "not found"}
}

func tooLarge() refusal {
	return refusal{status: http.StatusRequestEntityTooLarge, code: connect.CodeResourceExhausted, reason: "too_large", text: "request is too large"}
}

// clientIP is the peer, or whom trusted proxies name as theirs: the right-most address
// of X-Forwarded-For that is none of them.
func clientIP(r *http.Request, trusted prefixes) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv4Unspecified()
	}
	ip := peer.Addr().Unmap().WithZone("")
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusted.contain(ip); i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			break
		}
		ip = hop.Unmap().WithZone("")
	}
	return ip
}

func userAgent(r *http.Request) string { return clip(r.UserAgent(), 256) }

// clip cuts s to n bytes of valid UTF-8.
func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
