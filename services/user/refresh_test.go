package user_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/services/user"
)

func TestRefresh_Rotation(t *testing.T) {
	f := setUp(t)
	b, first := f.ctl()
	seen := map[string]bool{first.Refresh: true}
	token, login := first.Refresh, ""
	for i := range 5 {
		f.pass(10 * time.Minute)
		a := b.refresh("seguectl", token)
		got := a.tokens(f)
		if a.status != http.StatusOK || seen[got.Refresh] {
			t.Fatalf("refresh %d: %d %s", i, a.status, a.body)
		}
		claims, err := f.verify(got.Access)
		if err != nil {
			t.Fatal(err)
		}
		if login != "" && claims.LoginID != login {
			t.Errorf("the sign-in changed from %s to %s", login, claims.LoginID)
		}
		token, login, seen[got.Refresh] = got.Refresh, claims.LoginID, true
	}
	events := f.named("TokenRefreshed")
	if len(events) != 5 {
		t.Fatalf("%d events, want 5", len(events))
	}
	for i, e := range events {
		var p eventv1.TokenRefreshed
		if err := e.GetPayload().UnmarshalTo(&p); err != nil {
			t.Fatal(err)
		}
		if p.GetGeneration() != uint32(i+1) || p.GetFamilyId() != login || e.GetSessionId() != login || e.GetRevision() != uint64(i+2) {
			t.Errorf("event %d: %v of revision %d", i, &p, e.GetRevision())
		}
	}
}

func TestRefresh_Grace(t *testing.T) {
	f := setUp(t)
	b, first := f.ctl()
	next := b.refresh("seguectl", first.Refresh).tokens(f)
	for range 3 { // the reply was lost, or a second tab came
		f.pass(3 * time.Second)
		again := b.refresh("seguectl", first.Refresh)
		if got := again.tokens(f); again.status != http.StatusOK || got.Refresh != next.Refresh || got.Access == "" {
			t.Fatalf("within the grace: %d %s, want the same successor", again.status, again.body)
		}
	}
	if n := len(f.named("TokenRefreshed")); n != 1 {
		t.Errorf("%d events for one rotation", n)
	}
	if a := b.refresh("seguectl", next.Refresh); a.status != http.StatusOK {
		t.Errorf("the successor: %d %s", a.status, a.body)
	}
}

// TestRefresh_Tabs has many tabs come at once with one token: all get one successor.
func TestRefresh_Tabs(t *testing.T) {
	f := setUp(t)
	b, first := f.ctl()
	answers := make([]answer, 12)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = b.refresh("seguectl", first.Refresh) })
	}
	wg.Wait()
	next := answers[0].tokens(f).Refresh
	for i, a := range answers {
		if a.status != http.StatusOK || a.tokens(f).Refresh != next || next == "" {
			t.Errorf("tab %d: %d %s", i, a.status, a.body)
		}
	}
	if n := len(f.named("TokenRefreshed")); n != 1 {
		t.Errorf("%d rotations, want 1", n)
	}
}

func TestRefresh_Reuse(t *testing.T) {
	cases := map[string]struct {
		rotations int           // before the first token is used again
		pass      time.Duration // since the last one
	}{
		"predecessor_after_grace": {1, 10*time.Second + time.Millisecond},
		"older_at_once":           {2, 0},
		"much_older":              {5, time.Hour},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := setUp(t)
			b, first := f.ctl()
			_, other := f.ctl()
			token := first.Refresh
			for range c.rotations {
				token = b.refresh("seguectl", token).tokens(f).Refresh
			}
			f.pass(c.pass)
			if a := b.refresh("seguectl", first.Refresh); a.status != http.StatusBadRequest || a.tokens(f).Error != "invalid_grant" {
				t.Fatalf("reuse: %d %s", a.status, a.body)
			}
			if a := b.refresh("seguectl", token); a.status != http.StatusBadRequest {
				t.Errorf("the current token lives on: %d", a.status)
			}
			if a := b.refresh("seguectl", first.Refresh); a.status != http.StatusBadRequest {
				t.Errorf("reuse again: %d", a.status)
			}
			if a := b.refresh("seguectl", other.Refresh); a.status != http.StatusOK {
				t.Errorf("another sign-in ended too: %d", a.status)
			}
			e := f.named("TokenFamilyRevoked")
			if len(e) != 1 {
				t.Fatalf("%d events, want 1", len(e))
			}
			var p eventv1.TokenFamilyRevoked
			if err := e[0].GetPayload().UnmarshalTo(&p); err != nil || p.GetReason() != "refresh token used again" || p.GetFamilyId() == "" {
				t.Errorf("event %v, %v", &p, err)
			}
		})
	}
}

// TestRefresh_Forged: whoever knows a sign-in's id, which is in every access token, can
// neither refresh nor end it.
func TestRefresh_Forged(t *testing.T) {
	f := setUp(t)
	b, first := f.ctl()
	token := first.Refresh
	for range 3 {
		token = b.refresh("seguectl", token).tokens(f).Refresh
	}
	parts := strings.Split(token, ".") // sgr, family, generation, secret
	_, other := f.ctl()
	foreign := strings.Split(other.Refresh, ".")
	forged := map[string]string{
		"zero_secret":      strings.Join([]string{parts[0], parts[1], parts[2], strings.Repeat("A", 43)}, "."),
		"past_generation":  strings.Join([]string{parts[0], parts[1], "0", strings.Repeat("A", 43)}, "."),
		"own_secret_past":  strings.Join([]string{parts[0], parts[1], "0", parts[3]}, "."),
		"next_generation":  strings.Join([]string{parts[0], parts[1], "4", parts[3]}, "."),
		"foreign_secret":   strings.Join([]string{parts[0], parts[1], "0", foreign[3]}, "."),
		"leading_zero":     strings.Join([]string{parts[0], parts[1], "0" + parts[2], parts[3]}, "."),
		"plus":             strings.Join([]string{parts[0], parts[1], "+" + parts[2], parts[3]}, "."),
		"more":             token + ".x",
		"access_token":     first.Access,
		"other_prefix":     "sgx" + token[3:],
		"unknown_family":   strings.Join([]string{parts[0], strings.Repeat("1", 22), "0", parts[3]}, "."),
		"malformed_family": strings.Join([]string{parts[0], "1", "0", parts[3]}, "."),
		"empty":            "sgr...",
	}
	for name, token := range forged {
		t.Run(name, func(t *testing.T) {
			if a := b.refresh("seguectl", token); a.status != http.StatusBadRequest || a.tokens(f).Error != "invalid_grant" {
				t.Errorf("%d %s", a.status, a.body)
			}
			revoked := b.do(http.MethodPost, "/oauth/revoke", map[string][]string{"client_id": {"seguectl"}, "token": {token}}, nil)
			if revoked.status != http.StatusOK {
				t.Errorf("revoke: %d %s", revoked.status, revoked.body)
			}
		})
	}
	stranger := f.browser()
	a := stranger.do(http.MethodPost, "/oauth/token", map[string][]string{"client_id": {"web"}, "grant_type": {"refresh_token"}},
		http.Header{"Cookie": {"segue_refresh=" + token}})
	if a.status != http.StatusBadRequest {
		t.Errorf("a token of seguectl was taken from web: %d", a.status)
	}
	if a := b.refresh("seguectl", token); a.status != http.StatusOK {
		t.Errorf("the sign-in was ended by a forgery: %d %s", a.status, a.body)
	}
	if e := f.named("TokenFamilyRevoked"); len(e) > 0 {
		t.Errorf("%d families were revoked", len(e))
	}
}

func TestRefresh_AbsoluteEnd(t *testing.T) {
	f := setUp(t)
	b, got := f.ctl()
	token := got.Refresh
	for range 9 {
		f.pass(10*24*time.Hour - time.Minute)
		a := b.refresh("seguectl", token)
		if a.status != http.StatusOK {
			t.Fatalf("within 90 days: %d %s", a.status, a.body)
		}
		token = a.tokens(f).Refresh
	}
	f.pass(10 * time.Minute)
	if a := b.refresh("seguectl", token); a.status != http.StatusBadRequest {
		t.Errorf("after 90 days, though used all the time: %d", a.status)
	}
}

func TestRevoke(t *testing.T) {
	f := setUp(t)
	for name, which := range map[string]int{"current": 1, "past": 0} {
		t.Run(name, func(t *testing.T) {
			b, first := f.ctl()
			chain := []string{first.Refresh, b.refresh("seguectl", first.Refresh).tokens(f).Refresh}
			a := b.do(http.MethodPost, "/oauth/revoke", map[string][]string{"client_id": {"seguectl"}, "token": {chain[which]}}, nil)
			if a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if a := b.refresh("seguectl", chain[1]); a.status != http.StatusBadRequest {
				t.Errorf("after revocation: %d", a.status)
			}
		})
	}
}

// TestRefresh_Disabled: even where the sign-in itself was not ended, a disabled account
// gets no token.
func TestRefresh_Disabled(t *testing.T) {
	f := setUp(t)
	f.create("second", administrator)
	b, got := f.ctl()
	waiting := b.code("seguectl")
	a, err := f.store.Account(t.Context(), f.adminID)
	if err != nil {
		t.Fatal(err)
	}
	a.Disabled, a.Revision = true, a.Revision+1
	if err := f.store.UpdateAccount(t.Context(), user.Change{Account: a}); err != nil {
		t.Fatal(err)
	}
	if r := b.refresh("seguectl", got.Refresh); r.status != http.StatusBadRequest {
		t.Errorf("refresh: %d", r.status)
	}
	if r := b.exchange("seguectl", waiting, nil); r.status != http.StatusBadRequest {
		t.Errorf("code: %d", r.status)
	}
}
