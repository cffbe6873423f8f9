package user

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/fault"
)

// The routes.
const (
	pathAuthorize = "/oauth/authorize"
	pathToken     = "/oauth/token" //nolint:gosec // a path
	pathRevoke    = "/oauth/revoke"
	pathLogout    = "/oauth/logout"
	pathDiscovery = oidc.DiscoveryEndpoint
	pathKeys      = "/.well-known/jwks.json"
)

// provider implements op.Server. op routes, parses and checks the form of requests;
// what it embeds refuses every grant and endpoint that is not here: there is no implicit
// flow, no password grant, no device flow, no dynamic registration.
type provider struct {
	op.UnimplementedServer
	s *Service
}

// oauthHandler serves /oauth/ and /.well-known/.
func (s *Service) oauthHandler() http.Handler {
	inner := op.RegisterServer(&provider{s: s}, op.Endpoints{
		Authorization: op.NewEndpoint(pathAuthorize),
		Token:         op.NewEndpoint(pathToken),
		Revocation:    op.NewEndpoint(pathRevoke),
		EndSession:    op.NewEndpoint(pathLogout),
		JwksURI:       op.NewEndpoint(pathKeys),
	}, op.WithServerCORSOptions(nil)) // same origin only
	return s.door(inner)
}

// Discovery implements op.Server.
func (p *provider) Discovery(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	issuer := p.s.issuer()
	return op.NewResponse(&oidc.DiscoveryConfiguration{
		Issuer:                            issuer,
		AuthorizationEndpoint:             issuer + pathAuthorize,
		TokenEndpoint:                     issuer + pathToken,
		RevocationEndpoint:                issuer + pathRevoke,
		EndSessionEndpoint:                issuer + pathLogout,
		JwksURI:                           issuer + pathKeys,
		ScopesSupported:                   []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeOfflineAccess},
		ResponseTypesSupported:            []string{string(oidc.ResponseTypeCode)},
		ResponseModesSupported:            []string{string(oidc.ResponseModeQuery)},
		GrantTypesSupported:               []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken},
		SubjectTypesSupported:             []string{"public"},
		IDTokenSigningAlgValuesSupported:  []string{"EdDSA"},
		TokenEndpointAuthMethodsSupported: []oidc.AuthMethod{oidc.AuthMethodNone},
		RevocationEndpointAuthMethodsSupported: []oidc.AuthMethod{
			oidc.AuthMethodNone,
		},
		CodeChallengeMethodsSupported: []oidc.CodeChallengeMethod{oidc.CodeChallengeMethodS256},
		ClaimsSupported:               []string{"iss", "sub", "aud", "azp", "exp", "iat", "auth_time", "nonce", "sid", "preferred_username", "name"},
	}), nil
}

// Keys implements op.Server.
func (p *provider) Keys(context.Context, *op.Request[struct{}]) (*op.Response, error) {
	all, _, err := p.s.signingKeys()
	if err != nil {
		return nil, oauthError(err)
	}
	return op.NewResponse(accesstoken.Public(all)), nil
}

// VerifyAuthRequest implements op.Server. What is refused here is shown and never sent
// to the redirect, which is not proven yet.
func (p *provider) VerifyAuthRequest(_ context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	c := p.s.client(r.Data.ClientID)
	if c == nil {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("client_id is not known")
	}
	if !c.mayRedirect(r.Data.RedirectURI) {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("redirect_uri is not one of the client's")
	}
	if r.Data.RequestParam != "" {
		return nil, oidc.ErrRequestNotSupported()
	}
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: c}, nil
}

const (
	maxState = 512
	maxNonce = 256
	maxHint  = 64
)

// Authorize implements op.Server: it sends the browser to the sign-in page. What is
// refused here goes to the client's redirect, which has been checked.
func (p *provider) Authorize(_ context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	q, s := r.Data, p.s
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(q.CodeChallenge)
	switch {
	case q.CodeChallenge == "" || q.CodeChallengeMethod != oidc.CodeChallengeMethodS256:
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with code_challenge_method S256 is required")
	case err != nil || len(challenge) != 32:
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge is not SHA-256 in base64url")
	case q.ResponseMode != "" && q.ResponseMode != oidc.ResponseModeQuery:
		return nil, oidc.ErrInvalidRequest().WithDescription("response_mode is not supported")
	case slices.Contains(q.Prompt, oidc.PromptNone):
		return nil, oidc.ErrLoginRequired()
	case len(q.State) > maxState, len(q.Nonce) > maxNonce:
		return nil, oidc.ErrInvalidRequest().WithDescription("state or nonce is too long")
	}
	lr := loginRequest{
		ClientID: r.Client.GetID(), RedirectURI: q.RedirectURI, State: q.State, Nonce: q.Nonce, Scopes: known(q.Scopes),
		Challenge: q.CodeChallenge, Expires: s.now().Add(loginLife).Unix(), Browser: make([]byte, 22),
	}
	if len(q.LoginHint) <= maxHint {
		lr.LoginHint = q.LoginHint
	}
	if _, err := io.ReadFull(s.random, lr.Browser); err != nil {
		return nil, oauthError(err)
	}
	id, err := s.sealLogin(lr)
	if err != nil {
		return nil, oauthError(err)
	}
	if len(id) > maxLoginID {
		return nil, oidc.ErrInvalidRequest().WithDescription("request is too long")
	}
	red := op.NewRedirect(loginURL(id))
	red.Header.Set("Set-Cookie", s.loginCookie(lr, loginLife).String())
	return red, nil
}

// known keeps the scopes that mean something here.
func known(scopes []string) []string {
	var out []string
	for _, sc := range []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeOfflineAccess} {
		if slices.Contains(scopes, sc) {
			out = append(out, sc)
		}
	}
	return out
}

// VerifyClient implements op.Server. The clients are public: one that shows a secret is
// none of ours.
func (p *provider) VerifyClient(_ context.Context, r *op.Request[op.ClientCredentials]) (op.Client, error) {
	c := p.s.client(r.Data.ClientID)
	if c == nil || r.Data.ClientSecret != "" || r.Data.ClientAssertion != "" {
		return nil, op.NewStatusError(oidc.ErrInvalidClient().WithDescription("client is not known"), http.StatusUnauthorized)
	}
	return c, nil
}

// CodeExchange implements op.Server.
func (p *provider) CodeExchange(ctx context.Context, r *op.ClientRequest[oidc.AccessTokenRequest]) (*op.Response, error) {
	a, f, t, err := p.s.redeem(ctx, r.Data)
	if err != nil {
		return nil, oauthError(fmt.Errorf("redeem code: %w", err))
	}
	return p.tokens(ctx, a, f, t)
}

// RefreshToken implements op.Server.
func (p *provider) RefreshToken(ctx context.Context, r *op.ClientRequest[oidc.RefreshTokenRequest]) (*op.Response, error) {
	a, f, t, err := p.s.refresh(ctx, r.Data.RefreshToken, r.Client.GetID())
	if errors.Is(err, errGrant) && r.Client.GetID() == clientWeb {
		p.s.setRefreshCookie(ctx, "", 0)
	}
	if err != nil {
		return nil, oauthError(fmt.Errorf("refresh: %w", err))
	}
	return p.tokens(ctx, a, f, t)
}

// tokens answers with the tokens of a family. The browser's refresh token goes into its
// cookie, where no script reads it, and not into the body.
func (p *provider) tokens(ctx context.Context, a Account, f Family, t refreshToken) (*op.Response, error) {
	access, err := p.s.accessToken(a, f)
	if err != nil {
		return nil, oauthError(err)
	}
	res := &oidc.AccessTokenResponse{
		AccessToken: access, TokenType: oidc.BearerToken, ExpiresIn: uint64(accesstoken.Life / time.Second), Scope: f.Scopes,
	}
	if slices.Contains(f.Scopes, oidc.ScopeOpenID) {
		if res.IDToken, err = p.s.idToken(a, f); err != nil {
			return nil, oauthError(err)
		}
	}
	if f.ClientID == clientWeb {
		p.s.setRefreshCookie(ctx, t.String(), f.Expires.Sub(p.s.now()))
	} else {
		res.RefreshToken = t.String()
	}
	return op.NewResponse(res), nil
}

// Revocation implements op.Server (RFC 7009). An access token ends by itself.
func (p *provider) Revocation(ctx context.Context, r *op.ClientRequest[oidc.RevocationRequest]) (*op.Response, error) {
	if r.Client.GetID() == clientWeb {
		p.s.setRefreshCookie(ctx, "", 0)
	}
	if err := p.s.signOut(ctx, r.Data.Token, r.Client.GetID()); err != nil {
		return nil, oauthError(fmt.Errorf("revoke: %w", err))
	}
	return op.NewResponse(nil), nil
}

// EndSession implements op.Server (OpenID Connect RP-Initiated Logout 1.0), for browsers:
// the cookie says who signs out, and being SameSite=Strict it comes with no other site's
// request.
func (p *provider) EndSession(ctx context.Context, r *op.Request[oidc.EndSessionRequest]) (*op.Redirect, error) {
	req := &http.Request{Header: r.Header}
	if c, err := req.Cookie(refreshCookie); err == nil {
		p.s.setRefreshCookie(ctx, "", 0)
		if err := p.s.signOut(ctx, c.Value, clientWeb); err != nil {
			return nil, oauthError(fmt.Errorf("sign out: %w", err))
		}
	}
	to := r.Data.PostLogoutRedirectURI
	if to == "" || !slices.Contains(p.s.client(clientWeb).after, to) {
		return op.NewRedirect("/"), nil
	}
	return op.NewRedirect(to), nil
}

// oauthError is an error as op answers it: whatever has no kind is a server error of
// which nothing is told; op logs its cause by slog's default logger.
func oauthError(err error) error {
	if errors.Is(err, errGrant) {
		return oidc.ErrInvalidGrant().WithParent(err).WithDescription("sign in again")
	}
	if k := fault.KindOf(err); k == fault.Exhausted || k == fault.Unavailable || k == fault.Conflict {
		e := &oidc.Error{ErrorType: "temporarily_unavailable", Description: "try again", Parent: err}
		return op.NewStatusError(e, http.StatusServiceUnavailable)
	}
	return oidc.ErrServerError().WithParent(err).WithDescription("internal error")
}

func seconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
