package user

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"github.com/segue-music/segue/internal/identity"
)

//go:embed pages
var pageFiles embed.FS

func parsePages() (*template.Template, error) {
	t, err := template.ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse pages: %w", err)
	}
	return t, nil
}

// loginView is what the page of the form shows.
type loginView struct {
	ID       string
	Username string
	Client   string
	Error    string
}

func (s *Service) showLogin(w http.ResponseWriter, r *http.Request, status int, v loginView, lr loginRequest) {
	if c := s.client(lr.ClientID); c != nil {
		v.Client = c.name
	}
	v.Username = truncate(v.Username, maxHint)
	s.show(w, r, status, "login.html", v, lr.RedirectURI)
}

// staleLogin shows that there is nothing to sign in to, or that reading it failed.
func (s *Service) staleLogin(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errLogin) || errors.Is(err, errStale) {
		s.show(w, r, http.StatusBadRequest, "stale.html", nil, "")
		return
	}
	s.log.ErrorContext(r.Context(), "sign-in page failed", "request", identity.From(r.Context()).RequestID, "err", err)
	s.show(w, r, http.StatusInternalServerError, "stale.html", nil, "")
}

// show renders a page as a whole before it sends any of it.
func (s *Service) show(w http.ResponseWriter, r *http.Request, status int, page string, view any, redirect string) {
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, page, view); err != nil {
		s.log.ErrorContext(r.Context(), "page failed", "page", page, "err", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; form-action "+formAction(redirect)+
		"; base-uri 'none'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser went away; nobody is left to tell
}

// formAction is where the form may lead: here, and by redirect to the client, which a
// browser holds to the same rule.
func formAction(redirect string) string {
	u, err := url.Parse(redirect)
	if err != nil || u.Host == "" {
		return "'self'"
	}
	return "'self' " + u.Scheme + "://" + u.Host
}

func (s *Service) loginStyle(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=3600")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	http.ServeFileFS(w, r, pageFiles, "pages/style.css")
}
