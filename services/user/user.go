// Package user owns the accounts: who there is, with which roles, how they sign in
// (OAuth 2 and OpenID Connect under /oauth, the login page under /login), which devices
// are signed in, and the key of each listener under which personal fields of events are
// sealed.
package user

import (
	"time"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
)

// Account is one person's account.
type Account struct {
	ID          string // 22 characters of base62
	Username    string // lower case, never changes
	DisplayName string
	Email       string
	Roles       []authv1.Role
	// Market is ISO 3166-1 alpha-2, Plan free or premium.
	Market, Plan    string
	Disabled        bool
	ExplicitAllowed bool
	// Revision rises by one with every change; 1 is the new account.
	Revision uint64
	Created  time.Time // to the millisecond
}

// ListenerKey seals the personal fields of a listener's events. The store holds it only
// wrapped.
type ListenerKey struct {
	UserID string
	ID     string
	// MasterID is the master key under which Wrapped is encrypted.
	MasterID uint32
	Wrapped  []byte
}

// Code is an authorization code that waits to be redeemed (RFC 6749 section 4.1).
type Code struct {
	Hash        [32]byte // SHA-256; the code itself is never stored
	ClientID    string
	RedirectURI string
	Scopes      []string
	Nonce       string
	Challenge   string // PKCE, S256 (RFC 7636)
	UserID      string
	FamilyID    string // of the family that redeeming begins
	SignedIn    time.Time
	Expires     time.Time
	Redeemed    bool
}

// Family is one sign-in of one device: the refresh tokens that followed each other.
type Family struct {
	ID        string // 22 characters of base62
	UserID    string
	ClientID  string
	UserAgent string
	Scopes    []string
	Nonce     string
	SignedIn  time.Time
	Created   time.Time
	Used      time.Time
	Expires   time.Time // absolute, however often it is used
	// Seed goes into every token of the family, so that the key ring alone makes none.
	Seed [16]byte
	// Generation counts rotations. Current and Previous are SHA-256 of the tokens of this
	// generation and the one before, KeyID the ring's key that made the current one.
	Generation uint32
	KeyID      uint32
	Current    [32]byte
	Previous   [32]byte
	Rotated    time.Time
	// Revoked is when it ended, zero while it lives; Reason says why.
	Revoked time.Time
	Reason  string
	// Revision rises by one with every change; 1 is the new family.
	Revision uint64
}

// Live reports whether a family may still be used.
func (f Family) Live(now time.Time) bool { return f.Revoked.IsZero() && now.Before(f.Expires) }
