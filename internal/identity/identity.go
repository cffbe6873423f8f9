// Package identity says who calls. It is set once per request, by the middleware of
// internal/rpc from a token that the caller's process minted, and never from a body.
package identity

import (
	"context"
	"slices"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
)

// Identity of a call. The zero value is nobody.
type Identity struct {
	// Target is the calling service: "gateway", "edge", "playback", …
	Target string
	// UserID is the listener for whom it calls; empty when it calls for itself.
	UserID string
	Roles  []authv1.Role
	// LoginID is the sign-in: the family of the refresh token.
	LoginID  string
	ClientID string
	// Market is ISO 3166-1 alpha-2, Plan free or premium.
	Market, Plan    string
	ExplicitAllowed bool
	// IP and UserAgent are those of the client outside.
	IP, UserAgent string
	RequestID     string
}

// Has reports whether the listener has any of the roles.
func (i Identity) Has(roles ...authv1.Role) bool {
	return slices.ContainsFunc(i.Roles, func(r authv1.Role) bool { return slices.Contains(roles, r) })
}

// IsAdmin reports whether the listener is an admin.
func (i Identity) IsAdmin() bool { return i.Has(authv1.Role_ROLE_ADMIN) }

type key struct{}

// With is ctx with an identity.
func With(ctx context.Context, i Identity) context.Context { return context.WithValue(ctx, key{}, i) }

// From is the identity in ctx; the zero value when there is none.
func From(ctx context.Context) Identity {
	i, _ := ctx.Value(key{}).(Identity)
	return i
}
