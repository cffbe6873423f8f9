package gateway

import (
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	authv1 "github.com/segue-music/segue/gen/segue/auth/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/identity"
)

// Challenges of RFC 6750 section 3.
const (
	challenge        = `Bearer realm="segue"`
	challengeInvalid = `Bearer realm="segue", error="invalid_token"`
	challengeScope   = `Bearer realm="segue", error="insufficient_scope"`
)

// admit decides whether the route is open to whoever holds the request's token, and who
// that is. A token that is there must be good even where none is needed: a player whose
// sign-in has expired is to notice.
func (x *exchange) admit(who identity.Identity) (identity.Identity, *refusal) {
	var roles []authv1.Role
	anonymous := false
	switch x.route.who {
	case anyone:
		return who, nil
	case byRole:
		roles = x.route.roles
	case byMethod:
		roles, anonymous = x.rpc.roles, x.rpc.anonymous
	default:
		f := notFound("route")
		return who, &f
	}
	token, ok := bearer(x.r)
	switch {
	case !ok:
		return who, x.denied(unauthenticated("malformed authorization", challengeInvalid), "malformed token")
	case token == "" && anonymous:
		return who, nil
	case token == "":
		return who, x.denied(unauthenticated("sign in first", challenge), "no token")
	}
	claims, err := x.g.deps.Verify(x.r.Context(), token)
	switch {
	case fault.KindOf(err) == fault.Unavailable:
		x.g.deps.Log.WarnContext(x.r.Context(), "access token cannot be checked", "request", x.id, "err", err)
		return who, &refusal{status: http.StatusServiceUnavailable, code: connect.CodeUnavailable, reason: "verify", text: fault.Public(err), retry: max(fault.RetryAfter(err), 1)}
	case err != nil:
		text := "access token is not valid"
		if fault.KindOf(err) == fault.Unauthenticated {
			text = fault.Public(err)
		}
		return who, x.denied(unauthenticated(text, challengeInvalid), "bad token")
	}
	who.UserID, who.Roles, who.LoginID, who.ClientID = claims.UserID, claims.Roles, claims.LoginID, claims.ClientID
	who.Market, who.Plan, who.ExplicitAllowed = claims.Market, claims.Plan, claims.ExplicitAllowed
	x.r = x.r.WithContext(identity.With(x.r.Context(), who))
	if !anonymous && !who.Has(roles...) {
		return who, x.denied(refusal{
			status: http.StatusForbidden, code: connect.CodePermissionDenied, reason: "role", text: "not allowed for this account", bearer: challengeScope,
		}, "role")
	}
	return who, nil
}

// findMethod looks the RPC up; false when there is none to the outside.
func (x *exchange) findMethod() (ok bool) {
	x.rpc, ok = x.g.methods[x.r.URL.Path]
	return ok
}

// streams reports whether the exchange may last for as long as both sides like.
func (x *exchange) streams() bool { return x.route.stream || x.rpc.stream }

func unauthenticated(text, challenge string) refusal {
	return refusal{status: http.StatusUnauthorized, code: connect.CodeUnauthenticated, reason: "token", text: text, bearer: challenge}
}

// denied tells that access was refused.
func (x *exchange) denied(f refusal, reason string) *refusal {
	if x.g.deps.OnRefused != nil {
		procedure := x.route.prefix
		if x.route.who == byMethod {
			procedure = x.r.URL.Path // one of publicMethods, no invention of the client's
		}
		x.g.deps.OnRefused(x.r.Context(), procedure, reason)
	}
	return &f
}

// bearer is the token of the one Authorization header; empty when there is none, not ok
// when there is anything else in it.
func bearer(r *http.Request) (token string, ok bool) {
	all := r.Header.Values("Authorization")
	if len(all) == 0 {
		return "", true
	}
	scheme, token, found := strings.Cut(all[0], " ")
	if len(all) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > 8*kib {
		return "", false
	}
	return token, !slices.ContainsFunc([]byte(token), func(c byte) bool { return c <= ' ' || c >= 0x7f })
}
