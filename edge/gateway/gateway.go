// Package gateway is the only public HTTP door. It bounds what comes in, says who it is
// and passes it on to the service that the route table names; everything else it serves
// are the web player's files and two health pages.
//
// What reaches a service from outside carries an identity token that the gateway minted,
// and nothing that a client could have put in its place. What the table does not name is
// refused.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/overload"
	"github.com/segue-music/segue/internal/ratelimit"
	"github.com/segue-music/segue/internal/rpc"
	"github.com/segue-music/segue/internal/span"
)

// Self is the name by which services know the gateway.
const Self = "gateway"

// Backend is one service behind the gateway.
type Backend struct {
	// Transport reaches it, in process or over the network. One that is an http.Handler as
	// well, as rpc.InProcess is, writes objects straight to their clients.
	Transport http.RoundTripper
	// Base is its scheme and host.
	Base *url.URL
}

// Deps are what a Gateway needs. Tracer, Metrics, TrustPages, Ready, Alive, Profiles,
// ConnectSources, SharedLimits and OnRefused may be nil.
type Deps struct {
	Config Config
	// Backends by target: user, metadata, upload, playback, collect, warehouse, charts, edge. A
	// route whose target is missing answers 503.
	Backends map[string]Backend
	// Verify checks an access token; an error without a kind counts as a bad token.
	Verify func(ctx context.Context, token string) (accesstoken.Claims, error)
	// Mint makes the identity token for a call to a target.
	Mint func(target string, i identity.Identity) (string, error)
	// Static holds the web player: index.html, assets/ with hashed names, and any of
	// them again as NAME.br or NAME.gz. Nil serves none.
	Static fs.FS
	// TrustPages answers /trust and below.
	TrustPages http.Handler
	// PublicOrigins are where the web player is reached, for example https://music.example.org.
	// They are told only once the listener is bound.
	PublicOrigins func() []string
	// ConnectSources are further sources of the page's connect-src (QUIC, CDN) for a
	// request that came to host, which has no port; each is an origin.
	ConnectSources func(host string) []string
	// HSTS says that the certificate is one that every browser trusts.
	HSTS bool
	// Ready tells whether the process can serve; /readyz says so.
	Ready func(ctx context.Context) error
	// Alive tells whether the process is stuck; /livez says so.
	Alive func() error
	// Profiles serves those of this process below /debug/pprof/, for the role admin.
	Profiles http.Handler
	// SharedLimits has several gateways count together; nil counts here alone.
	SharedLimits ratelimit.Shared
	// OnRefused is told of refused access. The caller's identity, where one is known, is
	// in ctx. It must not block.
	OnRefused func(ctx context.Context, procedure, reason string)

	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string
	Metrics prometheus.Registerer
	Tracer  trace.TracerProvider
}

// Gateway is the public HTTP door.
type Gateway struct {
	deps    Deps
	trusted prefixes
	routes  []route
	methods map[string]method
	site    *site
	limits  *limits
	shed    *shedder
	// open are all exchanges, also those that only wait for their client.
	open     *places[*exchange]
	buffered atomic.Int64 // bytes of bodies beyond the small ones
	cors     cors
	proxies  map[string]http.Handler
	direct   map[string]http.Handler // of targets in this process
	buffers  *copyBuffers
	errors   *connect.ErrorWriter
	tracer   span.Tracer
	metrics  *metrics

	draining atomic.Bool
	streams  context.Context //nolint:containedctx // ends every stream when the gateway drains
	drain    context.CancelFunc
}

// New makes a gateway. It reads all of Static.
func New(d Deps) (*Gateway, error) {
	if err := d.Config.Check(); err != nil {
		return nil, fmt.Errorf("configure gateway: %w", err)
	}
	if d.Verify == nil || d.Mint == nil || d.Now == nil || d.NewID == nil || d.Log == nil {
		return nil, errors.New("make gateway: Verify, Mint, Now, NewID and Log are needed")
	}
	if d.PublicOrigins == nil {
		d.PublicOrigins = func() []string { return nil }
	}
	g := &Gateway{
		deps: d, routes: table(d.Config), methods: publicMethods(), limits: newLimits(d.Config, d.Now(), d.SharedLimits),
		shed: newShedder(d.Config, overload.NewLimit(d.Config.MaxRequests, overload.NewSchedLatency().Late, d.Now)), open: newPlaces[*exchange](d.Config.MaxStreams, d.Config.MaxStreams/4),
		proxies: map[string]http.Handler{}, direct: map[string]http.Handler{}, buffers: &copyBuffers{}, errors: connect.NewErrorWriter(), tracer: span.NewTracer(d.Tracer),
	}
	var err error
	if g.trusted, err = parsePrefixes(d.Config.TrustedProxies); err != nil {
		return nil, fmt.Errorf("configure gateway: %w", err)
	}
	g.cors = cors{configured: splitList(d.Config.CORSOrigins), public: d.PublicOrigins}
	if g.site, err = loadSite(d.Static); err != nil {
		return nil, fmt.Errorf("read web player: %w", err)
	}
	if g.metrics, err = newMetrics(d.Metrics); err != nil {
		return nil, fmt.Errorf("register gateway metrics: %w", err)
	}
	for target, b := range d.Backends {
		if b.Transport == nil || b.Base == nil {
			return nil, fmt.Errorf("make gateway: backend %s has no transport or no base", target)
		}
		g.proxies[target] = g.proxy(target, b)
		if h, ok := b.Transport.(http.Handler); ok {
			g.direct[target] = h
		}
	}
	g.streams, g.drain = context.WithCancel(context.Background())
	return g, nil
}

// Handler serves everything. [Gateway.Serve] bounds connections as well.
func (g *Gateway) Handler() http.Handler { return http.HandlerFunc(g.serveHTTP) }

// Drain makes /readyz say so and ends the streams; everything else is still served.
func (g *Gateway) Drain() {
	g.draining.Store(true)
	g.drain()
}

func (g *Gateway) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if g.turnAway(w, r) {
		return
	}
	x := g.begin(w, r)
	defer x.end()
	x.handle()
}

// handle goes from the cheapest check to the dearest.
func (x *exchange) handle() {
	g, r := x.g, x.r
	if why := checkPath(r); why != "" {
		x.refuse(refusal{status: http.StatusBadRequest, reason: "path", text: why})
		return
	}
	x.route = match(g.routes, r.URL.Path)
	if x.route.serve == serveHealth {
		x.health()
		return
	}
	if g.cors.answer(x.w, r, x.route) {
		return
	}
	if !x.route.allows(r.Method) {
		x.w.Header().Set("Allow", strings.Join(x.route.methods, ", "))
		x.refuse(refusal{status: http.StatusMethodNotAllowed, reason: "method", text: "method not allowed"})
		return
	}
	if x.route.who == byMethod && !x.findMethod() {
		x.refuse(notFound("method"))
		return
	}
	if x.route.cookies && g.cors.crossSite(r) {
		x.refuse(refusal{status: http.StatusForbidden, reason: "cross_site", text: "requests of other sites are refused here"})
		return
	}
	who := identity.Identity{Target: Self, IP: x.ip.String(), UserAgent: userAgent(r), RequestID: x.id}
	r = r.WithContext(identity.With(r.Context(), who))
	x.r = r
	place, victim, _ := g.open.take(x.ip, false, x, working)
	if victim != nil {
		victim.holder.cut()
	}
	if place == nil {
		x.refuse(overloaded())
		return
	}
	defer place.leave()
	if retry, ok := g.limits.address(x.r.Context(), g.deps.Now(), x.route.class, x.ip); !ok {
		x.tooMany("rate_ip", retry)
		return
	}
	who, bad := x.admit(who)
	if bad != nil {
		x.refuse(*bad)
		return
	}
	x.user = who.UserID
	if who.UserID != "" {
		if retry, ok := g.limits.account(x.r.Context(), g.deps.Now(), x.route.class, who.UserID); !ok {
			x.tooMany("rate_user", retry)
			return
		}
	}
	x.forward(who)
}

// forward bounds the request and hands it to what serves the route.
func (x *exchange) forward(who identity.Identity) {
	if x.r.ContentLength > x.route.body {
		x.refuse(tooLarge())
		return
	}
	defer x.bound()()
	if !x.streams() {
		if !x.receive() {
			return
		}
		leave, ok := x.g.shed.enter(x.route.target, ratelimit.Network(x.ip), x.route.importance())
		if !ok {
			x.refuse(overloaded())
			return
		}
		defer leave()
		x.worked = leave
	}
	switch x.route.serve {
	case serveSite:
		x.g.site.ServeHTTP(x.w, x.r)
	case serveProfiles:
		x.profiles()
	case serveTrust:
		if x.g.deps.TrustPages == nil {
			x.refuse(notFound("route"))
			return
		}
		x.g.deps.TrustPages.ServeHTTP(x.w, x.r)
	default:
		proxy, ok := x.g.proxies[x.route.target]
		if !ok {
			x.refuse(refusal{status: http.StatusServiceUnavailable, code: connect.CodeUnavailable, reason: "no_backend", text: "service is not running"})
			return
		}
		token, err := x.g.deps.Mint(x.route.target, who)
		if err != nil {
			x.fail(fmt.Errorf("mint identity token: %w", err))
			return
		}
		x.token = token
		if h, ok := x.g.direct[x.route.target]; ok && x.route.bulk {
			x.serveDirect(h)
			return
		}
		x.r.Header.Del("Upgrade") // the proxy would hand over the connection
		proxy.ServeHTTP(x.w, x.r.WithContext(context.WithValue(x.r.Context(), exchangeKey{}, x)))
	}
}

// health answers /livez and /readyz, which never wait in line.
func (x *exchange) health() {
	h := x.w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	if !x.route.allows(x.r.Method) {
		h.Set("Allow", strings.Join(x.route.methods, ", "))
		x.refuse(refusal{status: http.StatusMethodNotAllowed, reason: "method", text: "method not allowed"})
		return
	}
	if x.r.URL.Path == "/readyz" {
		switch {
		case x.g.draining.Load():
			x.refuse(refusal{status: http.StatusServiceUnavailable, reason: "draining", text: "draining", retry: 5 * time.Second})
			return
		case x.g.deps.Ready != nil:
			ctx, cancel := context.WithTimeout(x.r.Context(), 5*time.Second)
			defer cancel()
			if err := x.g.deps.Ready(ctx); err != nil {
				x.g.deps.Log.WarnContext(ctx, "not ready", "err", err)
				x.refuse(refusal{status: http.StatusServiceUnavailable, reason: "not_ready", text: "not ready", retry: time.Second})
				return
			}
		}
	}
	if x.r.URL.Path == "/livez" && x.g.deps.Alive != nil {
		if err := x.g.deps.Alive(); err != nil {
			x.g.deps.Log.ErrorContext(x.r.Context(), "stuck", "err", err)
			x.refuse(refusal{status: http.StatusServiceUnavailable, reason: "stuck", text: "stuck", retry: 5 * time.Second})
			return
		}
	}
	_, _ = x.w.Write([]byte("ok\n")) // a client that went away
}

// internalHeader names what only this side of the door may set.
func internalHeader(name string) bool {
	n := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return n == strings.ToLower(rpc.Header) || strings.HasPrefix(n, "segue-internal-")
}
