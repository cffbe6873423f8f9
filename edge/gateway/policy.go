package gateway

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	headerCSP  = "Content-Security-Policy"
	headerCORP = "Cross-Origin-Resource-Policy"
	// headerCORS stands for all Access-Control headers in a route's list.
	headerCORS = "Access-Control-Allow-Origin"
)

// policyHeaders are the headers that the gateway puts on every answer.
func policyHeaders() []string {
	return []string{
		headerCSP, headerCORP, "Cross-Origin-Opener-Policy", "Cross-Origin-Embedder-Policy", "X-Content-Type-Options", "Referrer-Policy",
		"Permissions-Policy", "Strict-Transport-Security", "X-Frame-Options",
	}
}

// leaves reports whether the route lets its target set a header of policy.
func (r *route) leaves(header string) bool { return slices.Contains(r.own, header) }

// policy completes an answer's header just before it leaves.
func (x *exchange) policy(h http.Header) {
	set := func(name, value string) {
		if x.route == nil || !x.route.leaves(name) || h.Get(name) == "" {
			h.Set(name, value)
		}
	}
	set(headerCSP, contentSecurityPolicy(x.connectSources()))
	set(headerCORP, "same-origin")
	set("Cross-Origin-Opener-Policy", "same-origin")
	set("Cross-Origin-Embedder-Policy", "require-corp")
	set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: it would make browsers send "Origin: null" with our own forms.
	set("Referrer-Policy", "same-origin")
	set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), midi=(), payment=(), usb=()")
	if x.g.deps.HSTS && x.r.TLS != nil {
		set("Strict-Transport-Security", "max-age=31536000")
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
}

// contentSecurityPolicy is the page's policy; connect are origins besides its own.
func contentSecurityPolicy(connect []string) string {
	return "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src " +
		strings.Join(append([]string{"'self'"}, connect...), " ") +
		"; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
}

// connectSources asks for the origins of the QUIC listener and the CDN as the client
// sees them. The host is the client's word: only a plain name or address is passed on.
func (x *exchange) connectSources() []string {
	if x.g.deps.ConnectSources == nil {
		return nil
	}
	host := x.r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "" || len(host) > 253 || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:") != "" {
		return nil
	}
	var out []string
	for _, s := range x.g.deps.ConnectSources(host) {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != s || strings.ContainsAny(s, " ;,'\"") {
			x.g.deps.Log.WarnContext(x.r.Context(), "connect source is not an origin", "source", s)
			continue
		}
		out = append(out, s)
	}
	return out
}

// cors lets pages of configured origins call the API. They carry a bearer token; cookies
// never cross an origin.
type cors struct {
	configured []string
	public     func() []string
}

// answer sets the CORS headers and answers a preflight; true when that is all.
func (c cors) answer(w http.ResponseWriter, r *http.Request, rt *route) bool {
	origin := r.Header.Get("Origin")
	if rt.allows(http.MethodOptions) {
		return false
	}
	preflight := r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != ""
	if len(c.configured) > 0 {
		w.Header().Add("Vary", "Origin")
	}
	if origin != "" && (slices.Contains(c.configured, origin) || slices.Contains(c.public(), origin)) {
		h := w.Header()
		h.Set(headerCORS, origin)
		h.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id, WWW-Authenticate, Location, Tus-Resumable, Upload-Offset, Upload-Length, "+
			"Content-Encoding, Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin")
		if preflight {
			h.Set("Access-Control-Allow-Methods", strings.Join(rt.methods, ", "))
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Content-Encoding, Accept, Connect-Protocol-Version, Connect-Timeout-Ms, "+
				"Connect-Accept-Encoding, Connect-Content-Encoding, Grpc-Timeout, X-Grpc-Web, X-User-Agent, Tus-Resumable, Upload-Length, Upload-Offset, "+
				"Upload-Metadata, Range, If-None-Match, Idempotency-Key, Traceparent")
			h.Set("Access-Control-Max-Age", "7200")
		}
	}
	if preflight {
		w.WriteHeader(http.StatusNoContent)
	}
	return preflight
}

// dropCORS takes the CORS headers out of h.
func dropCORS(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
}

// crossSite reports whether a browser says that another site sent the request. On routes
// with cookies only the server's own pages and configured ones may change anything.
func (c cors) crossSite(r *http.Request) bool {
	guard := http.NewCrossOriginProtection()
	for _, o := range slices.Concat(c.public(), c.configured) {
		_ = guard.AddTrustedOrigin(o) // Check has refused what is no origin
	}
	return guard.Check(r) != nil
}
