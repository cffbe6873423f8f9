// Package accesstoken is the form of Segue's access tokens: a JWT (RFC 9068) signed with
// Ed25519, ten minutes long. The user service signs them, the gateway verifies them; the
// keys travel between the two as a JWK set (RFC 7517, RFC 8037).
package accesstoken

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/fault"
)

// Life is how long a token is valid.
const Life = 10 * time.Minute

// What tokens say of themselves.
const (
	// Audience is the one audience of access tokens.
	Audience = "segue"
	// TypeAccess and TypeID are the typ headers, so that neither kind passes for the other.
	TypeAccess = "at+jwt"
	TypeID     = "JWT"

	algorithm = "EdDSA"
	// maxToken bounds what Verify looks at; a token of ours has about 600 bytes.
	maxToken = 4 << 10
)

var (
	// ErrInvalid refuses a token that is malformed, not ours, or for somebody else.
	ErrInvalid = fault.New(fault.Unauthenticated, "access token is not valid")
	// ErrExpired refuses a token whose time is over.
	ErrExpired = fault.New(fault.Unauthenticated, "access token has expired")
	// ErrKeys says that the keys could not be read, so that nothing can be said of a token.
	ErrKeys = fault.New(fault.Unavailable, "sign-in keys cannot be read")
)

// Claims are what a token says.
type Claims struct {
	ID       string // of this token
	UserID   string
	LoginID  string // family of the refresh token
	ClientID string
	Roles    []authv1.Role
	// Market is ISO 3166-1 alpha-2, Plan free or premium.
	Market, Plan    string
	ExplicitAllowed bool
	IssuedAt        time.Time
	Expires         time.Time
}

// wire is a token's payload.
type wire struct {
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Audience  string   `json:"aud"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	IssuedAt  int64    `json:"iat"`
	ID        string   `json:"jti"`
	ClientID  string   `json:"client_id"`
	LoginID   string   `json:"sid"`
	Roles     []string `json:"roles"`
	Market    string   `json:"market"`
	Plan      string   `json:"plan"`
	Explicit  bool     `json:"explicit"`
}

type header struct {
	Algorithm string   `json:"alg"`
	KeyID     string   `json:"kid"`
	Type      string   `json:"typ"`
	Critical  []string `json:"crit,omitempty"`
}

// Key signs tokens.
type Key struct {
	ID      string
	private ed25519.PrivateKey
}

// NewKey makes the key of a seed. Its id is taken from the public half (RFC 7638), so a
// verifier never mistakes a new key for one that it holds.
func NewKey(seed [32]byte) Key {
	private := ed25519.NewKeyFromSeed(seed[:])
	x := base64.RawURLEncoding.EncodeToString(public(private))
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return Key{ID: base64.RawURLEncoding.EncodeToString(sum[:]), private: private}
}

func public(k ed25519.PrivateKey) ed25519.PublicKey {
	p, _ := k.Public().(ed25519.PublicKey) // it is one by the standard library's word
	return p
}

// Sign makes the access token of c.
func Sign(k Key, issuer string, c Claims) (string, error) {
	w := wire{
		Issuer: issuer, Subject: c.UserID, Audience: Audience, Expires: c.Expires.Unix(), NotBefore: c.IssuedAt.Unix(),
		IssuedAt: c.IssuedAt.Unix(), ID: c.ID, ClientID: c.ClientID, LoginID: c.LoginID, Roles: make([]string, 0, len(c.Roles)),
		Market: c.Market, Plan: c.Plan, Explicit: c.ExplicitAllowed,
	}
	for _, r := range c.Roles {
		name := RoleName(r)
		if name == "" {
			return "", fmt.Errorf("sign access token: role %d has no name", r)
		}
		w.Roles = append(w.Roles, name)
	}
	return SignJSON(k, TypeAccess, w)
}

// SignJSON makes a compact JWS (RFC 7515) of any payload; typ says what it is.
func SignJSON(k Key, typ string, payload any) (string, error) {
	h, err := json.Marshal(header{Algorithm: algorithm, KeyID: k.ID, Type: typ})
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	p, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(h) + "." + enc.EncodeToString(p)
	return text + "." + enc.EncodeToString(ed25519.Sign(k.private, []byte(text))), nil
}

// RoleName is a role as tokens have it, empty for none.
func RoleName(r authv1.Role) string {
	switch r {
	case authv1.Role_ROLE_LISTENER:
		return "listener"
	case authv1.Role_ROLE_ARTIST:
		return "artist"
	case authv1.Role_ROLE_LABEL:
		return "label"
	case authv1.Role_ROLE_ADMIN:
		return "admin"
	default:
		return ""
	}
}

// role is the role of a name; a name of a newer server is no role.
func role(name string) (authv1.Role, bool) {
	for n := range authv1.Role_name {
		if r := authv1.Role(n); name != "" && RoleName(r) == name {
			return r, true
		}
	}
	return 0, false
}
