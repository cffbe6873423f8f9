package signin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// idp is a server with the login of Segue: a chain of redirects to a form, a cookie that
// the form needs, one code, one refresh token at a time.
type idp struct {
	*httptest.Server
	t *testing.T

	mu        sync.Mutex
	issuer    string // empty: its own URL
	elsewhere string // the authorization leads there
	challenge string
	state     string
	code      string
	refresh   int
	lose      int // answers of the token endpoint that get lost
	revoked   []string
}

const clientCookie = "login"

func newIDP(t *testing.T) *idp {
	p := &idp{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /oauth/authorize", p.authorize)
	mux.HandleFunc("GET /step", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "login?id="+url.QueryEscape(r.URL.Query().Get("id")), http.StatusFound)
	})
	mux.HandleFunc("GET /loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) })
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) { p.form(w, http.StatusOK, r.URL.Query().Get("id"), "") })
	mux.HandleFunc("POST /login", p.login)
	mux.HandleFunc("POST /oauth/token", p.token)
	mux.HandleFunc("POST /oauth/revoke", func(_ http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.revoked = append(p.revoked, r.PostFormValue("token"))
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *idp) self() string {
	if p.issuer != "" {
		return p.issuer
	}
	return p.URL
}

func (p *idp) discovery(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.json(w, http.StatusOK, map[string]any{
		"issuer": p.self(), "authorization_endpoint": p.self() + "/oauth/authorize", "token_endpoint": p.self() + "/oauth/token",
	})
}

func (p *idp) json(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *idp) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	want := url.Values{
		"response_type": {"code"}, "client_id": {"seguectl"}, "redirect_uri": {"http://127.0.0.1/callback"},
		"scope": {"openid profile offline_access"}, "code_challenge_method": {"S256"},
	}
	p.challenge, p.state = q.Get("code_challenge"), q.Get("state")
	q.Del("code_challenge")
	q.Del("state")
	if d := cmp.Diff(want, q); d != "" {
		p.t.Error(d)
	}
	if p.elsewhere != "" {
		http.Redirect(w, r, p.elsewhere, http.StatusFound)
		return
	}
	http.SetCookie(w, &http.Cookie{Name: clientCookie, Value: "browser", Path: "/login", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/step?id="+url.QueryEscape(`sealed "<id>"`), http.StatusFound)
}

func (p *idp) form(w http.ResponseWriter, status int, id, alert string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if alert != "" {
		alert = `<p role="alert">` + html.EscapeString(alert) + "\n</p>"
	}
	fmt.Fprintf(w, `<!doctype html><title>Sign in</title><form action="/search"><input name="q"></form>
<form method="post" action="/login"><input type="hidden" name="id" value="%s">%s
<input name="username" type="text"><input name="password" type="password"><button>Sign in</button></form>`, html.EscapeString(id), alert)
}

func (p *idp) login(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, err := r.Cookie(clientCookie); err != nil || c.Value != "browser" {
		p.t.Error("the form came without the cookie")
	}
	if id := r.PostFormValue("id"); id != `sealed "<id>"` {
		p.t.Errorf("the form came with id %q", id)
	}
	if r.PostFormValue("username") != "ada" || r.PostFormValue("password") != "päss & word" {
		p.form(w, http.StatusForbidden, r.PostFormValue("id"), "That name and password do not match.")
		return
	}
	p.code = "the code"
	http.Redirect(w, r, redirectURI+"?"+url.Values{"code": {p.code}, "state": {p.state}, "iss": {p.self()}}.Encode(), http.StatusSeeOther)
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	refuse := func() {
		p.json(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "sign in again"})
	}
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if p.code == "" || r.PostFormValue("code") != p.code || base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
			refuse()
			return
		}
		p.code = ""
	case "refresh_token":
		if r.PostFormValue("refresh_token") != fmt.Sprint("refresh ", p.refresh) {
			refuse()
			return
		}
	}
	if p.lose > 0 {
		p.lose--
		panic(http.ErrAbortHandler)
	}
	p.refresh++
	p.json(w, http.StatusOK, map[string]any{
		"access_token": fmt.Sprint("access ", p.refresh), "token_type": "Bearer", "expires_in": 600, "refresh_token": fmt.Sprint("refresh ", p.refresh),
	})
}

func (p *idp) client(t *testing.T) *Client {
	t.Helper()
	base, err := ParseServer(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &Client{Base: base, Transport: http.DefaultTransport, Now: func() time.Time { return time.Unix(1000, 0) }, Random: rand.Reader}
}

func TestLogin_Works(t *testing.T) {
	p := newIDP(t)
	got, err := p.client(t).Login(t.Context(), "ada", "päss & word")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Tokens{Access: "access 1", Refresh: "refresh 1", Expires: time.Unix(1600, 0)}, got); d != "" {
		t.Error(d)
	}
}

func TestLogin_Refused(t *testing.T) {
	p := newIDP(t)
	_, err := p.client(t).Login(t.Context(), "ada", "wrong")
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Text != "That name and password do not match." || refused.Status != http.StatusForbidden {
		t.Errorf("error is %v", err)
	}
}

func TestLogin_Elsewhere(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("another server was asked") }))
	t.Cleanup(other.Close)
	for name, change := range map[string]func(*idp){
		"the form is on another host": func(p *idp) { p.elsewhere = other.URL + "/login" },
		"an error instead of a form":  func(p *idp) { p.elsewhere = redirectURI + "?error=invalid_request" },
		"redirects without end":       func(p *idp) { p.elsewhere = "/loop" },
		"no form":                     func(p *idp) { p.elsewhere = "/.well-known/openid-configuration" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newIDP(t)
			change(p)
			if _, err := p.client(t).Login(t.Context(), "ada", "päss & word"); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestLogin_OtherIssuer(t *testing.T) {
	p := newIDP(t)
	p.issuer = "https://music.example.org"
	if _, err := p.client(t).Login(t.Context(), "ada", "päss & word"); err != nil {
		t.Errorf("a server behind another name: %v", err)
	}
	back, err := url.Parse(redirectURI + "?code=c&state=s&iss=https%3A%2F%2Fevil.example")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ state, issuer string }{
		"another state": {"x", "https://evil.example"}, "another issuer": {"s", "https://music.example.org"},
	} {
		if _, err := codeOf(back, tc.state, tc.issuer); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLogin_NotSegue(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"404":        http.NotFound,
		"a web page": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") },
		"other json": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"x"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(h)
			t.Cleanup(srv.Close)
			base, err := ParseServer(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			c := &Client{Base: base, Transport: http.DefaultTransport, Now: time.Now, Random: rand.Reader}
			if _, err := c.Login(t.Context(), "a", "b"); !errors.Is(err, ErrNotSegue) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestLogin_PlainHTTP(t *testing.T) {
	c := &Client{Base: &url.URL{Scheme: "http", Host: "music.example.org"}, Transport: http.DefaultTransport}
	if _, err := c.Login(t.Context(), "a", "b"); !errors.Is(err, ErrPlainHTTP) {
		t.Errorf("error is %v", err)
	}
}

func TestRefresh_LostAnswer(t *testing.T) {
	p := newIDP(t)
	p.lose = 1
	got, err := p.client(t).Refresh(t.Context(), "refresh 0")
	if err != nil || got.Refresh != "refresh 1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefresh_Ended(t *testing.T) {
	p := newIDP(t)
	if _, err := p.client(t).Refresh(t.Context(), "refresh 7"); !errors.Is(err, ErrEnded) {
		t.Errorf("error is %v", err)
	}
}

func TestRevoke(t *testing.T) {
	p := newIDP(t)
	if err := p.client(t).Revoke(t.Context(), "refresh 0"); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"refresh 0"}, p.revoked); d != "" {
		t.Error(d)
	}
}

func TestParseServer(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example": "https://a.example", "https://a.example/": "https://a.example", "a.example:8443": "https://a.example:8443",
		"http://127.0.0.1:80": "http://127.0.0.1:80", "ftp://a": "", "https://u:p@a": "", "https://a/path": "", "https://": "", "http://a?x": "", "": "",
	} {
		u, err := ParseServer(in)
		switch {
		case (err == nil) != (want != ""):
			t.Errorf("%q: error is %v", in, err)
		case err == nil && u.String() != want:
			t.Errorf("%q is %s, want %s", in, u, want)
		}
	}
}

func FuzzReadPage(f *testing.F) {
	f.Add(`<form method="post" action="/x"><input type=hidden name=a value=b><input name=u><input type=password name=p></form>`)
	f.Add(`<p role=alert>no`)
	f.Fuzz(func(t *testing.T, page string) {
		at := &url.URL{Scheme: "https", Host: "a"}
		p, err := readPage(&http.Response{
			Header: http.Header{"Content-Type": {"text/html"}}, Body: http.NoBody, Request: &http.Request{URL: at},
		})
		if err != nil || p.form != nil {
			t.Fatal(p, err)
		}
		body := &http.Response{Header: http.Header{"Content-Type": {"text/html"}}, Request: &http.Request{URL: at}, Body: nopCloser{strings.NewReader(page)}}
		if p, err := readPage(body); err == nil && p.form != nil && (p.form.user == "" || p.form.password == "" || p.form.action == nil) {
			t.Fatalf("%+v", p.form)
		}
	})
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
