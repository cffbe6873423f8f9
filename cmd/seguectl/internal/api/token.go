package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/act"
	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
)

// early is how long before its end a token is renewed, for clocks and slow requests.
const early = 30 * time.Second

// tokens gives access tokens. The credentials file is the truth: other processes renew
// the same sign-in, each refresh token is good for one renewal, and a second use of one
// ends the sign-in. So a renewal reads, asks and writes under the file's lock.
type tokens struct {
	dir    *home.Dir
	now    func() time.Time
	client signin.Client

	mu      sync.Mutex
	access  string
	expires time.Time
}

// get gives a token that is good for a while. refused is one that the server did not
// take, whatever its end says; it is not given again.
func (t *tokens) get(ctx context.Context, refused string) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.usable(t.access, t.expires, refused) {
		return t.access, nil
	}
	unlock, err := t.dir.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	cred, err := t.dir.Credentials()
	if err != nil {
		return "", err
	}
	if !t.usable(cred.AccessToken, cred.Expires, refused) {
		// An interrupt between the server's answer and the file would lose the successor.
		fresh, err := t.client.Refresh(context.WithoutCancel(ctx), cred.RefreshToken)
		if err != nil {
			return "", fmt.Errorf("renew access token: %w", err)
		}
		cred.AccessToken, cred.Expires, cred.RefreshToken = fresh.Access, fresh.Expires, fresh.Refresh
		if err := t.dir.SaveCredentials(cred); err != nil {
			return "", err
		}
	}
	t.access, t.expires = cred.AccessToken, cred.Expires
	return t.access, nil
}

func (t *tokens) usable(token string, expires time.Time, refused string) bool {
	return token != "" && token != refused && t.now().Add(early).Before(expires)
}

// bearer puts the access token on the requests to one server.
type bearer struct {
	next   http.RoundTripper
	base   *url.URL
	tokens *tokens
}

// RoundTrip implements http.RoundTripper. A token that the server refuses, although it
// should be good, is renewed once: clocks differ, and keys are changed.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != b.base.Scheme || req.URL.Host != b.base.Host {
		closeBody(req)
		return nil, fmt.Errorf("a token for %s is not sent to %s", b.base.Host, req.URL.Host)
	}
	token, err := b.tokens.get(req.Context(), "")
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := b.send(req, req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || (req.Body != nil && req.GetBody == nil) {
		return resp, err
	}
	fresh, err := b.tokens.get(req.Context(), token)
	if err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the refusal itself is an answer
		}
	}
	_ = resp.Body.Close()
	return b.send(req, again, fresh)
}

func (b *bearer) send(req, as *http.Request, token string) (*http.Response, error) {
	out := as.Clone(req.Context())
	out.Header.Set("Authorization", "Bearer "+token)
	return b.next.RoundTrip(out)
}

// closeBody does what a RoundTripper has to, also when it sends nothing.
func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// userAgent names this program, and the act that a request is part of.
type userAgent struct {
	next http.RoundTripper
	name string
}

func (u *userAgent) RoundTrip(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Set("User-Agent", u.name)
	act.Put(out)
	return u.next.RoundTrip(out)
}
