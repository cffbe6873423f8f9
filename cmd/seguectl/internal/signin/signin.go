// Package signin signs in to a Segue server as the OAuth client seguectl: authorization
// code with PKCE (RFC 6749, RFC 7636, RFC 8252), with the server's login form filled in
// over HTTP instead of in a browser.
//
// The password goes to the server that was named and to no other origin, and never
// over plain HTTP to another machine unless that was asked for.
package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// ErrNotSegue says that what answers is no Segue server.
var ErrNotSegue = errors.New("this is not a Segue server")

// ErrEnded says that a sign-in is over: signed out, expired, or revoked.
var ErrEnded = errors.New("the sign-in has ended: run seguectl login")

// ErrPlainHTTP refuses to send a password where anyone could read it.
var ErrPlainHTTP = errors.New("plain http would show the password to everyone on the way: use https, or --plain-http")

// RefusedError is what the server's login form answered to a name and a password.
type RefusedError struct {
	Status int
	// Text is for the person who signs in.
	Text string
}

func (r *RefusedError) Error() string { return r.Text }

// Tokens are what a sign-in and each renewal give.
type Tokens struct {
	Access  string
	Expires time.Time
	// Refresh gives the next tokens, once.
	Refresh string
}

const (
	clientID    = "seguectl"
	redirectURI = "http://127.0.0.1/callback"
	scope       = "openid profile offline_access"

	// maxBody bounds what is read of an answer, in bytes.
	maxBody = 1 << 20
)

// Client signs in to one server.
type Client struct {
	// Base is the server's URL.
	Base *url.URL
	// Transport carries the requests.
	Transport http.RoundTripper
	// PlainHTTP allows a password over http to another machine.
	PlainHTTP bool
	Now       func() time.Time
	Random    io.Reader
}

// ParseServer reads the URL of a server as people write it.
func ParseServer(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("server URL: %s is not http or https", u.Scheme)
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("server URL: %q should be https://HOST or https://HOST:PORT", s)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// metadata is the part of a server's OpenID Connect discovery document that is used.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Challenges    []string `json:"code_challenge_methods_supported"`
}

// discover asks the server what it is. The endpoints are taken from Base all the same:
// the server may know itself by another name than the one it was reached by.
func (c *Client) discover(ctx context.Context) (metadata, error) {
	var m metadata
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Base.JoinPath("/.well-known/openid-configuration").String(), nil)
	if err != nil {
		return m, fmt.Errorf("ask server: %w", err)
	}
	resp, err := c.client(nil).Do(req)
	if err != nil {
		return m, fmt.Errorf("reach server: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
		return m, fmt.Errorf("ask server: it answers %s", resp.Status)
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&m)
	if err != nil || resp.StatusCode != http.StatusOK ||
		!strings.HasSuffix(m.Authorization, "/oauth/authorize") || !strings.HasSuffix(m.Token, "/oauth/token") {
		return m, fmt.Errorf("%s: %w", c.Base, ErrNotSegue)
	}
	return m, nil
}

// client makes an HTTP client that follows no redirect by itself.
func (c *Client) client(jar http.CookieJar) *http.Client {
	return &http.Client{
		Transport: c.Transport, Jar: jar, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// exposed reports whether others could read what is sent to Base.
func (c *Client) exposed() bool {
	if c.Base.Scheme == "https" || c.PlainHTTP {
		return false
	}
	host := c.Base.Hostname()
	return host != "localhost" && !net.ParseIP(host).IsLoopback()
}
