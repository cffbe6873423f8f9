package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/span"
)

// errHalfBody says that the target did not get the whole request.
var errHalfBody = errors.New("request body is incomplete")

// proxy hands requests on to one target.
func (g *Gateway) proxy(target string, b Backend) http.Handler {
	return &httputil.ReverseProxy{
		Transport:     b.Transport,
		FlushInterval: -1, // a stream's message leaves when it comes
		BufferPool:    g.buffers,
		ErrorLog:      slog.NewLogLogger(g.deps.Log.Handler(), slog.LevelDebug),
		Rewrite: func(pr *httputil.ProxyRequest) {
			x := exchangeOf(pr.In.Context())
			pr.SetURL(b.Base)
			pr.Out.Trailer = nil
			// Behind what Connection names, so that no client can take it away.
			x.tell(pr.Out.Context(), pr.Out.Header, pr.In.Host)
		},
		ModifyResponse: func(res *http.Response) error {
			x := exchangeOf(res.Request.Context())
			if x.over.Load() || x.slow() {
				return errHalfBody // whatever the target made of it
			}
			if err := res.Request.Context().Err(); err != nil {
				return err // it answers because it was told to stop
			}
			if res.StatusCode == http.StatusForbidden && x.route.who != anyone && target != "user" {
				x.denied(refusal{}, "refused by "+target) // the user service tells of its own
			}
			cleanResponse(res.Header, x.route)
			if res.Header.Get(headerCORS) != "" {
				dropCORS(x.w.Header()) // two answers to one question are refused by browsers
			}
			if res.StatusCode == http.StatusUnauthorized && x.route.who != anyone && res.Header.Get("WWW-Authenticate") == "" {
				res.Header.Set("WWW-Authenticate", challenge)
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) {
			exchangeOf(r.Context()).unreachable(target, err)
		},
	}
}

// tell cleans the headers for a target and adds what the gateway knows.
func (x *exchange) tell(ctx context.Context, h http.Header, host string) {
	cleanRequest(h, x.route)
	h.Set("X-Forwarded-For", x.ip.String())
	h.Set("X-Forwarded-Host", host)
	h.Set("X-Forwarded-Proto", x.scheme())
	h.Set("X-Request-Id", x.id)
	span.Inject(ctx, h)
	h.Set(rpc.Header, x.token)
}

// copyBuffers are what answers are copied through. Without it each request makes its own,
// of 32 KB for an answer of a few bytes.
type copyBuffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (c *copyBuffers) Get() []byte {
	if b, ok := c.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

// Put implements httputil.BufferPool.
func (c *copyBuffers) Put(b []byte) { c.pool.Put(&b) }

// exchangeOf is the exchange that forward put into the context of everything it proxies.
func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// unreachable answers for a target that did not. A fault of the client's is told apart.
func (x *exchange) unreachable(target string, err error) {
	f, broken := x.broken()
	switch {
	case broken:
		x.refuse(f)
	case errors.Is(x.r.Context().Err(), context.DeadlineExceeded):
		x.refuse(refusal{status: http.StatusGatewayTimeout, code: connect.CodeDeadlineExceeded, reason: "timeout", text: "service took too long"})
	case errors.Is(err, context.Canceled), errors.Is(x.r.Context().Err(), context.Canceled):
		x.reason = "client_gone"
		panic(http.ErrAbortHandler)
	default:
		x.g.deps.Log.WarnContext(x.r.Context(), "service is not reachable", "target", target, "request", x.id, "err", err)
		x.refuse(refusal{status: http.StatusServiceUnavailable, code: connect.CodeUnavailable, reason: "unreachable", text: "service is not reachable", retry: time.Second})
	}
}

func (x *exchange) scheme() string {
	if x.r.TLS != nil {
		return "https"
	}
	return "http"
}

// cleanRequest takes out what a client may not say to a service: who it is, over which
// hops it came, which method or path it really means.
func cleanRequest(h http.Header, rt *route) {
	for name := range h {
		n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
		switch {
		case internalHeader(name), strings.HasPrefix(n, "x-forwarded"), strings.HasPrefix(n, "x-original"), strings.HasPrefix(n, "x-rewrite"),
			strings.HasPrefix(n, "x-client-ip"), strings.HasPrefix(n, "x-envoy"):
			delete(h, name)
		}
	}
	for _, name := range []string{
		"Forwarded", "X-Real-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-Cluster-Client-Ip", "X-Http-Method-Override", "X-Http-Method",
		"X-Method-Override", "X-Request-Id", "Traceparent", "Tracestate", "Baggage", "Via", "Expect",
	} {
		h.Del(name)
	}
	if !rt.bearer {
		h.Del("Authorization")
	}
	if !rt.cookies {
		sent := http.Request{Header: http.Header{"Cookie": h["Cookie"]}}
		h.Del("Cookie")
		if c, err := sent.Cookie(rt.cookie); err == nil {
			h.Set("Cookie", c.Name+"="+c.Value)
		}
	}
}

// cleanResponse takes out what a service may not say to a client on this route.
func cleanResponse(h http.Header, rt *route) {
	for name := range h {
		if internalHeader(strings.TrimPrefix(name, textproto.CanonicalMIMEHeaderKey(http.TrailerPrefix))) {
			delete(h, name)
		}
	}
	for _, name := range []string{"Server", "X-Powered-By", "X-Request-Id", "Alt-Svc", "Service-Worker-Allowed"} {
		h.Del(name)
	}
	if !rt.cookies {
		set := slices.DeleteFunc(h["Set-Cookie"], func(c string) bool { return rt.cookie == "" || !strings.HasPrefix(c, rt.cookie+"=") })
		if h.Del("Set-Cookie"); len(set) > 0 {
			h["Set-Cookie"] = set
		}
	}
	for _, name := range policyHeaders() {
		if !rt.leaves(name) {
			h.Del(name)
		}
	}
	if !rt.leaves(headerCORS) {
		dropCORS(h)
	}
}
