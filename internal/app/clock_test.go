package app

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/gen/segue/playback/v1/playbackv1connect"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/gen/segue/user/v1/userv1connect"
	"github.com/segue-music/segue/stream/client"
	"github.com/segue-music/segue/stream/id"
	"github.com/segue-music/segue/stream/seal"
	"github.com/segue-music/segue/stream/wire"
)

const clockPassword = "correct horse battery staple"

// jumpy is a clock that is set forward and back while it runs.
type jumpy struct{ off atomic.Int64 }

// now has no monotonic reading: everything sees the jump.
func (j *jumpy) now() time.Time { return time.Now().Add(time.Duration(j.off.Load())).Round(0) }

// startWhole runs all services but the one that needs ffmpeg, by a clock, and returns the
// door's URL. more are further settings.
func startWhole(t *testing.T, now func() time.Time, more ...string) (base string) {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(clockPassword), 0o600); err != nil {
		t.Fatal(err)
	}
	var c Config
	fs := flag.NewFlagSet("segue", flag.ContinueOnError)
	c.RegisterFlags(fs)
	ready := filepath.Join(dir, "ready")
	if err := fs.Parse(append([]string{
		"-target=user,metadata,playback,warehouse,collect,edge,gateway", "-data=" + filepath.Join(dir, "data"), "-ready.file=" + ready,
		"-http.rate.rpc-per-ip=10+1000000", "-http.rate.rpc-per-user=10+1000000", "-http.rate.login-per-ip=10+1000000",
		"-http.rate.media-per-ip=10+1000000", // rates and jumps are another matter
		"-http.listen=127.0.0.1:0", "-quic.listen=127.0.0.1:0", "-user.admin-password.file=" + password,
	}, more...)); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, c, "test", now, io.Discard, io.Discard) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	limit := time.After(time.Minute)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		var at doors
		if b, err := os.ReadFile(ready); err == nil && json.Unmarshal(b, &at) == nil {
			return at.HTTP
		}
		select {
		case <-look.C:
		case err := <-done:
			t.Fatalf("ended with %v", err)
		case <-limit:
			t.Fatal("not ready within a minute")
		}
	}
}

// device is somebody who is signed in.
type device struct {
	base            string
	access, refresh string
	logouts, again  int
}

func (p *device) Do(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Bearer "+p.access)
	return http.DefaultClient.Do(r)
}

var loginID = regexp.MustCompile(`name="id" value="([^"]*)"`)

func (p *device) signIn() error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	res, err := browser.Get(p.base + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {"seguectl"}, "redirect_uri": {"http://127.0.0.1/callback"},
		"scope": {"openid offline_access"}, "code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}.Encode())
	if err != nil {
		return err
	}
	page, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	form := loginID.FindSubmatch(page)
	if err != nil || form == nil {
		return fmt.Errorf("no login form: %s %w", res.Status, err)
	}
	res, err = browser.PostForm(p.base+"/login", url.Values{
		"id": {html.UnescapeString(string(form[1]))}, "username": {"admin"}, "password": {clockPassword},
	})
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	to, err := res.Location()
	if err != nil {
		return fmt.Errorf("login: %s", res.Status)
	}
	return p.token(url.Values{
		"grant_type": {"authorization_code"}, "code": {to.Query().Get("code")}, "redirect_uri": {"http://127.0.0.1/callback"}, "code_verifier": {verifier},
	})
}

func (p *device) renew() error {
	return p.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {p.refresh}})
}

var errSignedOut = errors.New("signed out")

func (p *device) token(form url.Values) error {
	form.Set("client_id", "seguectl")
	res, err := http.PostForm(p.base+"/oauth/token", form)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Error   string `json:"error"`
	}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		return err
	}
	if got.Error == "invalid_grant" {
		p.logouts++
		return errSignedOut
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("token: %s %s", res.Status, got.Error)
	}
	p.access, p.refresh = got.Access, got.Refresh
	return nil
}

// call does something as every client does: where its access token is refused it renews
// it, once, and tries again.
func (p *device) call(do func() error) error {
	err := do()
	if connect.CodeOf(err) != connect.CodeUnauthenticated || err == nil {
		return err
	}
	p.again++
	if err := p.renew(); err != nil {
		return err
	}
	return do()
}

// TestRun_ClockJumps sets the clock of the whole program an hour forward and back, many
// times, while devices call, renew and hold streaming sessions: a device has to renew its
// token, and never to sign in.
func TestRun_ClockJumps(t *testing.T) {
	clock := &jumpy{}
	base := startWhole(t, clock.now)
	ctx := t.Context()
	devices := make([]*device, 4)
	sessions := make([]*client.Session, len(devices))
	for i := range devices {
		devices[i] = &device{base: base}
		if err := devices[i].signIn(); err != nil {
			t.Fatal(err)
		}
		sessions[i] = openStream(t, devices[i], clock.now)
	}
	for step, jump := range []time.Duration{time.Hour, -time.Hour, -time.Hour, 2 * time.Hour, -time.Hour, 9*time.Minute + 50*time.Second, 20 * time.Second, -30 * time.Second} {
		clock.off.Add(int64(jump))
		var wg sync.WaitGroup
		for i, p := range devices {
			wg.Go(func() {
				for range 5 {
					err := p.call(func() error {
						_, err := userv1connect.NewAccountServiceClient(p, base).GetMe(ctx, &userv1.GetMeRequest{})
						return err
					})
					if err != nil {
						t.Errorf("after jump %d (%s): %v", step, jump, err)
					}
					// There is no music here: a session that may play is told so.
					_, err = sessions[i].Play(ctx, client.Request{Track: [16]byte{1}})
					if !errors.Is(err, &wire.Error{Code: wire.NotFound}) {
						t.Errorf("after jump %d (%s): a play: %v", step, jump, err)
					}
				}
				if err := p.renew(); err != nil {
					t.Errorf("after jump %d (%s): renew: %v", step, jump, err)
				}
			})
		}
		wg.Wait()
	}
	logouts, again := 0, 0
	for _, p := range devices {
		logouts, again = logouts+p.logouts, again+p.again
	}
	if logouts != 0 || again == 0 {
		t.Errorf("%d devices were signed out; %d tokens were renewed out of turn, want some", logouts, again)
	}
	t.Logf("%d devices, 8 jumps: 0 signed out, %d tokens renewed because of the clock", len(devices), again)
}

func openStream(t *testing.T, p *device, now func() time.Time) *client.Session {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	api := playbackv1connect.NewSessionServiceClient(p, p.base)
	res, err := api.OpenSession(t.Context(), &playbackv1.OpenSessionRequest{
		DeviceId: id.New(time.Now(), rand.Reader).String(), PublicKey: key.PublicKey().Bytes(),
	})
	if err != nil {
		t.Fatal(err)
	}
	sessionID, err := id.Parse(res.GetSessionId())
	if err != nil {
		t.Fatal(err)
	}
	sessionKey, err := seal.OpenSessionKey(key, sessionID, res.GetSealedKey())
	if err != nil {
		t.Fatal(err)
	}
	e := res.GetEndpoints()[0]
	var mu sync.Mutex
	s, err := client.Open(client.Config{
		SessionID: sessionID, SessionKey: sessionKey, Ticket: res.GetTicket(), TicketExpires: time.UnixMilli(res.GetTicketExpiresUnixMs()), Now: now,
		Endpoints: []client.Endpoint{{QUIC: e.GetQuic(), CertificateSHA256: e.GetCertificateSha256(), Fallback: e.GetFallback()}},
		RenewTicket: func(ctx context.Context) ([]byte, time.Time, error) {
			mu.Lock()
			defer mu.Unlock()
			var out *playbackv1.RenewTicketResponse
			err := p.call(func() (err error) {
				out, err = api.RenewTicket(ctx, &playbackv1.RenewTicketRequest{SessionId: sessionID.String()})
				return err
			})
			return out.GetTicket(), time.UnixMilli(out.GetTicketExpiresUnixMs()), err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
