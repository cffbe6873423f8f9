package user

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"
)

// maxForm bounds a form in bytes.
const maxForm = 16 << 10

// refreshCookie holds the refresh token of a browser.
const refreshCookie = "segue_refresh"

// door stands before op. It bounds requests, refuses a parameter that comes twice and a
// secret in a URL, and puts a browser's refresh token from its cookie into the form.
func (s *Service) door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if r.URL.Path == pathDiscovery || r.URL.Path == pathKeys {
			h.Set("Cache-Control", "public, max-age=300")
			h.Set("Access-Control-Allow-Origin", "*") // public by nature
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			refuse(w, http.StatusBadRequest, "invalid_request", "form cannot be read")
			return
		}
		for _, values := range r.Form {
			if len(values) > 1 { // RFC 6749 section 3.1; two readers might take different ones
				refuse(w, http.StatusBadRequest, "invalid_request", "a parameter comes twice")
				return
			}
		}
		if r.URL.Path == pathToken || r.URL.Path == pathRevoke {
			if r.Method != http.MethodPost || r.URL.RawQuery != "" {
				h.Set("Allow", http.MethodPost)
				refuse(w, http.StatusMethodNotAllowed, "invalid_request", "tokens are asked for by POST, without a query")
				return
			}
			if r.Form.Get("client_id") == clientWeb && !s.fromBrowser(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), replyKey{}, h)))
	})
}

// fromBrowser prepares a request of the web player, or answers it and returns false.
func (s *Service) fromBrowser(w http.ResponseWriter, r *http.Request) bool {
	if !s.sameOrigin(r) {
		refuse(w, http.StatusForbidden, "invalid_request", "request comes from another site")
		return false
	}
	field := "refresh_token"
	if r.URL.Path == pathRevoke {
		field = "token"
	} else if r.Form.Get("grant_type") != "refresh_token" {
		return true
	}
	if r.Form.Has(field) {
		refuse(w, http.StatusBadRequest, "invalid_request", "the web player's refresh token is in its cookie only")
		return false
	}
	c, err := r.Cookie(refreshCookie)
	if err != nil || c.Value == "" {
		if r.URL.Path == pathRevoke {
			return false // signed out already: an empty 200
		}
		refuse(w, http.StatusBadRequest, "invalid_grant", "sign in")
		return false
	}
	// Form alone is what op reads.
	r.Form.Set(field, c.Value)
	return true
}

// sameOrigin reports whether a browser says that the request comes from our own page. A
// request that says nothing is refused: the cookie is sent by browsers only, and they say.
func (s *Service) sameOrigin(r *http.Request) bool {
	site, origin := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Origin")
	return (site != "" || origin != "") && (site == "" || site == "same-origin") && (origin == "" || s.ourOrigin(origin))
}

// refuse answers in the form of RFC 6749 section 5.2.
func refuse(w http.ResponseWriter, status int, code, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Both are constants of this package without a character that JSON escapes.
	_, _ = w.Write([]byte(`{"error":"` + code + `","error_description":"` + text + `"}` + "\n"))
}

// replyKey finds the header of the reply in a request's context: op hands methods no
// way to set one with an error.
type replyKey struct{}

// setRefreshCookie sets the browser's refresh token in the reply; life 0 deletes it.
func (s *Service) setRefreshCookie(ctx context.Context, token string, life time.Duration) {
	h, ok := ctx.Value(replyKey{}).(http.Header)
	if !ok {
		return
	}
	c := &http.Cookie{ //nolint:gosec // Secure wherever the site has https
		Name: refreshCookie, Value: token, Path: "/oauth", HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode,
		MaxAge: int(life / time.Second),
	}
	if life <= 0 {
		c.MaxAge = -1
	}
	h.Add("Set-Cookie", c.String())
}

// secure reports whether cookies are for https only: always, but on this machine itself,
// where there is no network to listen on.
func (s *Service) secure() bool {
	u, err := url.Parse(s.issuer())
	if err != nil || u.Scheme != "http" {
		return true
	}
	return u.Hostname() != "localhost" && !net.ParseIP(u.Hostname()).IsLoopback()
}
