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
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
)

const callback = "http://127.0.0.1/callback"

// trusting makes a configuration that trusts one authority. Each has a session cache of
// none: a cold start is one.
func trusting(pem string) (*tls.Config, error) {
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

// signIn fills in the login form of segue as the OAuth client seguectl and returns a
// client whose requests carry the access token.
func signIn(ctx context.Context, s *spec) (*http.Client, error) {
	config, err := trusting(s.CA)
	if err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	c := &http.Client{Transport: transport, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	page, _, err := send(ctx, c, http.MethodGet, s.Segue+"/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"seguectl"}, "redirect_uri": {callback}, "scope": {"openid profile offline_access"}, "state": {"bench"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	if err != nil {
		return nil, err
	}
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindStringSubmatch(page)
	if id == nil {
		return nil, errors.New("sign in: the login page has no form")
	}
	_, back, err := send(ctx, c, http.MethodPost, s.Segue+"/login", url.Values{"id": {id[1]}, "username": {"admin"}, "password": {s.Password}})
	if err != nil {
		return nil, err
	}
	code := ""
	if back != nil {
		code = back.Query().Get("code")
	}
	if code == "" {
		return nil, errors.New("sign in: there was no code")
	}
	answer, _, err := send(ctx, c, http.MethodPost, s.Segue+"/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"seguectl"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if err != nil {
		return nil, err
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(answer), &token); err != nil || token.Access == "" {
		return nil, fmt.Errorf("sign in: there was no token: %.200s", answer)
	}
	return &http.Client{Transport: bearer{transport, token.Access}}, nil
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
	resp, err := c.Do(req)
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", nil, fmt.Errorf("sign in: %w", err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", nil, fmt.Errorf("sign in: %s: %.200s", resp.Status, b)
	}
	back, err := resp.Location()
	if errors.Is(err, http.ErrNoLocation) {
		back, err = nil, nil
	}
	return string(b), back, err
}

// bearer puts the access token on requests.
type bearer struct {
	next  http.RoundTripper
	token string
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}
