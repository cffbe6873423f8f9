package user

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

// loginLife is how long a sign-in page may stand open.
const loginLife = 10 * time.Minute

// maxLoginID bounds the id of a request; the fields have bounds of their own.
const maxLoginID = 4 << 10

// errLogin refuses an id that is none of ours or is too old.
var errLogin = errors.New("sign-in request is not valid or has expired")

// loginRequest is an authorization request that waits for the sign-in. It travels in its
// id, sealed, so that asking costs nothing here: nobody fills a table without a password.
type loginRequest struct {
	ClientID    string   `json:"c"`
	RedirectURI string   `json:"r"`
	State       string   `json:"s,omitempty"`
	Nonce       string   `json:"n,omitempty"`
	Scopes      []string `json:"o"`
	Challenge   string   `json:"p"`
	LoginHint   string   `json:"h,omitempty"`
	Expires     int64    `json:"e"` // Unix seconds
	// Browser is the secret of the cookie that ties the request to the browser it began
	// in: nobody can make another sign in to an account of theirs.
	Browser []byte `json:"b"`
}

// seal makes the id of a request: key id (4), nonce (12), AES-256-GCM, in base64url.
func (s *Service) sealLogin(r loginRequest) (string, error) {
	keys, err := s.keys.Keys(keyring.Refresh)
	if err != nil {
		return "", fmt.Errorf("seal sign-in request: %w", err)
	}
	aead, err := loginAEAD(keys[0])
	if err != nil {
		return "", fmt.Errorf("seal sign-in request: %w", err)
	}
	plain, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("seal sign-in request: %w", err)
	}
	b := binary.BigEndian.AppendUint32(nil, keys[0].ID)
	b = append(b, make([]byte, aead.NonceSize())...)
	if _, err := io.ReadFull(s.random, b[4:]); err != nil {
		return "", fmt.Errorf("seal sign-in request: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(b, b[4:], plain, nil)), nil
}

// openLogin reads the request of an id; errLogin where there is none.
func (s *Service) openLogin(id string) (loginRequest, error) {
	if len(id) > maxLoginID {
		return loginRequest{}, errLogin
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(b) < 16 {
		return loginRequest{}, errLogin
	}
	keys, err := s.keys.Keys(keyring.Refresh)
	if err != nil {
		return loginRequest{}, fmt.Errorf("open sign-in request: %w", err)
	}
	for _, k := range keys {
		if k.ID != binary.BigEndian.Uint32(b) {
			continue
		}
		aead, err := loginAEAD(k)
		if err != nil {
			return loginRequest{}, fmt.Errorf("open sign-in request: %w", err)
		}
		plain, err := aead.Open(nil, b[4:16], b[16:], nil)
		if err != nil {
			return loginRequest{}, errLogin
		}
		var r loginRequest
		if err := json.Unmarshal(plain, &r); err != nil {
			return loginRequest{}, fmt.Errorf("open sign-in request: %w", err)
		}
		if s.now().Unix() >= r.Expires {
			return loginRequest{}, errLogin
		}
		return r, nil
	}
	return loginRequest{}, errLogin
}

func loginAEAD(k keyring.Key) (cipher.AEAD, error) {
	key := k.Derive("sign-in request")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// loginCookie is the cookie of a request. Each request has one of its own, so that two
// sign-in pages stand beside each other. Life 0 deletes it.
func (s *Service) loginCookie(r loginRequest, life time.Duration) *http.Cookie {
	name, value := loginCookieOf(r)
	c := &http.Cookie{ //nolint:gosec // Secure wherever the site has https
		Name: name, Value: value, Path: "/login", HttpOnly: true, Secure: s.secure(), SameSite: http.SameSiteStrictMode,
		MaxAge: int(life / time.Second),
	}
	if life == 0 {
		c.Value, c.MaxAge = "", -1
	}
	return c
}

func loginCookieOf(r loginRequest) (name, value string) {
	enc := base64.RawURLEncoding
	return "segue_login_" + enc.EncodeToString(r.Browser[:6]), enc.EncodeToString(r.Browser[6:])
}

// sameBrowser reports whether a request comes from the browser in which r began.
func sameBrowser(req *http.Request, r loginRequest) bool {
	name, value := loginCookieOf(r)
	c, err := req.Cookie(name)
	return err == nil && subtle.ConstantTimeCompare([]byte(c.Value), []byte(value)) == 1
}
