package user_test

import (
	"context"
	"crypto/rand"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/rpc/rpctest"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/password"
	"github.com/segue-music/segue/services/user/sqlite"
	"github.com/segue-music/segue/services/user/storetest"
	"github.com/segue-music/segue/stream/id"
)

const adminPassword = "correct horse battery"

// fixture is a whole user service on the embedded engine, with a clock that is turned.
type fixture struct {
	*testing.T
	clock   atomic.Int64 // Unix milliseconds
	store   *sqlite.Store
	ring    *keyring.Ring
	service *user.Service
	rpc     *rpctest.Server
	web     *httptest.Server
	adminID string
	metrics *prometheus.Registry
	events  func(context.Context) ([]*eventv1.Envelope, error)
	// issuer is the public URL where it is not that of web.
	issuer atomic.Pointer[string]
	// ip is where browsers come from.
	ip string
}

func (f *fixture) now() time.Time       { return time.UnixMilli(f.clock.Load()) }
func (f *fixture) pass(d time.Duration) { f.clock.Add(d.Milliseconds()) }
func (f *fixture) newID() string        { return id.New(f.now(), rand.Reader).String() }
func cheap() password.Params            { return password.Params{Memory: 64, Time: 1, Threads: 1} }

func (f *fixture) publicURL() string {
	if p := f.issuer.Load(); p != nil {
		return *p
	}
	return f.web.URL
}

func (f *fixture) deps() user.Deps {
	var c user.Config
	c.RegisterFlags("user", flag.NewFlagSet("test", flag.PanicOnError))
	f.metrics = prometheus.NewRegistry()
	return user.Deps{
		Metrics: f.metrics,
		Store:   f.store, Keys: f.ring, Config: c, Issuer: f.publicURL, Now: f.now, NewID: f.newID, Hash: cheap(),
		Log: slog.New(slog.NewTextHandler(f.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
}

// setUp has an admin already.
func setUp(t *testing.T) *fixture {
	t.Helper()
	f := setUpEmpty(t)
	if _, err := f.service.EnsureAdmin(t.Context(), adminPassword); err != nil {
		t.Fatal(err)
	}
	a, _, err := f.store.AccountByName(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	f.adminID = a.ID
	return f
}

func setUpEmpty(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, ip: "203.0.113.7"}
	f.clock.Store(time.Now().UnixMilli())
	var err error
	if f.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "user.db"), sqlite.Options{Now: f.now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	if f.ring, err = keyring.Open(t.TempDir(), f.now); err != nil {
		t.Fatal(err)
	}
	f.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// What the gateway's token says of an anonymous request.
		who := identity.Identity{Target: "gateway", IP: f.ip, UserAgent: r.UserAgent(), RequestID: "r"}
		f.service.Handler().ServeHTTP(w, r.WithContext(identity.With(r.Context(), who)))
	}))
	t.Cleanup(f.web.Close)
	f.events = storetest.Drain(t, f.store)
	if f.service, err = user.New(f.deps()); err != nil {
		t.Fatal(err)
	}
	f.rpc = rpctest.New(t, f.service.Handler)
	return f
}

// as is the client of a listener with roles.
func (f *fixture) as(userID, loginID string, roles ...authv1.Role) userv1connect.AccountServiceClient {
	return userv1connect.NewAccountServiceClient(f.rpc.As(identity.Identity{
		Target: "gateway", UserID: userID, LoginID: loginID, Roles: roles, IP: f.ip, UserAgent: "agent/1",
	}), rpctest.URL)
}

func (f *fixture) admin() userv1connect.AccountServiceClient {
	return f.as(f.adminID, "", authv1.Role_ROLE_ADMIN)
}

// hashes is how many passwords were hashed so far.
func (f *fixture) hashes() int {
	f.Helper()
	families, err := f.metrics.Gather()
	if err != nil {
		f.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() == "segue_user_password_hashes_total" {
			return int(m.GetMetric()[0].GetCounter().GetValue())
		}
	}
	f.Fatal("hashes are not counted")
	return 0
}

// named are the events of one type so far.
func (f *fixture) named(name string) []*eventv1.Envelope {
	f.Helper()
	all, err := f.events(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	var out []*eventv1.Envelope
	for _, e := range all {
		if e.GetType() == name {
			out = append(out, e)
		}
	}
	return out
}

// browser keeps cookies and follows nothing.
type browser struct {
	f      *fixture
	client *http.Client
	// script has every request look like one of a page's script from our origin.
	script bool
}

func (f *fixture) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.Fatal(err)
	}
	return &browser{f: f, script: true, client: &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a reply that was read.
type answer struct {
	status   int
	header   http.Header
	body     string
	location *url.URL
	cookies  []*http.Cookie
}

func (b *browser) do(method, path string, form url.Values, header http.Header) answer {
	b.f.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(b.f.Context(), method, b.f.web.URL+path, body)
	if err != nil {
		b.f.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if b.script {
			req.Header.Set("Origin", b.f.web.URL)
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := b.client.Do(req)
	if err != nil {
		b.f.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.f.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(text), cookies: res.Cookies()}
	if res.Header.Get("Location") != "" {
		if a.location, err = res.Location(); err != nil {
			b.f.Fatal(err)
		}
	}
	return a
}

func (b *browser) get(path string) answer { return b.do(http.MethodGet, path, nil, nil) }

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B
const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"

// request are the parameters of a right authorization request.
func (f *fixture) request(client string) url.Values {
	redirect := f.web.URL + "/callback"
	if client == "seguectl" {
		redirect = "http://127.0.0.1:43117/callback"
	}
	return url.Values{
		"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"openid profile offline_access"},
		"state": {"st&te"}, "nonce": {"n0nce"}, "code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
}

// authorize opens the sign-in page and gives the id of its request.
func (b *browser) authorize(client string) string {
	b.f.Helper()
	a := b.get("/oauth/authorize?" + b.f.request(client).Encode())
	if a.status != http.StatusFound || a.location == nil || a.location.Path != "/login" {
		b.f.Fatalf("authorize: %d to %v: %s", a.status, a.location, a.body)
	}
	return a.location.Query().Get("id")
}

func (b *browser) submit(id, username, secret string) answer {
	b.f.Helper()
	return b.do(http.MethodPost, "/login", url.Values{"id": {id}, "username": {username}, "password": {secret}}, nil)
}

// code signs in as admin and gives the code.
func (b *browser) code(client string) string {
	b.f.Helper()
	a := b.submit(b.authorize(client), "admin", adminPassword)
	if a.status != http.StatusSeeOther || a.location == nil {
		b.f.Fatalf("sign in: %d: %s", a.status, a.body)
	}
	q := a.location.Query()
	if q.Get("state") != "st&te" || q.Get("iss") != b.f.web.URL || q.Get("code") == "" {
		b.f.Fatalf("redirect to %s", a.location)
	}
	return q.Get("code")
}

func (b *browser) exchange(client, code string, change url.Values) answer {
	b.f.Helper()
	form := url.Values{
		"grant_type": {"authorization_code"}, "client_id": {client}, "code": {code}, "code_verifier": {verifier},
		"redirect_uri": {b.f.request(client).Get("redirect_uri")},
	}
	for k, v := range change {
		form[k] = v
	}
	return b.do(http.MethodPost, "/oauth/token", form, nil)
}

// refresh uses a refresh token; an empty one is the cookie's.
func (b *browser) refresh(client, token string) answer {
	b.f.Helper()
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {client}}
	if token != "" {
		form.Set("refresh_token", token)
	}
	return b.do(http.MethodPost, "/oauth/token", form, nil)
}

// at is a GET while the service takes issuer for its public URL.
func (b *browser) at(issuer, path string) answer {
	b.f.Helper()
	b.f.issuer.Store(&issuer)
	defer b.f.issuer.Store(nil)
	return b.get(path)
}

// maintain lets the service's upkeep replace the signing key.
func (f *fixture) maintain() {
	f.Helper()
	newest := func() uint32 {
		keys, err := f.ring.All(keyring.Refresh)
		if err != nil {
			f.Fatal(err)
		}
		return keys[0].ID
	}
	before := newest()
	ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.service.Run(ctx) }()
	for newest() == before && ctx.Err() == nil {
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		f.Fatal(err)
	}
	if newest() == before {
		f.Fatal("the key was not replaced")
	}
}
