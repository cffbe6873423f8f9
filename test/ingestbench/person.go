package main

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/gen/segue/metadata/v1/metadatav1connect"
	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

// person is the admin, signed in as the OAuth client seguectl.
type person struct {
	base, access string
}

// Do implements connect.HTTPClient.
func (p *person) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+p.access)
	return http.DefaultClient.Do(req) //nolint:gosec // to the server that this program has started
}

var loginID = regexp.MustCompile(`name="id" value="([^"]*)"`)

// signIn fills in the login form.
func signIn(ctx context.Context, base string) (*person, error) {
	const callback = "http://127.0.0.1/callback"
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	send := func(method, to string, form url.Values) ([]byte, *url.URL, error) {
		req, err := http.NewRequestWithContext(ctx, method, base+to, strings.NewReader(form.Encode()))
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		if method == http.MethodPost {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := browser.Do(req)
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return nil, nil, fmt.Errorf("sign in: %w", err)
		}
		back, err := res.Location()
		if errors.Is(err, http.ErrNoLocation) {
			back, err = &url.URL{}, nil
		}
		return b, back, err
	}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	page, _, err := send(http.MethodGet, "/oauth/authorize?"+url.Values{
		"response_type": {"code"}, "client_id": {"seguectl"}, "redirect_uri": {callback}, "scope": {"openid profile offline_access"}, "state": {"bench"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	form := loginID.FindSubmatch(page)
	if err != nil || form == nil {
		return nil, errors.Join(errors.New("sign in: no login form"), err)
	}
	_, to, err := send(http.MethodPost, "/login", url.Values{"id": {html.UnescapeString(string(form[1]))}, "username": {"admin"}, "password": {password}})
	if err != nil {
		return nil, err
	}
	answer, _, err := send(http.MethodPost, "/oauth/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {"seguectl"}, "code": {to.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier},
	})
	if err != nil {
		return nil, err
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal(answer, &token); err != nil || token.Access == "" {
		return nil, fmt.Errorf("sign in: no token: %.200s", answer)
	}
	return &person{base, token.Access}, nil
}

// tracks lists the whole catalogue.
func (p *person) tracks(ctx context.Context) ([]*metadatav1.Track, error) {
	catalogue := metadatav1connect.NewCatalogueServiceClient(p, p.base)
	var out []*metadatav1.Track
	req := &metadatav1.ListTracksRequest{PageSize: 200}
	for {
		page, err := catalogue.ListTracks(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("list tracks: %w", err)
		}
		out = append(out, page.GetTracks()...)
		if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
			return out, nil
		}
	}
}

// session opens a streaming session.
func (p *person) session(ctx context.Context) (*client.Session, error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make device key: %w", err)
	}
	res, err := playbackv1connect.NewSessionServiceClient(p, p.base).OpenSession(ctx, &playbackv1.OpenSessionRequest{
		DeviceId: id.New(time.Now(), rand.Reader).String(), DeviceName: "bench", Client: "bench", PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	sid, err := id.Parse(res.GetSessionId())
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	sessionKey, err := seal.OpenSessionKey(key, sid, res.GetSealedKey())
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	e := res.GetEndpoints()[0]
	_, port, err := net.SplitHostPort(e.GetQuic())
	if err != nil {
		return nil, fmt.Errorf("open session: %w", err)
	}
	return client.Open(client.Config{
		SessionID: sid, SessionKey: sessionKey, Ticket: res.GetTicket(),
		Endpoints: []client.Endpoint{{QUIC: net.JoinHostPort("127.0.0.1", port), CertificateSHA256: e.GetCertificateSha256(), Fallback: e.GetFallback()}},
		HTTP:      http.DefaultClient,
	})
}

// hear plays a track until its first page is there, and asks again as long as the server
// says that it is being prepared: how often, is returned too.
func hear(ctx context.Context, s *client.Session, track string) (asked int, err error) {
	t, err := id.Parse(track)
	if err != nil {
		return 0, fmt.Errorf("play: %w", err)
	}
	for {
		asked++
		st, err := s.Play(ctx, client.Request{Track: t, PlayID: id.New(time.Now(), rand.Reader), Quality: wire.Kbps160})
		if err == nil {
			_, err = st.Next()
			return asked, errors.Join(err, st.Close())
		}
		var refused *wire.Error
		if !errors.As(err, &refused) || refused.RetryAfter == 0 {
			return asked, fmt.Errorf("play: %w", err)
		}
		select {
		case <-ctx.Done():
			return asked, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
