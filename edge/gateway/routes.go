package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
)

// serve says what answers a route; the zero value is the route's target.
type serve uint8

const (
	serveTarget serve = iota
	serveSite
	serveTrust
	serveHealth
	serveProfiles
)

// admission says whom a route admits.
type admission uint8

const (
	nobody   admission = iota // deny is the default
	anyone                    // no token is looked at; the target decides by means of its own
	byMethod                  // the access option of the RPC method
	byRole                    // an access token with one of the route's roles
)

// route is one row of the table: which requests, to whom, and within which bounds.
type route struct {
	prefix  string // ends with "/" or ".": everything below; else exactly this path
	target  string
	serve   serve
	who     admission
	roles   []authv1.Role // of byRole
	methods []string
	class   class
	body    int64         // bytes
	read    time.Duration // for the whole body; per read when it streams
	write   time.Duration // for the whole answer; per write when it streams
	stream  bool          // no limit in time as long as bytes flow, or nobody waits for any
	cookies bool          // carries the sign-in cookie: cross-site requests are refused
	cookie  string        // the one cookie of the target's that it carries; without cookies
	bulk    bool          // answers are long, and as the target makes them
	bearer  bool          // the Authorization header is the target's to read
	own     []string      // headers of policy that the target may set itself
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

// table is every route of the public door. Longest prefix wins.
func table(c Config) []route {
	get := []string{http.MethodGet, http.MethodHead}
	post := []string{http.MethodPost}
	preflighted := append([]string{http.MethodOptions}, get...) // the target answers preflights itself
	publisher := []authv1.Role{authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_LABEL, authv1.Role_ROLE_ADMIN}
	const quick, slow = 10 * time.Second, 30 * time.Second
	// The sign-in form and media that other sites embed know their own needs best.
	page := []string{headerCSP}
	media := []string{headerCORP, headerCORS}
	const signed = "Cloud-CDN-Cookie" // leave to read objects, which a CDN passes on

	return []route{
		{prefix: "/segue.user.v1.", target: "user", who: byMethod, methods: post, class: ClassRPC, body: mib, read: quick, write: slow},
		{prefix: "/segue.metadata.v1.", target: "metadata", who: byMethod, methods: post, class: ClassRPC, body: mib, read: quick, write: slow},
		{prefix: "/segue.upload.v1.", target: "upload", who: byMethod, methods: post, class: ClassRPC, body: mib, read: quick, write: slow},
		{prefix: "/segue.playback.v1.", target: "playback", who: byMethod, methods: post, class: ClassRPC, body: 2 * mib, read: quick, write: slow},
		{prefix: "/segue.collect.v1.", target: "collect", who: byMethod, methods: post, class: ClassEvents, body: 2 * mib, read: quick, write: slow},
		{prefix: "/segue.warehouse.v1.", target: "warehouse", who: byMethod, methods: post, class: ClassRPC, body: mib, read: quick, write: 2 * time.Minute},
		{prefix: "/segue.charts.v1.", target: "charts", who: byMethod, methods: post, class: ClassRPC, body: 64 * kib, read: quick, write: slow},

		{prefix: "/oauth/", target: "user", who: anyone, methods: append(post, get...), class: ClassLogin, body: 64 * kib, read: quick, write: slow, cookies: true, bearer: true, own: page},
		{prefix: "/login", target: "user", who: anyone, methods: append(post, get...), class: ClassLogin, body: 64 * kib, read: quick, write: slow, cookies: true, own: page},
		{prefix: "/login/", target: "user", who: anyone, methods: append(post, get...), class: ClassLogin, body: 64 * kib, read: quick, write: slow, cookies: true, own: page},
		{prefix: "/.well-known/", target: "user", who: anyone, methods: get, class: ClassPage, read: quick, write: slow, own: []string{headerCORS}},

		{prefix: "/upload/v1/files/", target: "upload", who: byRole, roles: publisher, class: ClassUpload, body: c.MaxUpload, read: slow, write: time.Minute, stream: true,
			methods: []string{http.MethodPost, http.MethodHead, http.MethodPatch, http.MethodDelete}},
		{prefix: "/upload/v1/bucket", target: "upload", who: anyone, methods: post, class: ClassUpload, body: mib, read: quick, write: slow, bearer: true},
		{prefix: "/artwork/", target: "metadata", who: anyone, methods: get, class: ClassMedia, read: quick, write: slow, own: media},
		{prefix: "/stream/v1/", target: "edge", who: anyone, methods: append(post, preflighted...), class: ClassMedia, body: 64 * kib, read: quick, write: slow, stream: true, bearer: true, cookie: signed, own: media},
		{prefix: "/o/", target: "edge", who: anyone, methods: preflighted, class: ClassMedia, read: quick, write: slow, stream: true, bulk: true, bearer: true, cookie: signed, own: media},

		{prefix: adminPath + "/debug/pprof/", serve: serveProfiles, who: byRole, roles: []authv1.Role{authv1.Role_ROLE_ADMIN}, methods: get, class: ClassRPC, read: quick, write: profileTime},
		{prefix: "/livez", serve: serveHealth, who: anyone, methods: get},
		{prefix: "/readyz", serve: serveHealth, who: anyone, methods: get},
		{prefix: "/trust", serve: serveTrust, who: anyone, methods: get, class: ClassPage, read: quick, write: slow},
		{prefix: "/trust/", serve: serveTrust, who: anyone, methods: get, class: ClassPage, read: quick, write: slow},
		{prefix: "/", serve: serveSite, who: anyone, methods: get, class: ClassPage, read: quick, write: slow},
	}
}

func (r *route) allows(method string) bool { return slices.Contains(r.methods, method) }

// covers reports whether path is one of the route's.
func (r *route) covers(path string) bool {
	if strings.HasSuffix(r.prefix, "/") || strings.HasSuffix(r.prefix, ".") {
		return strings.HasPrefix(path, r.prefix)
	}
	return path == r.prefix
}

// match finds the route of a path that checkPath has let through. There always is one:
// what nothing else covers belongs to the web player.
func match(routes []route, path string) *route {
	var best *route
	for i := range routes {
		if r := &routes[i]; r.covers(path) && (best == nil || len(r.prefix) > len(best.prefix)) {
			best = r
		}
	}
	return best
}

// checkPath says what is wrong with a path that could mean one thing here and another
// behind: an encoded slash, dot or percent sign, a dot segment, a doubled slash, a
// backslash, a control character.
func checkPath(r *http.Request) string {
	p := r.URL.Path
	if p == "" || p[0] != '/' || r.Method == http.MethodConnect {
		return "path must begin with a slash"
	}
	if len(p) > 2048 {
		return "path is too long"
	}
	raw := r.URL.EscapedPath()
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		switch strings.ToLower(raw[i+1 : i+3]) {
		case "2f", "5c", "2e", "25", "00":
			return "path has an encoded separator"
		}
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\' {
			return "path has a forbidden character"
		}
	}
	if !utf8.ValidString(p) || strings.Contains(p, "//") {
		return "path is not clean"
	}
	for seg := range strings.SplitSeq(p, "/") {
		if seg == "." || seg == ".." {
			return "path is not clean"
		}
	}
	return ""
}

// Routes are the prefixes of the public door's table, for those who hold every one of
// them to something.
func Routes() []string {
	var out []string
	for _, r := range table(Config{}) {
		out = append(out, r.prefix)
	}
	return out
}
