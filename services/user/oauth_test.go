package user_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/accesstoken"
)

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Type    string `json:"token_type"`
	Expires int    `json:"expires_in"`
	Error   string `json:"error"`
}

func (a answer) tokens(f *fixture) tokens {
	f.Helper()
	var t tokens
	if err := json.Unmarshal([]byte(a.body), &t); err != nil {
		f.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	return t
}

func (a answer) cookie(name string) *http.Cookie {
	for _, c := range a.cookies {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// verify checks an access token as the gateway does.
func (f *fixture) verify(token string) (accesstoken.Claims, error) {
	v := accesstoken.NewVerifier(func(context.Context) ([]byte, error) {
		return []byte(f.browser().get("/.well-known/jwks.json").body), nil
	}, func() string { return f.web.URL }, f.now)
	return v.Verify(f.Context(), token)
}

// ctl signs in seguectl and gives its tokens.
func (f *fixture) ctl() (*browser, tokens) {
	f.Helper()
	b := f.browser()
	b.script = false // a program sends no Origin
	a := b.exchange("seguectl", b.code("seguectl"), nil)
	if a.status != http.StatusOK {
		f.Fatalf("token: %d %s", a.status, a.body)
	}
	return b, a.tokens(f)
}

func TestOAuth_Web(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	a := b.exchange("web", b.code("web"), nil)
	got := a.tokens(f)
	if a.status != http.StatusOK || got.Refresh != "" || strings.Contains(a.body, "sgr.") || got.Type != "Bearer" || got.Expires != 600 {
		t.Fatalf("token: %d %s", a.status, a.body)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control is %q", a.header.Get("Cache-Control"))
	}
	c := a.cookie("segue_refresh")
	if c == nil || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/oauth" || c.Secure || c.MaxAge != 90*24*3600 {
		t.Fatalf("refresh cookie is %+v", c)
	}
	claims, err := f.verify(got.Access)
	if err != nil {
		t.Fatal(err)
	}
	want := accesstoken.Claims{
		UserID: f.adminID, ClientID: "web", Market: "US", Plan: "premium", ExplicitAllowed: true,
		Roles: []authv1.Role{authv1.Role_ROLE_LISTENER, authv1.Role_ROLE_ARTIST, authv1.Role_ROLE_ADMIN},
	}
	want.ID, want.LoginID, want.IssuedAt, want.Expires = claims.ID, claims.LoginID, claims.IssuedAt, claims.IssuedAt.Add(10*time.Minute)
	if d := cmp.Diff(want, claims); d != "" || claims.LoginID == "" || claims.ID == "" {
		t.Errorf("claims (-want +got):\n%s", d)
	}
	if _, err := f.verify(got.ID); err == nil {
		t.Error("an ID token passes for an access token")
	}

	// The page is loaded anew: the cookie alone brings a token.
	again := b.refresh("web", "")
	if next := again.tokens(f); again.status != http.StatusOK || next.Access == "" || next.Refresh != "" || again.cookie("segue_refresh").Value == c.Value {
		t.Errorf("refresh by cookie: %d %s", again.status, again.body)
	}
	out := b.do(http.MethodPost, "/oauth/revoke", url.Values{"client_id": {"web"}}, nil)
	if out.status != http.StatusOK || out.cookie("segue_refresh").MaxAge >= 0 {
		t.Errorf("revoke: %d, cookies %v", out.status, out.cookies)
	}
	if gone := b.refresh("web", ""); gone.status != http.StatusBadRequest || gone.tokens(f).Error != "invalid_grant" {
		t.Errorf("refresh after sign-out: %d %s", gone.status, gone.body)
	}
	if twice := b.do(http.MethodPost, "/oauth/revoke", url.Values{"client_id": {"web"}}, nil); twice.status != http.StatusOK {
		t.Errorf("revoke twice: %d", twice.status)
	}
	if n := len(f.named("LoggedOut")); n != 1 {
		t.Errorf("%d events LoggedOut, want 1", n)
	}
}

// TestOAuth_IDToken reads the ID token by another implementation.
func TestOAuth_IDToken(t *testing.T) {
	f := setUp(t)
	_, got := f.ctl()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(f.browser().get("/.well-known/jwks.json").body), &set); err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseSignedCompact(got.ID, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := jws.Verify(&set)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{"iss": f.web.URL, "sub": f.adminID, "aud": "seguectl", "nonce": "n0nce", "preferred_username": "admin"} {
		if claims[k] != want {
			t.Errorf("%s is %v, want %v", k, claims[k], want)
		}
	}
	if claims["email"] != nil {
		t.Error("the ID token holds the email")
	}
}

func TestOAuth_Discovery(t *testing.T) {
	f := setUp(t)
	a := f.browser().get("/.well-known/openid-configuration")
	var d map[string]any
	if err := json.Unmarshal([]byte(a.body), &d); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"issuer": f.web.URL, "token_endpoint": f.web.URL + "/oauth/token", "authorization_endpoint": f.web.URL + "/oauth/authorize",
		"jwks_uri": f.web.URL + "/.well-known/jwks.json", "revocation_endpoint": f.web.URL + "/oauth/revoke",
		"response_types_supported": []any{"code"}, "code_challenge_methods_supported": []any{"S256"},
		"grant_types_supported": []any{"authorization_code", "refresh_token"}, "id_token_signing_alg_values_supported": []any{"EdDSA"},
	}
	for k, v := range want {
		if diff := cmp.Diff(v, d[k]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", k, diff)
		}
	}
}

// TestAuthorize_Refused has requests that end here and are never sent on.
func TestAuthorize_Refused(t *testing.T) {
	f := setUp(t)
	cases := map[string]struct{ client, key, value string }{
		"no_client":        {"web", "client_id", ""},
		"unknown_client":   {"web", "client_id", "evil"},
		"no_redirect":      {"web", "redirect_uri", ""},
		"other_host":       {"web", "redirect_uri", "https://evil.example/callback"},
		"other_path":       {"web", "redirect_uri", f.web.URL + "/callback/../evil"},
		"suffix":           {"web", "redirect_uri", f.web.URL + "/callback2"},
		"query":            {"web", "redirect_uri", f.web.URL + "/callback?next=https://evil.example"},
		"fragment":         {"web", "redirect_uri", f.web.URL + "/callback#x"},
		"userinfo":         {"web", "redirect_uri", strings.Replace(f.web.URL, "://", "://evil.example@", 1) + "/callback"},
		"user_as_host":     {"web", "redirect_uri", f.web.URL + "@evil.example/callback"},
		"upper_case":       {"web", "redirect_uri", strings.ToUpper(f.web.URL) + "/callback"},
		"script":           {"web", "redirect_uri", "javascript:alert(1)"},
		"web_loopback":     {"web", "redirect_uri", "http://127.0.0.1:1/callback"},
		"ctl_by_name":      {"seguectl", "redirect_uri", "http://localhost:1/callback"},
		"ctl_https":        {"seguectl", "redirect_uri", "https://127.0.0.1:1/callback"},
		"ctl_other_path":   {"seguectl", "redirect_uri", "http://127.0.0.1:1/evil"},
		"ctl_query":        {"seguectl", "redirect_uri", "http://127.0.0.1:1/callback?a=b"},
		"ctl_fragment":     {"seguectl", "redirect_uri", "http://127.0.0.1:1/callback#a"},
		"ctl_userinfo":     {"seguectl", "redirect_uri", "http://127.0.0.1:1@evil.example/callback"},
		"ctl_user":         {"seguectl", "redirect_uri", "http://evil@127.0.0.1:1/callback"},
		"ctl_like":         {"seguectl", "redirect_uri", "http://127.0.0.1.evil.example/callback"},
		"ctl_other_loop":   {"seguectl", "redirect_uri", "http://127.0.0.2:1/callback"},
		"ctl_lan":          {"seguectl", "redirect_uri", "http://192.168.1.2:1/callback"},
		"ctl_mapped":       {"seguectl", "redirect_uri", "http://[::ffff:127.0.0.1]:1/callback"},
		"ctl_zone":         {"seguectl", "redirect_uri", "http://[::1%25lo]:1/callback"},
		"ctl_no_scheme":    {"seguectl", "redirect_uri", "//127.0.0.1:1/callback"},
		"ctl_newline":      {"seguectl", "redirect_uri", "http://127.0.0.1:1/callback\r\nSet-Cookie: a=b"},
		"request_object":   {"web", "request", "e30.e30."},
		"malformed_maxage": {"web", "max_age", "x"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := f.request(c.client)
			q.Set(c.key, c.value)
			a := f.browser().get("/oauth/authorize?" + q.Encode())
			if a.status != http.StatusBadRequest || a.header.Get("Location") != "" || len(a.cookies) > 0 {
				t.Errorf("%d, Location %q, %s", a.status, a.header.Get("Location"), a.body)
			}
		})
	}
	t.Run("redirect_twice", func(t *testing.T) {
		q := f.request("web")
		q.Add("redirect_uri", "https://evil.example/callback")
		if a := f.browser().get("/oauth/authorize?" + q.Encode()); a.status != http.StatusBadRequest || a.header.Get("Location") != "" {
			t.Errorf("%d, Location %q", a.status, a.header.Get("Location"))
		}
	})
}

// TestAuthorize_Redirected has requests that the client is told of.
func TestAuthorize_Redirected(t *testing.T) {
	f := setUp(t)
	cases := map[string]struct {
		client, key, value, error string
	}{
		"no_pkce":        {"web", "code_challenge", "", "invalid_request"},
		"plain":          {"web", "code_challenge_method", "plain", "invalid_request"},
		"method_missing": {"web", "code_challenge_method", "", "invalid_request"},
		"method_lower":   {"web", "code_challenge_method", "s256", "invalid_request"},
		"short":          {"web", "code_challenge", "abc", "invalid_request"},
		"ctl_plain":      {"seguectl", "code_challenge_method", "plain", "invalid_request"},
		"implicit":       {"web", "response_type", "token", "unauthorized_client"},
		"id_token":       {"web", "response_type", "id_token token", "unauthorized_client"},
		"hybrid":         {"web", "response_type", "code id_token", "unauthorized_client"},
		"fragment":       {"web", "response_mode", "fragment", "invalid_request"},
		"prompt_none":    {"web", "prompt", "none", "login_required"},
		"long_state":     {"web", "state", strings.Repeat("x", 600), "invalid_request"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			q := f.request(c.client)
			q.Set(c.key, c.value)
			a := f.browser().get("/oauth/authorize?" + q.Encode())
			if a.location == nil {
				t.Fatalf("%d %s", a.status, a.body)
			}
			where := *a.location
			got := where.Query()
			if where.RawQuery == "" { // the flows that are not here answer in the fragment
				got, _ = url.ParseQuery(where.Fragment)
			}
			where.RawQuery, where.Fragment = "", ""
			if where.String() != q.Get("redirect_uri") || got.Get("error") != c.error || got.Get("code") != "" {
				t.Errorf("to %s with %v, want error %q", &where, got, c.error)
			}
		})
	}
}

func TestOAuth_LoopbackPorts(t *testing.T) {
	f := setUp(t)
	for _, redirect := range []string{"http://127.0.0.1/callback", "http://127.0.0.1:1/callback", "http://[::1]:65535/callback"} {
		t.Run(redirect, func(t *testing.T) {
			b := f.browser()
			q := f.request("seguectl")
			q.Set("redirect_uri", redirect)
			a := b.get("/oauth/authorize?" + q.Encode())
			if a.status != http.StatusFound || a.location.Path != "/login" {
				t.Fatalf("%d to %v: %s", a.status, a.location, a.body)
			}
			in := b.submit(a.location.Query().Get("id"), "admin", adminPassword)
			if in.location == nil || !strings.HasPrefix(in.location.String(), redirect+"?") {
				t.Fatalf("to %v", in.location)
			}
			out := b.exchange("seguectl", in.location.Query().Get("code"), url.Values{"redirect_uri": {redirect}})
			if out.status != http.StatusOK {
				t.Errorf("token: %d %s", out.status, out.body)
			}
		})
	}
}

func TestToken_Refused(t *testing.T) {
	f := setUp(t)
	cases := map[string]struct {
		change url.Values
		pass   time.Duration
		status int
		error  string
	}{
		"wrong_verifier":   {url.Values{"code_verifier": {strings.Repeat("a", 43)}}, 0, 400, "invalid_grant"},
		"no_verifier":      {url.Values{"code_verifier": nil}, 0, 400, "invalid_grant"},
		"challenge_as_it":  {url.Values{"code_verifier": {challenge}}, 0, 400, "invalid_grant"},
		"wrong_redirect":   {url.Values{"redirect_uri": {"http://127.0.0.1:1/callback"}}, 0, 400, "invalid_grant"},
		"no_redirect":      {url.Values{"redirect_uri": nil}, 0, 400, "invalid_request"},
		"other_client":     {url.Values{"client_id": {"web"}}, 0, 400, "invalid_grant"},
		"unknown_client":   {url.Values{"client_id": {"evil"}}, 0, 401, "invalid_client"},
		"no_client":        {url.Values{"client_id": nil}, 0, 400, "invalid_request"},
		"client_secret":    {url.Values{"client_secret": {"x"}}, 0, 401, "invalid_client"},
		"wrong_code":       {url.Values{"code": {"x"}}, 0, 400, "invalid_grant"},
		"no_code":          {url.Values{"code": nil}, 0, 400, "invalid_request"},
		"expired":          {nil, time.Minute, 400, "invalid_grant"},
		"password_grant":   {url.Values{"grant_type": {"password"}, "username": {"admin"}, "password": {adminPassword}}, 0, 400, "unsupported_grant_type"},
		"client_grant":     {url.Values{"grant_type": {"client_credentials"}}, 0, 400, "unauthorized_client"},
		"device_grant":     {url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}}, 0, 400, "unauthorized_client"},
		"jwt_grant":        {url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {"a.b.c"}}, 0, 400, "unsupported_grant_type"},
		"exchange_grant":   {url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}}, 0, 400, "unauthorized_client"},
		"no_grant":         {url.Values{"grant_type": nil}, 0, 400, "invalid_request"},
		"parameter_twice":  {url.Values{"code_verifier": {verifier, verifier}}, 0, 400, "invalid_request"},
		"too_large":        {url.Values{"code": {strings.Repeat("x", 1<<15)}}, 0, 400, "invalid_request"},
		"refresh_for_code": {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}}, 0, 400, "invalid_grant"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := f.browser()
			code := b.code("seguectl")
			f.pass(c.pass)
			change := c.change
			if change == nil {
				change = url.Values{}
			}
			if _, ok := change["code"]; !ok {
				change["code"] = []string{code}
			}
			a := b.exchange("seguectl", code, change)
			if got := a.tokens(f); a.status != c.status || got.Error != c.error || got.Access != "" || len(a.cookies) > 0 {
				t.Errorf("%d %s, want %d %s", a.status, a.body, c.status, c.error)
			}
		})
	}
	b := f.browser()
	for name, path := range map[string]string{"get": "/oauth/token?grant_type=refresh_token&client_id=seguectl", "revoke_get": "/oauth/revoke?token=x"} {
		t.Run(name, func(t *testing.T) {
			if a := b.get(path); a.status != http.StatusMethodNotAllowed {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	t.Run("query", func(t *testing.T) {
		if a := b.do(http.MethodPost, "/oauth/token?refresh_token=x", url.Values{"grant_type": {"refresh_token"}, "client_id": {"seguectl"}}, nil); a.status != http.StatusMethodNotAllowed {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// TestToken_ShortVerifier: a verifier that could be guessed is none (RFC 7636 section 4.1),
// though it fits the challenge.
func TestToken_ShortVerifier(t *testing.T) {
	f := setUp(t)
	for verifier, want := range map[string]int{
		"short": 400, strings.Repeat("v", 42): 400, strings.Repeat("v", 43): 200, strings.Repeat("v", 128): 200, strings.Repeat("v", 129): 400,
	} {
		b := f.browser()
		q := f.request("seguectl")
		q.Set("code_challenge", oidc.NewSHACodeChallenge(verifier))
		opened := b.get("/oauth/authorize?" + q.Encode())
		in := b.submit(opened.location.Query().Get("id"), "admin", adminPassword)
		a := b.exchange("seguectl", in.location.Query().Get("code"), url.Values{"code_verifier": {verifier}})
		if a.status != want {
			t.Errorf("verifier of %d characters: %d, want %d", len(verifier), a.status, want)
		}
	}
}

// TestToken_CodeReplay: the second use of a code is refused and ends what the first began.
func TestToken_CodeReplay(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	code := b.code("seguectl")
	first := b.exchange("seguectl", code, nil).tokens(f)
	if second := b.exchange("seguectl", code, nil); second.status != http.StatusBadRequest || second.tokens(f).Error != "invalid_grant" {
		t.Fatalf("second use: %d %s", second.status, second.body)
	}
	if a := b.refresh("seguectl", first.Refresh); a.status != http.StatusBadRequest {
		t.Errorf("the first one's refresh token lives on: %d", a.status)
	}
	if e := f.named("TokenFamilyRevoked"); len(e) != 1 || e[0].GetUserId() != f.adminID {
		t.Errorf("events: %v", e)
	}
}

// TestToken_CodeRace has one code come many times at once: one gets tokens at most.
func TestToken_CodeRace(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	code := b.code("seguectl")
	answers := make([]answer, 8)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = f.browser().exchange("seguectl", code, nil) })
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		if a.status == http.StatusOK {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d of 8 redeemed one code", won)
	}
}

func TestToken_CrossSite(t *testing.T) {
	f := setUp(t)
	b := f.browser()
	if a := b.exchange("web", b.code("web"), nil); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {"web"}}
	cases := map[string]struct {
		header http.Header
		status int
	}{
		"says_nothing":   {http.Header{}, 403},
		"other_origin":   {http.Header{"Origin": {"https://evil.example"}}, 403},
		"null_origin":    {http.Header{"Origin": {"null"}}, 403},
		"other_port":     {http.Header{"Origin": {"http://127.0.0.1:1"}}, 403},
		"cross_site":     {http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"same_site":      {http.Header{"Sec-Fetch-Site": {"same-site"}}, 403},
		"typed":          {http.Header{"Sec-Fetch-Site": {"none"}}, 403},
		"contradiction":  {http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://evil.example"}}, 403},
		"contradiction2": {http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {f.web.URL}}, 403},
		"origin":         {http.Header{"Origin": {f.web.URL}}, 200},
		"fetch_site":     {http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
	}
	b.script = false
	for name, c := range cases {
		for _, path := range []string{"/oauth/token", "/oauth/revoke"} {
			if path == "/oauth/revoke" && c.status == http.StatusOK {
				continue
			}
			t.Run(name+path, func(t *testing.T) {
				if a := b.do(http.MethodPost, path, form, c.header); a.status != c.status {
					t.Errorf("%d %s, want %d", a.status, a.body, c.status)
				}
			})
		}
	}
	t.Run("code_of_another", func(t *testing.T) { // signing somebody in to the attacker's account
		a := b.do(http.MethodPost, "/oauth/token", url.Values{"grant_type": {"authorization_code"}, "client_id": {"web"}, "code": {"x"}},
			http.Header{"Origin": {"https://evil.example"}})
		if a.status != http.StatusForbidden {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("token_in_body", func(t *testing.T) {
		b.script = true
		if a := b.refresh("web", "sgr.x"); a.status != http.StatusBadRequest || a.tokens(f).Error != "invalid_request" {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
	t.Run("wrong_token_clears_cookie", func(t *testing.T) {
		stranger := f.browser()
		a := stranger.do(http.MethodPost, "/oauth/token", form, http.Header{"Cookie": {"segue_refresh=sgr.x"}, "Origin": {f.web.URL}})
		if c := a.cookie("segue_refresh"); a.status != http.StatusBadRequest || c == nil || c.MaxAge >= 0 {
			t.Errorf("%d %s, cookies %v", a.status, a.body, a.cookies)
		}
	})
}

func TestCookies_Secure(t *testing.T) {
	f := setUp(t)
	for issuer, want := range map[string]bool{
		"https://music.example": true, "http://192.168.1.2:8420": true, "http://music.example": true, "https://127.0.0.1": true,
		"http://127.0.0.1:8420": false, "http://localhost:8420": false, "http://[::1]:8420": false,
	} {
		t.Run(issuer, func(t *testing.T) {
			q := f.request("web")
			q.Set("redirect_uri", issuer+"/callback")
			a := f.browser().at(issuer, "/oauth/authorize?"+q.Encode())
			if len(a.cookies) != 1 || a.cookies[0].Secure != want || !a.cookies[0].HttpOnly || a.cookies[0].SameSite != http.SameSiteStrictMode {
				t.Errorf("cookies %v, want Secure %v", a.cookies, want)
			}
		})
	}
}

func TestEndSession(t *testing.T) {
	f := setUp(t)
	for name, c := range map[string]struct{ to, want string }{
		"home":      {f.web.URL + "/", f.web.URL + "/"},
		"none":      {"", f.web.URL + "/"},
		"elsewhere": {"https://evil.example/", f.web.URL + "/"},
		"slashes":   {"//evil.example/", f.web.URL + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			b := f.browser()
			b.exchange("web", b.code("web"), nil)
			a := b.get("/oauth/logout?" + url.Values{"client_id": {"web"}, "post_logout_redirect_uri": {c.to}}.Encode())
			if a.status != http.StatusFound || a.location.String() != c.want {
				t.Errorf("%d to %v, want %s", a.status, a.location, c.want)
			}
			if again := b.refresh("web", ""); again.status == http.StatusOK {
				t.Error("still signed in")
			}
		})
	}
}

// TestSigning_Rotation: a new key is published a day before it signs.
func TestSigning_Rotation(t *testing.T) {
	f := setUp(t)
	kid := func() string {
		_, got := f.ctl()
		jws, err := jose.ParseSignedCompact(got.Access, []jose.SignatureAlgorithm{jose.EdDSA})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.verify(got.Access); err != nil {
			t.Error(err)
		}
		return jws.Signatures[0].Header.KeyID
	}
	published := func() []string {
		var set jose.JSONWebKeySet
		if err := json.Unmarshal([]byte(f.browser().get("/.well-known/jwks.json").body), &set); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, k := range set.Keys {
			ids = append(ids, k.KeyID)
		}
		return ids
	}
	first := kid()
	f.pass(31 * 24 * time.Hour)
	f.maintain()
	if ids := published(); len(ids) != 2 || !slices.Contains(ids, first) || kid() != first {
		t.Errorf("just rotated: %v are published and %s signs, want two and still %s", ids, kid(), first)
	}
	f.pass(24 * time.Hour)
	if second := kid(); second == first || !slices.Contains(published(), second) || !slices.Contains(published(), first) {
		t.Errorf("a day later %s signs; published %v", second, published())
	}
}

// TestRefresh_KeyRotation: tokens of before a rotation work on, and so does the grace.
func TestRefresh_KeyRotation(t *testing.T) {
	f := setUp(t)
	b, got := f.ctl()
	f.pass(31 * 24 * time.Hour)
	f.maintain()
	next := b.refresh("seguectl", got.Refresh).tokens(f)
	f.pass(5 * time.Second)
	if again := b.refresh("seguectl", got.Refresh).tokens(f); next.Refresh == "" || again.Refresh != next.Refresh {
		t.Errorf("grace across a rotation: %q, want %q", again.Refresh, next.Refresh)
	}
	var revoked eventv1.TokenFamilyRevoked
	if e := f.named("TokenFamilyRevoked"); len(e) != 0 {
		_ = e[0].GetPayload().UnmarshalTo(&revoked)
		t.Errorf("revoked: %v", &revoked)
	}
}
