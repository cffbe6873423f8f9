package stream

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format asks for it: HMAC-SHA1 is not broken as SHA-1 is
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// cdn is the content delivery network before the objects. Without one, objects are at the
// origin of the API, by a token of this site's own. With a key, what leads to an object
// is signed as Google's Cloud CDN asks for (Using signed URLs, Using signed cookies), so
// that the network can refuse by itself: a policy of URLPrefix (base64url), Expires
// (Unix time) and KeyName, and its HMAC-SHA1, base64url with padding.
type cdn struct {
	base    string // https://cdn.example.org, empty without one
	keyName string
	key     []byte // empty: the objects' own tokens
	domain  string
}

// cdnCookie is the cookie that Cloud CDN reads.
const cdnCookie = "Cloud-CDN-Cookie"

// cdnKeySize is 128 bits, as Cloud CDN has them.
const cdnKeySize = 16

var (
	cdnKeyName   = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	errCDNKey    = fmt.Errorf("key is not %d bytes in base64url", cdnKeySize)
	errCDNConfig = errors.New("cdn-key.file, cdn-key-name and cdn-cookie-domain need each other and cdn-url")
)

// check refuses what cannot be meant.
func (c *CDNConfig) check() error {
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || strings.TrimSuffix(u.Path, "/") != "" || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("cdn-url %q is not a URL such as https://cdn.example.org", c.URL)
		}
	}
	if (c.KeyFile != "" && c.URL == "") || (c.KeyFile == "") != (c.KeyName == "") || (c.CookieDomain != "" && c.KeyFile == "") {
		return errCDNConfig
	}
	if c.KeyName != "" && !cdnKeyName.MatchString(c.KeyName) {
		return fmt.Errorf("cdn-key-name %q is not of small letters, digits and dashes, at most 63", c.KeyName)
	}
	return nil
}

func openCDN(c CDNConfig) (*cdn, error) {
	out := &cdn{base: strings.TrimSuffix(c.URL, "/"), keyName: c.KeyName, domain: c.CookieDomain}
	if c.KeyFile == "" {
		return out, nil
	}
	b, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key of the CDN: %w", err)
	}
	// With or without padding: the tools that make such files differ.
	out.key, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(string(b)), "="))
	if err != nil || len(out.key) != cdnKeySize {
		return nil, fmt.Errorf("read key of the CDN: %s: %w", c.KeyFile, errCDNKey)
	}
	return out, nil
}

// policy gives leave for every URL that begins with prefix, until expires. Its parts are
// joined by "&" in a URL and by ":" in a cookie, and signed as they stand.
func (c *cdn) policy(prefix string, expires time.Time, join string) string {
	p := "URLPrefix=" + base64.URLEncoding.EncodeToString([]byte(prefix)) + join +
		"Expires=" + strconv.FormatInt(expires.Unix(), 10) + join + "KeyName=" + c.keyName
	return p + join + "Signature=" + base64.URLEncoding.EncodeToString(c.sign(p))
}

func (c *cdn) sign(policy string) []byte {
	h := hmac.New(sha1.New, c.key)
	_, _ = h.Write([]byte(policy)) // a hash never fails
	return h.Sum(nil)
}

// allows reports whether a policy with its signature gives leave for a path of the CDN.
func (c *cdn) allows(signed, join, path string, now time.Time) bool {
	policy, signature, ok := strings.Cut(signed, join+"Signature=")
	if !ok || len(c.key) == 0 {
		return false
	}
	sum, err := base64.URLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(sum, c.sign(policy)) {
		return false
	}
	// Signed by whoever has the key, so that its parts are well made.
	parts := strings.Split(policy, join)
	if len(parts) != 3 || parts[2] != "KeyName="+c.keyName {
		return false
	}
	prefix, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(parts[0], "URLPrefix="))
	if err != nil || !strings.HasPrefix(c.base+path, string(prefix)) {
		return false
	}
	expires, err := strconv.ParseInt(strings.TrimPrefix(parts[1], "Expires="), 10, 64)
	return err == nil && now.Unix() < expires
}

// objectURL is the URL of an object, with leave for it and for an hour.
func (s *Service) objectURL(object [16]byte) (string, error) {
	if len(s.cdn.key) > 0 {
		prefix := s.cdn.base + objectsPath + hex.EncodeToString(object[:])
		return s.cdn.base + objectsPath + "{object}?" + s.cdn.policy(prefix, s.deps.Now().Add(objectTokenLife), "&"), nil
	}
	token, err := s.mintObjectToken(object)
	if err != nil {
		return "", err
	}
	return s.cdn.base + objectsPath + "{object}?t=" + token, nil
}

// mayRead reports whether a request has leave to read an object, by a token of ours or by
// a signature of the CDN's kind, and until when a token has.
func (s *Service) mayRead(object [16]byte, r *http.Request) (ok bool, until time.Time, err error) {
	if token := r.URL.Query().Get("t"); token != "" {
		return s.objectToken(object, token)
	}
	now := s.deps.Now()
	if s.cdn.allows(r.URL.RawQuery, "&", r.URL.Path, now) {
		return true, now, nil
	}
	if c, err := r.Cookie(cdnCookie); err == nil && s.cdn.allows(c.Value, ":", r.URL.Path, now) {
		return true, now, nil
	}
	return false, now, nil
}

// serveToken says whether a request for the object with the same query has leave: 204 or
// 401. A cache before this edge asks it for every token once, and by X-Accel-Expires
// (nginx) may remember the answer for as long as the token is good, and no longer.
func (s *Service) serveToken(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	id, err := parseObjectID(r.PathValue("object"))
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	ok, until, err := s.objectToken(id, r.URL.Query().Get("t"))
	switch {
	case err != nil:
		s.deps.Log.ErrorContext(r.Context(), "object token was not checked", "err", err)
		w.WriteHeader(http.StatusInternalServerError)
	case !ok:
		w.WriteHeader(http.StatusUnauthorized)
	default:
		h.Set("X-Accel-Expires", "@"+strconv.FormatInt(until.Unix(), 10))
		w.WriteHeader(http.StatusNoContent)
	}
}

// serveCDNCookie gives who shows a good ticket a cookie with which the CDN hands out
// objects, for an hour: 204, or 404 where there is no such CDN.
func (s *Service) serveCDNCookie(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if s.cdn.domain == "" {
		http.Error(w, "there is no CDN with cookies", http.StatusNotFound)
		return
	}
	ticket, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Authorization"), "Ticket "))
	if err == nil {
		_, err = s.Verify(ticket)
	}
	if err != nil {
		http.Error(w, "a ticket is needed", http.StatusUnauthorized)
		return
	}
	expires := s.deps.Now().Add(objectTokenLife)
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // secure wherever the CDN is
		Name: cdnCookie, Value: s.cdn.policy(s.cdn.base+objectsPath, expires, ":"), Path: objectsPath, Domain: s.cdn.domain,
		Expires: expires, Secure: strings.HasPrefix(s.cdn.base, "https:"), HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	w.WriteHeader(http.StatusNoContent)
}
