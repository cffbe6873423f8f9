package user

import (
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients. Both are public: neither can keep a secret, PKCE stands for it.
const (
	clientWeb  = "web"
	clientCtl  = "seguectl"
	callback   = "/callback"
	nativeBack = "http://127.0.0.1" + callback
)

// client implements op.Client.
type client struct {
	id        string
	name      string   // for the sign-in page
	redirects []string // exact; of a native client any port of a loopback address
	after     []string // where signing out may lead
	native    bool
}

// client finds a client by its id, nil where there is none.
func (s *Service) client(id string) *client {
	switch id {
	case clientWeb:
		c := &client{id: id, name: "the web player"}
		for _, o := range s.allowedOrigins() {
			c.redirects = append(c.redirects, o+callback)
			c.after = append(c.after, o+"/")
		}
		return c
	case clientCtl:
		return &client{id: id, name: "seguectl on your computer", redirects: []string{nativeBack}, native: true}
	}
	return nil
}

// mayRedirect is exact match (RFC 9700 section 2.1), but for the port of a loopback
// address of a native client, by number and never by name (RFC 8252 sections 7.3, 8.3).
func (c *client) mayRedirect(uri string) bool {
	if !c.native {
		return slices.Contains(c.redirects, uri)
	}
	u, err := url.Parse(uri)
	if err != nil {
		return false
	}
	host := u.Hostname()
	plain := "http://" + u.Host + callback // without user, query and fragment
	return uri == plain && net.ParseIP(host).IsLoopback() && (host == "127.0.0.1" || host == "::1")
}

func (c *client) GetID() string                    { return c.id }
func (c *client) RedirectURIs() []string           { return c.redirects }
func (c *client) PostLogoutRedirectURIs() []string { return c.after }

// ApplicationType makes op check a native client's port as RFC 8252 has it.
func (c *client) ApplicationType() op.ApplicationType {
	if c.native {
		return op.ApplicationTypeNative
	}
	return op.ApplicationTypeUserAgent
}
func (c *client) AuthMethod() oidc.AuthMethod { return oidc.AuthMethodNone }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
}
func (c *client) LoginURL(id string) string           { return loginURL(id) }
func (c *client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration      { return 0 }

// DevMode lets op take an http origin; which origins are ours has been decided by then.
func (c *client) DevMode() bool { return true }
func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string { //nolint:revive // op's name
	return func([]string) []string { return nil }
}
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return func([]string) []string { return nil }
}
func (c *client) IsScopeAllowed(string) bool           { return false }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return false }
func (c *client) ClockSkew() time.Duration             { return 0 }

func loginURL(id string) string { return "/login?id=" + url.QueryEscape(id) }
