package signin

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// maxHops bounds the redirects of a sign-in.
const maxHops = 10

// Login signs in. It fails with a RefusedError when the server does not take the name and
// the password, with ErrNotSegue when there is no Segue.
func (c *Client) Login(ctx context.Context, user, password string) (Tokens, error) {
	if c.exposed() {
		return Tokens{}, ErrPlainHTTP
	}
	server, err := c.discover(ctx)
	if err != nil {
		return Tokens{}, err
	}
	verifier, err := c.secret()
	if err != nil {
		return Tokens{}, err
	}
	state, err := c.secret()
	if err != nil {
		return Tokens{}, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return Tokens{}, fmt.Errorf("sign in: %w", err)
	}
	challenge := sha256.Sum256([]byte(verifier))
	start := c.Base.JoinPath("/oauth/authorize")
	start.RawQuery = url.Values{
		"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {redirectURI}, "scope": {scope}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode()
	w := &walk{client: c.client(jar), base: c.Base}
	form, err := w.toForm(ctx, start)
	if err != nil {
		return Tokens{}, c.explain(server, err)
	}
	back, err := w.submit(ctx, form, user, password)
	if err != nil {
		return Tokens{}, c.explain(server, err)
	}
	code, err := codeOf(back, state, server.Issuer)
	if err != nil {
		return Tokens{}, err
	}
	return c.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "client_id": {clientID}, "code": {code}, "redirect_uri": {redirectURI}, "code_verifier": {verifier},
	})
}

// explain adds what is the likely cause where the server knows itself by another name:
// its cookies are then not for the name it was reached by.
func (c *Client) explain(server metadata, err error) error {
	var refused *RefusedError
	known, parseErr := url.Parse(server.Issuer)
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden || parseErr != nil || sameOrigin(known, c.Base) {
		return err
	}
	return fmt.Errorf("%w (the server calls itself %s: try --server %[2]s)", err, server.Issuer)
}

// secret draws what nobody can guess: 43 characters.
func (c *Client) secret() (string, error) {
	b := make([]byte, 32)
	if _, err := io.ReadFull(c.Random, b); err != nil {
		return "", fmt.Errorf("sign in: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// codeOf reads the redirect that ends a sign-in.
func codeOf(back *url.URL, state, issuer string) (string, error) {
	q := back.Query()
	switch {
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1:
		return "", errors.New("sign in: the answer is to another request")
	case q.Has("iss") && q.Get("iss") != issuer: // RFC 9207
		return "", errors.New("sign in: the answer is from another server")
	case q.Get("error") != "":
		return "", fmt.Errorf("sign in: %s", strings.TrimSpace(q.Get("error")+" "+q.Get("error_description")))
	case q.Get("code") == "":
		return "", errors.New("sign in: the answer has no code")
	}
	return q.Get("code"), nil
}

// walk goes from page to page on one origin.
type walk struct {
	client *http.Client
	base   *url.URL
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Host, b.Host)
}

// get sends a request and follows redirects to the first page. When one leads back to
// the client, done is that address, and nothing is fetched from it.
func (w *walk) get(req *http.Request) (resp *http.Response, done *url.URL, err error) {
	for range maxHops {
		if !sameOrigin(req.URL, w.base) {
			return nil, nil, fmt.Errorf("sign in: the server leads to another place, %s://%s", req.URL.Scheme, req.URL.Host)
		}
		resp, err := w.client.Do(req)
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		if resp.StatusCode < 300 || resp.StatusCode > 399 {
			return resp, nil, nil
		}
		to, err := resp.Location()
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody)) // so that the connection is used again
		_ = resp.Body.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		if to.Scheme+"://"+to.Host+to.Path == redirectURI {
			return nil, to, nil
		}
		// 307 and 308 would send the form again; no step of a sign-in needs that.
		if req, err = http.NewRequestWithContext(req.Context(), http.MethodGet, to.String(), nil); err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
	}
	return nil, nil, errors.New("sign in: the server redirects without end")
}

// toForm goes to the login form.
func (w *walk) toForm(ctx context.Context, start *url.URL) (*form, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, start.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	resp, done, err := w.get(req)
	if err != nil {
		return nil, err
	}
	if done != nil {
		if text := done.Query().Get("error"); text != "" {
			return nil, fmt.Errorf("sign in: %s", strings.TrimSpace(text+" "+done.Query().Get("error_description")))
		}
		return nil, errors.New("sign in: the server asked for no password")
	}
	defer resp.Body.Close()
	p, err := readPage(resp)
	if err != nil {
		return nil, err
	}
	if p.form == nil {
		return nil, p.refusal(resp)
	}
	return p.form, nil
}

// submit fills in the form, and returns the redirect to the client.
func (w *walk) submit(ctx context.Context, f *form, user, password string) (*url.URL, error) {
	values := url.Values{}
	for name, v := range f.hidden {
		values[name] = v
	}
	values.Set(f.user, user)
	values.Set(f.password, password)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.action.String(), strings.NewReader(values.Encode()))
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, done, err := w.get(req)
	if err != nil || done != nil {
		return done, err
	}
	defer resp.Body.Close()
	p, err := readPage(resp)
	if err != nil {
		return nil, err
	}
	return nil, p.refusal(resp)
}
