package gateway_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/edge/gateway"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

const ip = "192.0.2.1"

func TestPage_Policy(t *testing.T) {
	const policy = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'%s; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
	w := newWorld(t)
	for _, path := range []string{"/", "/assets/app-1a2b3c4d.js", "/none.js", "/artwork/a/1", "//", "/livez"} {
		h := get(w, path, ip).Header()
		for name, want := range map[string]string{
			"Content-Security-Policy": strings.Replace(policy, "%s", "", 1), "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp",
			"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Strict-Transport-Security": "",
		} {
			if got := strings.Join(h.Values(name), "|"); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		if h.Get("Permissions-Policy") == "" || h.Get("X-Request-Id") == "" {
			t.Errorf("%s: %v", path, h)
		}
	}
	w.deps.ConnectSources = func(host string) []string {
		return []string{"https://" + host + ":4433", "https://cdn.example.org", "https://evil.test; script-src *", "data:", "*"}
	}
	w.deps.Log = quiet()
	w.build()
	r := httptest.NewRequest(http.MethodGet, "http://music.local:8420/", nil)
	res := httptest.NewRecorder()
	w.gw.Handler().ServeHTTP(res, r)
	if diff := cmp.Diff(strings.Replace(policy, "%s", " https://music.local:4433 https://cdn.example.org", 1), res.Header().Get("Content-Security-Policy")); diff != "" {
		t.Errorf("policy (-want +got):\n%s", diff)
	}
	for _, host := range []string{"a; script-src *", "a b", "a'", strings.Repeat("a", 300), ""} {
		r.Host = host
		res := httptest.NewRecorder()
		w.gw.Handler().ServeHTTP(res, r)
		if got := res.Header().Get("Content-Security-Policy"); got != strings.Replace(policy, "%s", "", 1) {
			t.Errorf("host %q: %s", host, got)
		}
	}
}

func TestPage_PolicyOfTargets(t *testing.T) {
	w := newWorld(t)
	w.answer = func(_ string, rw http.ResponseWriter, _ *http.Request) {
		h := rw.Header()
		h.Set("Content-Security-Policy", "default-src 'none'")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("X-Content-Type-Options", "sniff")
		h.Set("Set-Cookie", "a=b")
		h.Set("Server", "x")
		h.Set("Segue-Identity", "secret")
	}
	login, object, wellKnown := get(w, "/login", ip).Header(), get(w, "/o/x", ip).Header(), get(w, "/.well-known/x", ip).Header()
	if login.Get("Content-Security-Policy") != "default-src 'none'" || login.Get("Set-Cookie") == "" || login.Get("Cross-Origin-Resource-Policy") != "same-origin" {
		t.Errorf("login: %v", login)
	}
	if object.Get("Cross-Origin-Resource-Policy") != "cross-origin" || object.Get("Access-Control-Allow-Origin") != "*" || object.Get("Set-Cookie") != "" ||
		object.Get("Content-Security-Policy") == "default-src 'none'" {
		t.Errorf("object: %v", object)
	}
	if wellKnown.Get("Content-Security-Policy") == "default-src 'none'" || wellKnown.Get("Access-Control-Allow-Origin") != "*" || wellKnown.Get("Set-Cookie") != "" {
		t.Errorf("well-known: %v", wellKnown)
	}
	for name, h := range map[string]http.Header{"login": login, "object": object, "well-known": wellKnown} {
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Server") != "" || h.Get("Segue-Identity") != "" || len(h.Values("Content-Security-Policy")) != 1 {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestPage_CookieOfTheCDN: on the way to objects one cookie passes, both ways, and no other.
func TestPage_CookieOfTheCDN(t *testing.T) {
	w := newWorld(t)
	w.answer = func(_ string, rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Add("Set-Cookie", "a=b")
		rw.Header().Add("Set-Cookie", "Cloud-CDN-Cookie=URLPrefix=x==:Expires=1; Path=/o/")
	}
	const sent = "Cloud-CDN-Cookie=URLPrefix=x==:Expires=1:KeyName=k:Signature=s="
	for path, carries := range map[string]bool{"/o/x": true, "/stream/v1/play": true, "/artwork/x": false, "/.well-known/x": false} {
		set := get(w, path, ip, "Cookie", "a=secret; "+sent+"; b=secret").Header().Values("Set-Cookie")
		got := w.seen[len(w.seen)-1].header.Values("Cookie")
		switch {
		case carries && (!slices.Equal(got, []string{sent}) || len(set) != 1 || !strings.HasPrefix(set[0], "Cloud-CDN-Cookie=")):
			t.Errorf("%s: asked with %q, answered with %q", path, got, set)
		case !carries && len(got)+len(set) > 0:
			t.Errorf("%s carries %q and %q", path, got, set)
		}
	}
}

func TestPage_HSTS(t *testing.T) {
	w := newWorld(t, func(d *gateway.Deps) { d.HSTS = true })
	if got := get(w, "/", ip).Header().Get("Strict-Transport-Security"); got != "" {
		t.Errorf("in the clear: %q", got)
	}
	base, c := w.listenTLS()
	res, err := c.Get(base + "/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := res.Header.Get("Strict-Transport-Security"); !strings.HasPrefix(got, "max-age=") {
		t.Errorf("over TLS: %q", got)
	}
}

func TestPage_Files(t *testing.T) {
	w := newWorld(t)
	const js = "/assets/app-1a2b3c4d.js"
	const immutable = "public, max-age=31536000, immutable"
	for name, c := range map[string]struct {
		path   string
		header []string
		status int
		body   string
		cache  string
		coding string
	}{
		"index":           {"/", nil, 200, "<!doctype html>", "no-cache", ""},
		"page_of_the_app": {"/album/abc", []string{"Accept", "text/html"}, 200, "<!doctype html>", "no-cache", ""},
		"callback":        {"/callback", []string{"Accept", "text/html,*/*"}, 200, "<!doctype html>", "no-cache", ""},
		"not_a_page":      {"/album/abc", []string{"Accept", "*/*"}, 404, "not found", "no-store", ""},
		"missing_file":    {"/album/abc.js", []string{"Accept", "text/html"}, 404, "not found", "no-store", ""},
		"missing_asset":   {"/assets/abc", []string{"Accept", "text/html"}, 404, "not found", "no-store", ""},
		"unknown_rpc":     {"/segue.secret.v1.S/M", []string{"Accept", "text/html"}, 404, "not found", "no-store", ""},
		"plain":           {js, nil, 200, "console.log", immutable, ""},
		"brotli":          {js, []string{"Accept-Encoding", "gzip, br"}, 200, "brotli", immutable, "br"},
		"gzip":            {js, []string{"Accept-Encoding", "gzip;q=0.5, br;q=0"}, 200, "gzip", immutable, "gzip"},
		"variant_by_name": {js + ".br", nil, 404, "not found", "no-store", ""},
		"no_ranges":       {js, []string{"Range", "bytes=0-3"}, 200, "console.log('hello, hello, hello')", immutable, ""},
		"unhashed":        {"/favicon.svg", nil, 200, "<svg/>", "no-cache", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := get(w, c.path, ip, c.header...)
			if res.Code != c.status || !strings.HasPrefix(res.Body.String(), c.body) || res.Header().Get("Cache-Control") != c.cache ||
				res.Header().Get("Content-Encoding") != c.coding {
				t.Errorf("%d %q %v", res.Code, res.Body, res.Header())
			}
			if c.status != http.StatusOK {
				return
			}
			tag := res.Header().Get("ETag")
			again := get(w, c.path, ip, append(c.header, "If-None-Match", `"other", W/`+tag)...)
			if tag == "" || again.Code != http.StatusNotModified || again.Body.Len() != 0 || again.Header().Get("Cache-Control") != c.cache {
				t.Errorf("again: %d %v", again.Code, again.Header())
			}
		})
	}
	if a, b := get(w, js, ip), get(w, js, ip, "Accept-Encoding", "br"); a.Header().Get("ETag") == b.Header().Get("ETag") || a.Header().Get("Vary") != "Accept-Encoding" {
		t.Error("encodings share a tag, or caches are not told of them")
	}
	head := httptest.NewRecorder()
	w.gw.Handler().ServeHTTP(head, httptest.NewRequest(http.MethodHead, "/", nil))
	if head.Code != http.StatusOK || head.Body.Len() != 0 || head.Header().Get("Content-Length") == "" {
		t.Errorf("head: %d %q", head.Code, head.Body)
	}
}

func TestPage_Missing(t *testing.T) {
	w := newWorld(t, func(d *gateway.Deps) { d.Static = nil })
	if res := get(w, "/", ip, "Accept", "text/html"); res.Code != http.StatusNotFound {
		t.Errorf("without a player: %d", res.Code)
	}
	w.deps.Static = fstest.MapFS{"assets/a.js": {}}
	if _, err := gateway.New(w.deps); err == nil {
		t.Error("a player without a page")
	}
}

func TestCORS(t *testing.T) {
	w := newWorld(t, func(d *gateway.Deps) {
		d.Config.CORSOrigins = "https://app.example.org"
		d.PublicOrigins = func() []string { return []string{"https://music.example.org"} }
	})
	preflight := func(origin string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodOptions, getMe, nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		res := httptest.NewRecorder()
		w.gw.Handler().ServeHTTP(res, r)
		return res
	}
	for origin, ok := range map[string]bool{
		"https://app.example.org": true, "https://music.example.org": true, "https://evil.test": false, "null": false, "https://app.example.org.evil.test": false,
	} {
		res := preflight(origin)
		want := ""
		if ok {
			want = origin
		}
		if got := res.Header().Get("Access-Control-Allow-Origin"); got != want || res.Code != http.StatusNoContent {
			t.Errorf("%s: %d, allowed %q", origin, res.Code, got)
		}
		if res.Header().Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: cookies cross the origin", origin)
		}
	}
	if got := preflight("https://app.example.org").Header(); got.Get("Access-Control-Allow-Methods") != "POST" || !strings.Contains(got.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("%v", got)
	}
	if got := get(w, "/artwork/a/1", ip, "Origin", "https://app.example.org").Header(); got.Get("Access-Control-Allow-Origin") != "https://app.example.org" || got.Get("Vary") != "Origin" {
		t.Errorf("%v", got)
	}
	if len(w.took()) != 1 {
		t.Error("a preflight reached a service")
	}
	w.answer = func(_ string, rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Access-Control-Allow-Origin", "*")
	}
	if got := get(w, "/o/x", ip, "Origin", "https://app.example.org").Header().Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != "*" {
		t.Errorf("where the target answers itself: %v", got)
	}
	r := httptest.NewRequest(http.MethodOptions, "/o/x", nil)
	r.Header.Set("Origin", "https://evil.test")
	r.Header.Set("Access-Control-Request-Method", "GET")
	w.gw.Handler().ServeHTTP(httptest.NewRecorder(), r)
	if got := w.took(); len(got) != 2 || got[1].method != http.MethodOptions {
		t.Errorf("its preflights do not reach it: %v", got)
	}
}

func TestHealth(t *testing.T) {
	ready := errors.New("starting")
	w := newWorld(t, func(d *gateway.Deps) {
		d.Log = quiet()
		d.Ready = func(context.Context) error { return ready }
	})
	if res := get(w, "/readyz", ip); res.Code != http.StatusServiceUnavailable || strings.Contains(res.Body.String(), "starting") {
		t.Errorf("%d %s", res.Code, res.Body)
	}
	if res := get(w, "/livez", ip); res.Code != http.StatusOK {
		t.Errorf("%d", res.Code)
	}
	ready = nil
	if res := get(w, "/readyz", ip); res.Code != http.StatusOK {
		t.Errorf("%d", res.Code)
	}
}

// TestLog_NoSecrets: queries, tokens and cookies stay out of the log.
func TestLog_NoSecrets(t *testing.T) {
	var out strings.Builder
	w := newWorld(t, func(d *gateway.Deps) {
		d.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	get(w, "/o/abc?token=secret1", ip, "Authorization", "Bearer secret2", "Cookie", "c=secret3", "Referer", "https://a.test/?secret4")
	get(w, "/login?id=secret5", ip)
	if !strings.Contains(out.String(), "/o/abc") || strings.Contains(out.String(), "secret") {
		t.Errorf("log: %s", out.String())
	}
}
