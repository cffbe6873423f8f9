// Package person uses a Segue as an app does: it fills in the login form, renews its token
// and opens streaming sessions.
package person

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"
)

// The OAuth client that everybody here is.
const (
	oauthClient = "seguectl"
	callback    = "http://127.0.0.1/callback"
)

// Person is signed in at Base as the OAuth client seguectl. As JSON it can be kept, and
// goes on with its refresh token.
type Person struct {
	Base, Name, Refresh string

	mu      sync.Mutex
	access  string
	renewAt time.Time
}

// Trusting makes a configuration that trusts the authorities of one PEM file, without a
// cache of sessions: a cold start is one.
func Trusting(pem string) (*tls.Config, error) {
	b, err := os.ReadFile(pem)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read authority: no certificate in %s", pem)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, nil
}

var loginID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// SignIn fills in the login form as a browser without scripts does, through web.
func SignIn(ctx context.Context, web http.RoundTripper, base, name, password string) (*Person, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	c := &http.Client{Transport: web, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	page, _, err := send(ctx, c, http.MethodGet, base+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {oauthClient}, "redirect_uri": {callback}, "scope": {"openid profile offline_access"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	form := loginID.FindStringSubmatch(page)
	if form == nil {
		return nil, errors.New("sign in: the login page has no form")
	}
	_, back, err := send(ctx, c, http.MethodPost, base+"/login", url.Values{"id": {html.UnescapeString(form[1])}, "username": {name}, "password": {password}})
	if err != nil {
		return nil, err
	}
	if back == nil || back.Query().Get("code") == "" {
		return nil, errors.New("sign in: there was no code")
	}
	p := &Person{Base: base, Name: name}
	return p, p.token(ctx, web, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
}

// Renew uses the refresh token.
func (p *Person) Renew(ctx context.Context, web http.RoundTripper) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.renew(ctx, web)
}

func (p *Person) renew(ctx context.Context, web http.RoundTripper) error {
	return p.token(ctx, web, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.Refresh}})
}

func (p *Person) token(ctx context.Context, web http.RoundTripper, form url.Values) error {
	form.Set("client_id", oauthClient)
	answer, _, err := send(ctx, &http.Client{Transport: web}, http.MethodPost, p.Base+"/oauth/token", form)
	if err != nil {
		return err
	}
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Expires int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(answer), &t); err != nil || t.Access == "" || t.Refresh == "" {
		return fmt.Errorf("sign in: there was no token: %.200s", answer)
	}
	p.access, p.Refresh = t.Access, t.Refresh
	p.renewAt = time.Now().Add(time.Duration(t.Expires) * time.Second / 2)
	return nil
}

// Access is the access token, renewed through web at half its life.
func (p *Person) Access(ctx context.Context, web http.RoundTripper) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().After(p.renewAt) {
		if err := p.renew(ctx, web); err != nil {
			return "", err
		}
	}
	return p.access, nil
}

// Client makes requests through web that carry the access token.
func (p *Person) Client(web http.RoundTripper) *http.Client {
	return &http.Client{Transport: bearer{web, p}}
}

type bearer struct {
	next http.RoundTripper
	p    *Person
}

// RoundTrip implements http.RoundTripper.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.p.Access(r.Context(), b.next)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.next.RoundTrip(r)
}

// send sends a form, or none, and returns the page and where a redirect led in the end.
func send(ctx context.Context, c *http.Client, method, to string, form url.Values) (string, *url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := c.Do(req)
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	if res.StatusCode >= http.StatusBadRequest {
		return "", nil, fmt.Errorf("sign in: %s: %.200s", res.Status, b)
	}
	back, err := res.Location()
	if errors.Is(err, http.ErrNoLocation) {
		back, err = nil, nil
	}
	return string(b), back, err
}
