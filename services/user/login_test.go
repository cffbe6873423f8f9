package user_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/password"
)

func TestLogin_Page(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	a := b.get("/login?id=" + url.QueryEscape(b.authorize("web")))
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	csp := a.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self' " + f.web.URL} {
		if !strings.Contains(csp, want) {
			t.Errorf("Content-Security-Policy %q lacks %q", csp, want)
		}
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("header is %v", a.header)
	}
	for _, bad := range []string{"<script", "<style", " style=", " on"} {
		if strings.Contains(a.body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	for _, field := range []string{"username", "password"} {
		if !strings.Contains(a.body, `<label for="`+field+`">`) || !strings.Contains(a.body, `id="`+field+`"`) {
			t.Errorf("field %s has no label", field)
		}
	}
	for _, ref := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		got := b.get(ref[1])
		if got.status != http.StatusOK || got.header.Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(got.body, "prefers-color-scheme: light") {
			t.Errorf("%s: %d %s", ref[1], got.status, got.header.Get("Content-Type"))
		}
	}
}

func TestLogin_Failed(t *testing.T) {
	f := setUp(t)
	made, err := f.admin().CreateAccount(t.Context(), &userv1.CreateAccountRequest{
		Username: "off", Password: "long enough", Roles: []authv1.Role{authv1.Role_ROLE_LISTENER},
	})
	if err != nil {
		t.Fatal(err)
	}
	off := true
	if _, err := f.admin().UpdateAccount(t.Context(), &userv1.UpdateAccountRequest{Id: made.GetAccount().GetId(), Disabled: &off, Revision: 1}); err != nil {
		t.Fatal(err)
	}
	const mismatch = "That name and password do not match."
	cases := map[string]struct{ name, secret, message, reason string }{
		"wrong_password":     {"admin", "wrong", mismatch, "wrong password"},
		"unknown_name":       {"nobody", "wrong", mismatch, "unknown name"},
		"empty":              {"", "", mismatch, "unknown name"},
		"sql":                {"admin' --", "x", mismatch, "unknown name"},
		"nul":                {"admin\x00", adminPassword, mismatch, "unknown name"},
		"disabled":           {"off", "long enough", "This account is disabled.", "account disabled"},
		"disabled_and_wrong": {"off", "wrong", mismatch, "wrong password"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := f.browser()
			before, told := f.hashes(), len(f.named("LoginFailed"))
			a := b.submit(b.authorize("web"), c.name, c.secret)
			if a.status != http.StatusForbidden || !strings.Contains(a.body, `role="alert">`+c.message) || a.location != nil {
				t.Errorf("%d %s", a.status, a.body)
			}
			if n := f.hashes() - before; n != 1 {
				t.Errorf("%d hashes were computed, want 1 whoever it is", n)
			}
			events := f.named("LoginFailed")[told:]
			if len(events) != 1 {
				t.Fatalf("%d events, want 1", len(events))
			}
			var p eventv1.LoginFailed
			if err := events[0].GetPayload().UnmarshalTo(&p); err != nil || p.GetReason() != c.reason {
				t.Errorf("reason %q, %v, want %q", p.GetReason(), err, c.reason)
			}
			if known := c.reason != "unknown name"; (events[0].GetUserId() != "") != known || (len(events[0].GetPersonal()) > 0) != known {
				t.Errorf("event is about %q with %d personal bytes", events[0].GetUserId(), len(events[0].GetPersonal()))
			}
		})
	}
}

// TestLogin_SamePage: the answers for a name with and without an account differ in the
// name only.
func TestLogin_SamePage(t *testing.T) {
	f := setUp(t)
	page := func(name string) string {
		b := f.browser()
		id := b.authorize("web")
		a := b.submit(id, name, "wrong password")
		return strings.NewReplacer(id, "ID", name, "NAME").Replace(a.body) + a.header.Get("Content-Security-Policy")
	}
	if known, unknown := page("admin"), page("nimda"); known != unknown {
		t.Errorf("pages differ:\n%s\n%s", known, unknown)
	}
}

func TestLogin_Escapes(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	a := b.submit(b.authorize("web"), `"><script>alert(1)</script>`, "x")
	if strings.Contains(a.body, "<script>") || !strings.Contains(a.body, "&lt;script&gt;") {
		t.Errorf("body: %s", a.body)
	}
	q := f.request("web")
	q.Set("login_hint", `"><img src=x>`)
	opened := b.get("/oauth/authorize?" + q.Encode())
	if page := b.get(opened.header.Get("Location")); page.status != http.StatusOK || strings.Contains(page.body, "<img") {
		t.Errorf("hint: %d %s", page.status, page.body)
	}
}

// TestLogin_Request has forms of which nobody knows where they come from.
func TestLogin_Request(t *testing.T) {
	f := setUp(t)
	cases := map[string]func(b *browser) answer{
		"other_browser": func(b *browser) answer { return f.browser().submit(b.authorize("web"), "admin", adminPassword) },
		"cookie_of_another_request": func(b *browser) answer {
			other := f.browser()
			other.authorize("web")
			return other.submit(b.authorize("web"), "admin", adminPassword)
		},
		"cross_site": func(b *browser) answer {
			b.script = false
			return b.do(http.MethodPost, "/login", url.Values{"id": {b.authorize("web")}, "username": {"admin"}, "password": {adminPassword}},
				http.Header{"Sec-Fetch-Site": {"cross-site"}})
		},
		"expired": func(b *browser) answer {
			id := b.authorize("web")
			f.pass(10 * time.Minute)
			return b.submit(id, "admin", adminPassword)
		},
		"expired_page": func(b *browser) answer {
			id := b.authorize("web")
			f.pass(10 * time.Minute)
			return b.get("/login?id=" + id)
		},
		"altered": func(b *browser) answer {
			id := []byte(b.authorize("web"))
			id[40] ^= 1
			return b.submit(string(id), "admin", adminPassword)
		},
		"no_id":   func(b *browser) answer { return b.get("/login") },
		"made_up": func(b *browser) answer { return b.get("/login?id=AAAAAA") },
		"in_query": func(b *browser) answer {
			return b.do(http.MethodPost, "/login?id="+b.authorize("web")+"&username=admin&password="+url.QueryEscape(adminPassword), url.Values{}, nil)
		},
		"oversize": func(b *browser) answer { return b.submit(b.authorize("web"), "admin", strings.Repeat("x", 1<<15)) },
		"not_a_form": func(b *browser) answer {
			return b.do(http.MethodPost, "/login", url.Values{"%": {"x"}}, http.Header{"Content-Type": {"text/plain"}})
		},
	}
	for name, ask := range cases {
		t.Run(name, func(t *testing.T) {
			a := ask(f.browser())
			if a.status != http.StatusBadRequest || a.location != nil || !strings.Contains(a.body, "Start again") {
				t.Errorf("%d to %v: %s", a.status, a.location, a.body)
			}
		})
	}
	if n := len(f.named("LoggedIn")); n > 0 {
		t.Errorf("%d signed in", n)
	}
}

// TestLogin_TwoTabs: sign-in pages stand beside each other in one browser.
func TestLogin_TwoTabs(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	one, two := b.authorize("web"), b.authorize("web")
	for name, id := range map[string]string{"one": one, "two": two} {
		if a := b.submit(id, " Admin ", adminPassword); a.status != http.StatusSeeOther {
			t.Errorf("tab %s: %d", name, a.status)
		}
	}
}

func TestLogin_Limits(t *testing.T) {
	f := setUp(t)
	failed := func(ip, name string) answer {
		f.ip = ip
		b := f.browser()
		return b.submit(b.authorize("web"), name, "wrong")
	}
	for i := range 10 {
		if a := failed("203.0.113."+string(rune('0'+i)), "nobody"); a.status != http.StatusForbidden {
			t.Fatalf("attempt %d: %d", i, a.status)
		}
	}
	before := f.hashes()
	a := failed("198.51.100.1", "nobody")
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "Too many attempts") {
		t.Errorf("the eleventh on one name: %d %v", a.status, a.header)
	}
	if f.hashes() != before {
		t.Error("a refused attempt cost a hash")
	}
	if a := failed("198.51.100.1", "somebody"); a.status != http.StatusForbidden {
		t.Errorf("another name: %d", a.status)
	}
	f.pass(time.Minute)
	if a := failed("198.51.100.1", "nobody"); a.status != http.StatusForbidden {
		t.Errorf("a minute later: %d", a.status)
	}

	// One address, many names; IPv6 neighbours are one customer.
	limited := 0
	for i := range 40 {
		if a := failed("2001:db8::"+string(rune('a'+i%6)), strings.Repeat("x", i+1)); a.status == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited != 10 {
		t.Errorf("%d of 40 attempts of one network were refused, want 10", limited)
	}
	if a := failed("2001:db8:1::1", "fresh"); a.status != http.StatusForbidden {
		t.Errorf("another network: %d", a.status)
	}

	// Who knows the password is not counted.
	f.ip = "192.0.2.1"
	for i := range 50 {
		b := f.browser()
		if a := b.submit(b.authorize("web"), "admin", adminPassword); a.status != http.StatusSeeOther {
			t.Fatalf("right sign-in %d: %d", i, a.status)
		}
	}
}

// TestLogin_Rehash: a hash of yesterday's parameters is made anew at the next sign-in.
func TestLogin_Rehash(t *testing.T) {
	f := setUp(t)
	_, old, err := f.store.AccountByName(t.Context(), "admin")
	if err != nil {
		t.Fatal(err)
	}
	deps := f.deps()
	deps.Hash = password.Params{Memory: 128, Time: 1, Threads: 1}
	if f.service, err = user.New(deps); err != nil {
		t.Fatal(err)
	}
	f.browser().code("web")
	a, renewed, err := f.store.AccountByName(t.Context(), "admin")
	if err != nil || renewed == old || !strings.Contains(renewed, "m=128,") || a.Revision != 1 {
		t.Errorf("hash is %q of revision %d, %v", renewed, a.Revision, err)
	}
	f.browser().code("web")
	if _, again, _ := f.store.AccountByName(t.Context(), "admin"); again != renewed {
		t.Error("hashed anew without need")
	}
}
