package stream

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/internal/ticket"
)

// cdnKey is of the vectors below, which openssl made:
//
//	printf %s "$POLICY" | openssl dgst -sha1 -mac HMAC -macopt hexkey:30313233343536373839616263646566 -binary | base64 | tr +/ -_
const cdnKey = "0123456789abcdef"

func TestCDN_Vectors(t *testing.T) {
	c := &cdn{base: "https://cdn.example.org", keyName: "segue-1", key: []byte(cdnKey)}
	at := time.Unix(1_790_000_000, 0)
	for join, v := range map[string]struct{ prefix, want string }{
		":": {"https://cdn.example.org/o/", "URLPrefix=aHR0cHM6Ly9jZG4uZXhhbXBsZS5vcmcvby8=:Expires=1790000000:KeyName=segue-1:Signature=1zBrs6mexsi5Yijx7FwG8q65dpM="},
		"&": {"https://cdn.example.org/o/00112233445566778899aabbccddeeff", "URLPrefix=aHR0cHM6Ly9jZG4uZXhhbXBsZS5vcmcvby8wMDExMjIzMzQ0NTU2Njc3ODg5OWFhYmJjY2RkZWVmZg==&Expires=1790000000&KeyName=segue-1&Signature=kkuhT_1ZSv6WT3txTWGyWVv1TYg="},
	} {
		if got := c.policy(v.prefix, at, join); got != v.want {
			t.Errorf("joined by %q:\n%s\nwant\n%s", join, got, v.want)
		}
	}
}

// cloudCDN reads a signed policy as Google's documentation describes it, with nothing of
// the code that made it: what it gives leave for, and until when.
func cloudCDN(signed, join string, keys map[string]string) (prefix string, expires time.Time, err error) {
	fields := map[string]string{}
	var policy []string
	for _, f := range strings.Split(signed, join) {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
		if name != "Signature" {
			policy = append(policy, f)
		}
	}
	// RFC 2104: H(K xor opad, H(K xor ipad, text)).
	var inner, outer [64]byte
	copy(inner[:], keys[fields["KeyName"]])
	copy(outer[:], keys[fields["KeyName"]])
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	h := sha1.Sum(append(inner[:], strings.Join(policy, join)...))
	h = sha1.Sum(append(outer[:], h[:]...))
	if base64.URLEncoding.EncodeToString(h[:]) != fields["Signature"] {
		return "", expires, fmt.Errorf("signature %q is not that of %q", fields["Signature"], policy)
	}
	b, err := base64.URLEncoding.DecodeString(fields["URLPrefix"])
	if err != nil {
		return "", expires, err
	}
	n, err := strconv.ParseInt(fields["Expires"], 10, 64)
	return string(b), time.Unix(n, 0), err
}

// cdnService is an edge with an object and a CDN that wants signatures.
func cdnService(t *testing.T) (s *Service, object string, now *time.Time) {
	t.Helper()
	s, id, _ := newObjectService(t)
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(base64.URLEncoding.EncodeToString([]byte(cdnKey))+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	s.cdn, err = openCDN(CDNConfig{URL: "https://cdn.example.org/", KeyName: "segue-1", KeyFile: file, CookieDomain: "example.org"})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1_790_000_000, 0)
	s.deps.Now = func() time.Time { return at }
	return s, hex.EncodeToString(id[:]), &at
}

func TestCDN_SignedURL(t *testing.T) {
	s, object, now := cdnService(t)
	id, err := parseObjectID(object)
	if err != nil {
		t.Fatal(err)
	}
	target, err := s.objectURL(id)
	if err != nil {
		t.Fatal(err)
	}
	target = strings.ReplaceAll(target, "{object}", object)
	path, query, _ := strings.Cut(strings.TrimPrefix(target, "https://cdn.example.org"), "?")
	prefix, expires, err := cloudCDN(query, "&", map[string]string{"segue-1": cdnKey})
	if err != nil || prefix != "https://cdn.example.org"+path || expires.Sub(*now) != objectTokenLife {
		t.Errorf("%s gives leave for %q until %s: %v", target, prefix, expires, err)
	}
	get := func(target string, header ...string) int {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	other := strings.Repeat("0", 32)
	forged := strings.Replace(query, "Expires=17", "Expires=18", 1)
	for name, c := range map[string]struct {
		target string
		status int
	}{
		"signed": {path + "?" + query, 200}, "unsigned": {path, 401}, "forged": {path + "?" + forged, 401},
		"another_object": {"/o/" + other + "?" + query, 401}, "more_after_it": {path + "?" + query + "&x=1", 401},
		"no_signature": {path + "?" + query[:strings.Index(query, "&Signature")], 401},
		"own_token":    {path + "?t=" + must(t, func() (string, error) { return s.mintObjectToken(id) }), 200},
	} {
		if got := get(c.target); got != c.status {
			t.Errorf("%s: %d, want %d", name, got, c.status)
		}
	}
	*now = now.Add(objectTokenLife)
	if got := get(path + "?" + query); got != http.StatusUnauthorized {
		t.Errorf("when it has run out: %d", got)
	}
}

func must(t *testing.T, f func() (string, error)) string {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestCDN_Cookie(t *testing.T) {
	s, object, now := cdnService(t)
	post := func(ticket string) *http.Response {
		r := httptest.NewRequest(http.MethodPost, cdnPath, nil)
		r.Header.Set("Authorization", ticket)
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Result()
	}
	keys, err := s.deps.Ring.Keys(keyring.Ticket)
	if err != nil {
		t.Fatal(err)
	}
	mint := func(expires time.Time) string {
		return "Ticket " + base64.RawURLEncoding.EncodeToString(ticket.Mint(keys, ticket.Ticket{Market: "DE", Plan: "premium", MaxKbps: 320, Expires: expires}))
	}
	for name, ticket := range map[string]string{"none": "", "noise": "Ticket eHh4", "run_out": mint(now.Add(-time.Second))} {
		if res := post(ticket); res.StatusCode != http.StatusUnauthorized || len(res.Cookies()) > 0 {
			t.Errorf("%s: %s with %v", name, res.Status, res.Cookies())
		}
	}
	res := post(mint(now.Add(time.Minute)))
	if res.StatusCode != http.StatusNoContent || len(res.Cookies()) != 1 {
		t.Fatalf("%s with %v", res.Status, res.Cookies())
	}
	c := res.Cookies()[0]
	if c.Name != "Cloud-CDN-Cookie" || c.Domain != "example.org" || c.Path != "/o/" || !c.Secure || !c.HttpOnly || !c.Expires.Equal(now.Add(objectTokenLife)) {
		t.Errorf("cookie %+v", c)
	}
	prefix, expires, err := cloudCDN(c.Value, ":", map[string]string{"segue-1": cdnKey})
	if err != nil || prefix != "https://cdn.example.org/o/" || !expires.Equal(c.Expires) {
		t.Errorf("it gives leave for %q until %s: %v", prefix, expires, err)
	}
	get := func(cookie string) int {
		r := httptest.NewRequest(http.MethodGet, "/o/"+object, nil)
		r.AddCookie(&http.Cookie{Name: cdnCookie, Value: cookie})
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w.Code
	}
	if got := get(c.Value); got != http.StatusOK {
		t.Errorf("with the cookie: %d", got)
	}
	if got := get(strings.Replace(c.Value, "Expires=17", "Expires=18", 1)); got != http.StatusUnauthorized {
		t.Errorf("with a forged cookie: %d", got)
	}
	*now = now.Add(objectTokenLife)
	if got := get(c.Value); got != http.StatusUnauthorized {
		t.Errorf("with a cookie that has run out: %d", got)
	}
	s.cdn = &cdn{}
	if res := post(mint(now.Add(time.Minute))); res.StatusCode != http.StatusNotFound {
		t.Errorf("without a CDN: %s", res.Status)
	}
}

func TestCDN_Config(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("MDEyMzQ1"), 0o600); err != nil {
		t.Fatal(err)
	}
	const at = "https://cdn.example.org"
	for name, c := range map[string]CDNConfig{
		"no_url": {URL: "cdn.example.org"}, "path": {URL: at + "/x"}, "key_without_name": {URL: at, KeyFile: short}, "name_without_key": {URL: at, KeyName: "a"},
		"key_without_url": {KeyFile: short, KeyName: "a"}, "cookie_without_key": {URL: at, CookieDomain: "example.org"}, "name": {URL: at, KeyFile: short, KeyName: "A b"},
	} {
		if err := c.check(); err == nil {
			t.Errorf("%s is fine", name)
		}
	}
	for name, file := range map[string]string{"short": short, "away": filepath.Join(dir, "none")} {
		if _, err := openCDN(CDNConfig{URL: at, KeyName: "a", KeyFile: file}); err == nil {
			t.Errorf("a key that is %s opens", name)
		}
	}
}

// TestToken: what a cache asks for each token is answered for as long as the token is good.
func TestToken(t *testing.T) {
	s, id, _ := newObjectService(t)
	s.deps.Log = slog.New(slog.DiscardHandler)
	token := must(t, func() (string, error) { return s.mintObjectToken(id) })
	ask := func(object, token string) *http.Response {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/o/"+object+"/token?t="+token, nil))
		return w.Result()
	}
	object := hex.EncodeToString(id[:])
	res := ask(object, token)
	until, err := strconv.ParseInt(strings.TrimPrefix(res.Header.Get("X-Accel-Expires"), "@"), 10, 64)
	if left := time.Until(time.Unix(until, 0)); res.StatusCode != http.StatusNoContent || err != nil || left > objectTokenLife || left < objectTokenLife-time.Minute {
		t.Errorf("%s, remembered until %q: %v", res.Status, res.Header.Get("X-Accel-Expires"), err)
	}
	for name, res := range map[string]*http.Response{
		"none": ask(object, ""), "changed": ask(object, "B"+token[1:]), "another_object": ask(strings.Repeat("0", 32), token), "no_object": ask("x", token),
	} {
		if res.StatusCode != http.StatusUnauthorized || res.Header.Get("X-Accel-Expires") != "" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s %v", name, res.Status, res.Header)
		}
	}
}
