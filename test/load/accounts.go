package main

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

	"golang.org/x/sync/errgroup"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
)

// spec is what the children are told.
type spec struct {
	Segue, CA, Phrase string
	Accounts          int
	AccountsFile      string
	Listeners         int
	Transport         string
	Ramp              time.Duration
	Seek, Skip        float64
	Tracks            []string // ids
	Objects           []string // files of the sealed renditions, for the peer
	PeerAddr          string
}

func readSpec(path string) (*spec, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	s := &spec{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	return s, nil
}

// trusting makes a configuration that trusts the server's own authority.
func (s *spec) trusting() (*tls.Config, error) {
	b, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("read authority: no certificate in %s", s.CA)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}, nil
}

// account is somebody who is signed in.
type account struct {
	Name, Refresh string

	mu      sync.Mutex
	access  string
	renewAt time.Time
}

const (
	oauthClient = "seguectl"
	callback    = "http://127.0.0.1/callback"
)

// makeAccounts makes the accounts and signs each of them in; their refresh tokens go to a
// file. It is a process and a run of the server of its own, so that the hashing of
// passwords is no part of what is measured.
func makeAccounts(ctx context.Context, path string) error {
	s, err := readSpec(path)
	if err != nil {
		return err
	}
	config, err := s.trusting()
	if err != nil {
		return err
	}
	web := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	admin := &account{Name: "admin"}
	if err := admin.signIn(ctx, s, web); err != nil {
		return err
	}
	people := userv1connect.NewAccountServiceClient(&http.Client{Transport: &bearer{web, s, admin}}, s.Segue)
	all := make([]*account, s.Accounts)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4) // the server hashes as many passwords at a time as it has processors
	for i := range all {
		g.Go(func() error {
			all[i] = &account{Name: fmt.Sprintf("listener%d", i)}
			_, err := people.CreateAccount(ctx, &userv1.CreateAccountRequest{
				Username: all[i].Name, Password: s.Phrase, DisplayName: all[i].Name, Roles: []authv1.Role{authv1.Role_ROLE_LISTENER}, Market: "US",
			})
			if err != nil {
				return fmt.Errorf("make account: %w", err)
			}
			return all[i].signIn(ctx, s, web)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	b, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("keep accounts: %w", err)
	}
	return os.WriteFile(s.AccountsFile, b, 0o600)
}

var loginID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn fills in the login form as a browser without scripts does.
func (a *account) signIn(ctx context.Context, s *spec, web http.RoundTripper) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	c := &http.Client{Transport: web, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	page, _, err := send(ctx, c, http.MethodGet, s.Segue+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {oauthClient}, "redirect_uri": {callback}, "scope": {"openid profile offline_access"}, "state": {"load"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	if err != nil {
		return err
	}
	form := loginID.FindStringSubmatch(page)
	if form == nil {
		return errors.New("sign in: the login page has no form")
	}
	_, back, err := send(ctx, c, http.MethodPost, s.Segue+"/login",
		url.Values{"id": {html.UnescapeString(form[1])}, "username": {a.Name}, "password": {s.Phrase}})
	if err != nil {
		return err
	}
	if back == nil || back.Query().Get("code") == "" {
		return errors.New("sign in: there was no code")
	}
	return a.token(ctx, c, s, url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
}

func (a *account) token(ctx context.Context, c *http.Client, s *spec, form url.Values) error {
	form.Set("client_id", oauthClient)
	answer, _, err := send(ctx, c, http.MethodPost, s.Segue+"/oauth/token", form)
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
	a.access, a.Refresh = t.Access, t.Refresh
	a.renewAt = time.Now().Add(time.Duration(t.Expires) * time.Second / 2)
	return nil
}

// token of an account, renewed at half its life.
func (a *account) current(ctx context.Context, s *spec, web http.RoundTripper) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().After(a.renewAt) {
		err := a.token(ctx, &http.Client{Transport: web}, s, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.Refresh}})
		if err != nil {
			return "", err
		}
	}
	return a.access, nil
}

// bearer puts an account's access token on requests.
type bearer struct {
	next http.RoundTripper
	s    *spec
	a    *account
}

func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.a.current(r.Context(), b.s, b.next)
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
