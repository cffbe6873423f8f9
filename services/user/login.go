package user

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/services/user/password"
)

// What a sign-in can end with besides success.
var (
	errCredentials = fault.New(fault.Denied, "That name and password do not match.")
	errDisabled    = fault.New(fault.Denied, "This account is disabled.")
	errStale       = fault.New(fault.Invalid, "This page has expired, or cookies are switched off.")
)

// loginPage shows the form of a request.
func (s *Service) loginPage(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("id")
	lr, err := s.openLogin(id)
	if err != nil {
		s.staleLogin(w, r, err)
		return
	}
	s.showLogin(w, r, http.StatusOK, loginView{ID: id, Username: lr.LoginHint}, lr)
}

// login takes the form. It works without a script; the way back to the client is a
// redirect with the code.
func (s *Service) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.staleLogin(w, r, errStale.Because(err))
		return
	}
	id, username := r.PostForm.Get("id"), r.PostForm.Get("username")
	lr, err := s.openLogin(id)
	if err != nil {
		s.staleLogin(w, r, err)
		return
	}
	if site := r.Header.Get("Sec-Fetch-Site"); !sameBrowser(r, lr) || (site != "" && site != "same-origin") {
		s.staleLogin(w, r, errStale)
		return
	}
	a, err := s.signIn(r.Context(), lr.ClientID, username, r.PostForm.Get("password"))
	var code string
	if err == nil {
		code, err = s.issueCode(r.Context(), lr, a)
	}
	if err != nil {
		s.failedLogin(w, r, loginView{ID: id, Username: username}, lr, err)
		return
	}
	http.SetCookie(w, s.loginCookie(lr, 0))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer") // the code is in the next URL
	http.Redirect(w, r, s.withCode(lr, code), http.StatusSeeOther)
}

// withCode is the client's redirect with the code, the state and the issuer (RFC 9207).
func (s *Service) withCode(r loginRequest, code string) string {
	q := url.Values{"code": {code}, "iss": {s.issuer()}}
	if r.State != "" {
		q.Set("state", r.State)
	}
	return r.RedirectURI + "?" + q.Encode() // it has no query of its own: exact match
}

func (s *Service) failedLogin(w http.ResponseWriter, r *http.Request, v loginView, lr loginRequest, err error) {
	if r.Context().Err() != nil {
		return // the browser went away
	}
	status := http.StatusInternalServerError
	v.Error = "Something went wrong on the server. Try again."
	if fault.KindOf(err) != 0 {
		status, v.Error = fault.HTTPStatus(err), fault.Public(err)
	} else {
		s.log.ErrorContext(r.Context(), "sign-in failed", "request", identity.From(r.Context()).RequestID, "err", err)
	}
	if wait := fault.RetryAfter(err); wait > 0 {
		w.Header().Set("Retry-After", seconds(wait))
		v.Error = "Too many attempts. Try again in " + inWords(wait) + "."
		if errors.Is(err, password.ErrBusy) {
			v.Error = "Many people are signing in just now. Try again in " + inWords(wait) + "."
		}
	}
	s.showLogin(w, r, status, v, lr)
}

func inWords(d time.Duration) string {
	if d <= 90*time.Second {
		return seconds(d) + " seconds"
	}
	return fmt.Sprintf("%d minutes", (d+time.Minute-1)/time.Minute)
}

// nameKey is what is counted of a username, which may be no account's and of any length.
func nameKey(username string) string { return truncate(username, 64) }

func truncate(s string, n int) string { return strings.ToValidUTF8(s[:min(n, len(s))], "") }

// signIn finds the account of a name and a password. Whether there is such an account
// shows neither in the answer nor in its cost: a hash is computed in any case.
func (s *Service) signIn(ctx context.Context, clientID, username, secret string) (Account, error) {
	username = strings.ToLower(strings.TrimSpace(username))
	who := identity.From(ctx)
	address, name := addressKey(who.IP), nameKey(username)
	if wait, ok := s.limits.take(ctx, byAddress, address); !ok {
		s.metrics.logins.WithLabelValues("limited").Inc()
		return Account{}, ErrLimited.RetryIn(wait)
	}
	if wait, ok := s.limits.take(ctx, byName, name); !ok {
		s.metrics.logins.WithLabelValues("limited").Inc()
		return Account{}, ErrLimited.RetryIn(wait)
	}
	a, hash, err := s.store.AccountByName(ctx, username)
	unknown := errors.Is(err, ErrNotFound)
	if err != nil && !unknown {
		return Account{}, fmt.Errorf("sign in: %w", err)
	}
	hasher := s.hasher
	if s.guessers.is(s.now(), address) {
		hasher = hasher.Last() // whoever guesses lets the others go first
	}
	right, outdated, err := hasher.Verify(ctx, hash, secret)
	if err != nil {
		s.limits.giveBack(ctx, byName, name)
		return Account{}, fmt.Errorf("sign in: %w", err)
	}
	if unknown || !right {
		s.guessers.wrong(s.now(), address)
	}
	switch {
	case unknown:
		s.loginFailed(ctx, clientID, Account{}, "unknown name", who)
		return Account{}, errCredentials
	case !right:
		s.loginFailed(ctx, clientID, a, "wrong password", who)
		return Account{}, errCredentials
	case a.Disabled: // told only to whom the password is known
		s.loginFailed(ctx, clientID, a, "account disabled", who)
		return Account{}, errDisabled
	}
	s.limits.giveBack(ctx, byName, name)
	s.limits.giveBack(ctx, byAddress, address)
	s.metrics.logins.WithLabelValues("ok").Inc()
	if outdated {
		s.rehash(ctx, a.ID, hash, secret)
	}
	return a, nil
}

func (s *Service) loginFailed(ctx context.Context, clientID string, a Account, reason string, who identity.Identity) {
	s.metrics.logins.WithLabelValues("failed").Inc()
	id := s.newID()
	s.log.InfoContext(ctx, "sign-in refused", "reason", reason, "client", clientID, "user", a.ID, "request", who.RequestID)
	f := fact{subject: loginSubject(id), revision: 1, userID: a.ID, payload: &eventv1.LoginFailed{Reason: reason}}
	if a.ID != "" {
		f.personal = &eventv1.Personal{Username: a.Username, Ip: who.IP, UserAgent: who.UserAgent}
	}
	s.record(ctx, f)
}

// rehash stores a password under the parameters of today. The sign-in does not depend on it.
func (s *Service) rehash(ctx context.Context, userID, old, secret string) {
	hash, err := s.hasher.Hash(ctx, secret)
	if err == nil {
		err = s.store.ReplaceHash(ctx, userID, old, hash)
	}
	if err != nil {
		s.log.WarnContext(ctx, "password was not hashed anew", "user", userID, "err", err)
	}
}

const (
	// guessedLately is how long an address that guessed wrong waits behind the others.
	guessedLately = 2 * time.Minute
	// mostGuessers bounds the memory; past it, any tenth is forgotten.
	mostGuessers = 50_000
)

// guessers are the addresses from which a wrong password came lately.
type guessers struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func newGuessers() *guessers { return &guessers{last: map[string]time.Time{}} }

func (g *guessers) wrong(now time.Time, address string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, had := g.last[address]; !had && len(g.last) >= mostGuessers {
		for a, at := range g.last {
			if !lately(at, now) {
				delete(g.last, a)
			}
		}
		for a := range g.last {
			if len(g.last) <= mostGuessers*9/10 {
				break
			}
			delete(g.last, a)
		}
	}
	g.last[address] = now
}

func (g *guessers) is(now time.Time, address string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.last[address]
	return ok && lately(at, now)
}

// lately is false for a time that has not come: the clock was set back.
func lately(at, now time.Time) bool {
	age := now.Sub(at)
	return age >= 0 && age < guessedLately
}
