package api

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segue-music/segue/cmd/seguectl/internal/home"
	"github.com/segue-music/segue/cmd/seguectl/internal/signin"
)

// server takes each refresh token once, and ends the sign-in when one comes twice.
type server struct {
	mu       sync.Mutex
	current  int
	ended    bool
	refused  map[string]bool // access tokens that are not taken
	requests []string
	body     string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/oauth/token" {
		if s.ended || r.PostFormValue("refresh_token") != fmt.Sprint("r", s.current) {
			s.ended = true
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant"}`)
			return
		}
		s.current++
		// An answer that cannot be written is seen by its reader.
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": fmt.Sprint("a", s.current), "refresh_token": fmt.Sprint("r", s.current), "token_type": "bearer", "expires_in": 600,
		})
		return
	}
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.requests = append(s.requests, token)
	b := make([]byte, 10)
	n, _ := r.Body.Read(b)
	s.body = string(b[:n])
	if s.refused[token] {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func signedIn(t *testing.T, access string, expires time.Time) (*server, *home.Dir, string) {
	t.Helper()
	s := &server{refused: map[string]bool{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	dir, err := home.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.SaveCredentials(home.Credentials{Server: srv.URL, User: "ada", RefreshToken: "r0", AccessToken: access, Expires: expires}); err != nil {
		t.Fatal(err)
	}
	return s, dir, srv.URL
}

func call(t *testing.T, dir *home.Dir, url string) (*http.Response, error) {
	t.Helper()
	a, err := New(dir, "seguectl/test")
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := a.HTTP().Do(req)
	if err == nil {
		_ = resp.Body.Close()
	}
	return resp, err
}

func TestTokens_Kept(t *testing.T) {
	s, dir, url := signedIn(t, "a0", time.Now().Add(time.Hour))
	if _, err := call(t, dir, url+"/x"); err != nil {
		t.Fatal(err)
	}
	if s.current != 0 || s.requests[0] != "a0" {
		t.Errorf("%d renewals, requests with %v", s.current, s.requests)
	}
}

func TestTokens_Renewed(t *testing.T) {
	s, dir, url := signedIn(t, "a0", time.Now().Add(early/2))
	for range 2 {
		if _, err := call(t, dir, url+"/x"); err != nil {
			t.Fatal(err)
		}
	}
	cred, err := dir.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	if s.current != 1 || s.requests[1] != "a1" || cred.RefreshToken != "r1" || cred.AccessToken != "a1" {
		t.Errorf("%d renewals, requests with %v, stored %q", s.current, s.requests, cred.RefreshToken)
	}
}

// Several processes at once, each with its own API, renew once.
func TestTokens_AtOnce(t *testing.T) {
	s, dir, url := signedIn(t, "", time.Time{})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := call(t, dir, url+"/x"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if s.current != 1 || s.ended {
		t.Errorf("%d renewals, ended: %v", s.current, s.ended)
	}
}

// A token that is refused before its end is renewed, and the request sent again whole.
func TestTokens_Refused(t *testing.T) {
	s, dir, url := signedIn(t, "a0", time.Now().Add(time.Hour))
	s.refused["a0"] = true
	resp, err := call(t, dir, url+"/x")
	if err != nil || resp.StatusCode != http.StatusOK || s.body != "body" {
		t.Errorf("%v, body %q", err, s.body)
	}
	s.refused["a1"], s.refused["a2"] = true, true
	if resp, err = call(t, dir, url+"/x"); err != nil || resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("refused twice: %v", err)
	}
}

func TestTokens_Ended(t *testing.T) {
	s, dir, url := signedIn(t, "", time.Time{})
	s.ended = true
	if _, err := call(t, dir, url+"/x"); !errors.Is(err, signin.ErrEnded) {
		t.Errorf("error is %v", err)
	}
}

// An interrupt during a renewal loses nothing.
func TestTokens_Interrupted(t *testing.T) {
	s, dir, url := signedIn(t, "", time.Time{})
	a, err := New(dir, "seguectl/test")
	if err != nil {
		t.Fatal(err)
	}
	bearer := a.HTTP().Transport.(*bearer)
	unlockable, cancel := context.WithCancel(t.Context())
	bearer.tokens.client.Transport = cancelling{bearer.tokens.client.Transport, cancel}
	if token, err := bearer.tokens.get(unlockable, ""); err != nil || token != "a1" {
		t.Errorf("%q, %v", token, err)
	}
	if _, err := call(t, dir, url+"/x"); err != nil || s.ended {
		t.Errorf("the next run: %v, ended: %v", err, s.ended)
	}
}

type cancelling struct {
	http.RoundTripper
	cancel func()
}

func (c cancelling) RoundTrip(r *http.Request) (*http.Response, error) {
	c.cancel()
	return c.RoundTripper.RoundTrip(r)
}

func TestTokens_OneServer(t *testing.T) {
	_, dir, _ := signedIn(t, "a0", time.Now().Add(time.Hour))
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("another server got %q", r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	if _, err := call(t, dir, other.URL); err == nil {
		t.Error("no error")
	}
}

func TestTransport_CA(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != "seguectl/test" {
			t.Errorf("user agent is %q", r.UserAgent())
		}
	}))
	t.Cleanup(srv.Close)
	if _, err := Transport("no pem", ""); !errors.Is(err, ErrCA) {
		t.Errorf("error is %v", err)
	}
	ca := pemOf(srv.Certificate().Raw)
	for name, certs := range map[string]string{"trusted": ca, "not trusted": ""} {
		rt, err := Transport(certs, "seguectl/test")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: rt}).Get(srv.URL)
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != (certs != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func pemOf(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
