// Package rpc is how services call each other: the same generated clients and handlers
// in one process and between processes. It names the caller by a token that lives a
// minute, decides who may call what, validates requests and turns kinds of error into
// codes.
package rpc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
)

// Header carries the identity token. The gateway drops it from what comes from outside.
const Header = "Segue-Identity"

const (
	tokenLife = 60 * time.Second
	tokenSkew = 10 * time.Second
	maxToken  = 4 << 10
)

// ErrToken refuses an identity token.
var ErrToken = errors.New("identity token is not valid")

// claims is the token's content: JSON, base64url, then a dot and its HMAC-SHA256.
type claims struct {
	Key       uint32        `json:"k"`
	Audience  string        `json:"a"`
	Expires   int64         `json:"e"` // Unix seconds
	Target    string        `json:"t"`
	UserID    string        `json:"u,omitempty"`
	Roles     []authv1.Role `json:"r,omitempty"`
	LoginID   string        `json:"l,omitempty"`
	ClientID  string        `json:"c,omitempty"`
	Market    string        `json:"m,omitempty"`
	Plan      string        `json:"p,omitempty"`
	Explicit  bool          `json:"x,omitempty"`
	IP        string        `json:"i,omitempty"`
	UserAgent string        `json:"g,omitempty"`
	RequestID string        `json:"q,omitempty"`
}

// Tokens mints and verifies identity tokens with the ring's keys for that purpose.
type Tokens struct {
	ring *keyring.Ring
	now  func() time.Time

	// derived are the keys of the MAC, by the secrets that they come from. Every call
	// between services makes and checks a token.
	mu      sync.Mutex
	derived map[[32]byte][32]byte
}

// NewTokens makes the tokens of a key ring.
func NewTokens(ring *keyring.Ring, now func() time.Time) *Tokens {
	return &Tokens{ring: ring, now: now}
}

// Mint makes the header's value for a call to the service audience. i.Target names the
// service that calls.
func (t *Tokens) Mint(audience string, i identity.Identity) (string, error) {
	keys, err := t.ring.Keys(keyring.RPC)
	if err != nil {
		return "", fmt.Errorf("mint identity token: %w", err)
	}
	if len(i.UserAgent) > 256 {
		i.UserAgent = strings.ToValidUTF8(i.UserAgent[:256], "")
	}
	b, err := json.Marshal(claims{
		Key: keys[0].ID, Audience: audience, Expires: t.now().Add(tokenLife).Unix(), Target: i.Target,
		UserID: i.UserID, Roles: i.Roles, LoginID: i.LoginID, ClientID: i.ClientID, Market: i.Market, Plan: i.Plan,
		Explicit: i.ExplicitAllowed, IP: i.IP, UserAgent: i.UserAgent, RequestID: i.RequestID,
	})
	if err != nil {
		return "", fmt.Errorf("mint identity token: %w", err)
	}
	enc := base64.RawURLEncoding
	return enc.EncodeToString(b) + "." + enc.EncodeToString(t.mac(keys[0], b)), nil
}

// Verify reads a token that was minted for the service audience.
func (t *Tokens) Verify(audience, token string) (identity.Identity, error) {
	if len(token) > maxToken {
		return identity.Identity{}, fmt.Errorf("%w: too long", ErrToken)
	}
	body, sum, _ := strings.Cut(token, ".")
	enc := base64.RawURLEncoding.Strict()
	b, err1 := enc.DecodeString(body)
	got, err2 := enc.DecodeString(sum)
	var c claims
	if err1 != nil || err2 != nil || json.Unmarshal(b, &c) != nil {
		return identity.Identity{}, fmt.Errorf("%w: malformed", ErrToken)
	}
	keys, err := t.ring.Keys(keyring.RPC)
	if err != nil {
		return identity.Identity{}, fmt.Errorf("verify identity token: %w", err)
	}
	genuine := false
	for _, k := range keys {
		genuine = genuine || (k.ID == c.Key && hmac.Equal(got, t.mac(k, b)))
	}
	left := time.Unix(c.Expires, 0).Sub(t.now())
	switch {
	case !genuine:
		return identity.Identity{}, fmt.Errorf("%w: wrong key", ErrToken)
	case c.Audience != audience:
		return identity.Identity{}, fmt.Errorf("%w: for %s, not %s", ErrToken, c.Audience, audience)
	case left < -tokenSkew, left > tokenLife+tokenSkew:
		return identity.Identity{}, fmt.Errorf("%w: expired", ErrToken)
	}
	return identity.Identity{
		Target: c.Target, UserID: c.UserID, Roles: c.Roles, LoginID: c.LoginID, ClientID: c.ClientID, Market: c.Market,
		Plan: c.Plan, ExplicitAllowed: c.Explicit, IP: c.IP, UserAgent: c.UserAgent, RequestID: c.RequestID,
	}, nil
}

// keysHeld bounds the derived keys: the ring has three, and more after rotations.
const keysHeld = 16

func (t *Tokens) mac(k keyring.Key, b []byte) []byte {
	t.mu.Lock()
	key, ok := t.derived[k.Secret]
	if !ok {
		if len(t.derived) >= keysHeld || t.derived == nil {
			t.derived = map[[32]byte][32]byte{}
		}
		key = k.Derive("identity token")
		t.derived[k.Secret] = key
	}
	t.mu.Unlock()
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(b) // a hash never fails
	return h.Sum(nil)
}
