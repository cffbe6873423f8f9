package user

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/identity"
)

// codeLife is how long an authorization code waits.
const codeLife = time.Minute

// issueCode makes the code of a sign-in that succeeded, and tells of it.
func (s *Service) issueCode(ctx context.Context, r loginRequest, a Account) (string, error) {
	who := identity.From(ctx)
	raw := make([]byte, 32)
	if _, err := io.ReadFull(s.random, raw); err != nil {
		return "", fmt.Errorf("issue code: %w", err)
	}
	code := base64.RawURLEncoding.EncodeToString(raw)
	now := s.now().UTC()
	c := Code{
		Hash: sha256.Sum256([]byte(code)), ClientID: r.ClientID, RedirectURI: r.RedirectURI, Scopes: r.Scopes, Nonce: r.Nonce,
		Challenge: r.Challenge, UserID: a.ID, FamilyID: s.newID(), SignedIn: now, Expires: now.Add(codeLife),
	}
	e, err := s.envelope(ctx, s, fact{
		subject: loginSubject(c.FamilyID), revision: 1, userID: a.ID, actorID: a.ID, login: c.FamilyID,
		payload:  &eventv1.LoggedIn{ClientId: r.ClientID, Method: "password"},
		personal: &eventv1.Personal{Username: a.Username, Ip: who.IP, UserAgent: who.UserAgent},
	})
	if err != nil {
		return "", fmt.Errorf("issue code: %w", err)
	}
	if err := s.store.AddCode(ctx, c, []*eventv1.Envelope{e}); err != nil {
		return "", fmt.Errorf("issue code: %w", err)
	}
	return code, nil
}

// redeem takes a code and begins its family. errGrant refuses; a code that was used
// before ends what it began (RFC 9700 section 4.5).
func (s *Service) redeem(ctx context.Context, r *oidc.AccessTokenRequest) (Account, Family, refreshToken, error) {
	c, err := s.store.Code(ctx, sha256.Sum256([]byte(r.Code)))
	if errors.Is(err, ErrNoCode) {
		return Account{}, Family{}, refreshToken{}, fmt.Errorf("%w: no such code", errGrant)
	}
	if err != nil {
		return Account{}, Family{}, refreshToken{}, err
	}
	if c.Redeemed {
		return Account{}, Family{}, refreshToken{}, s.replayed(ctx, c)
	}
	now := s.now().UTC()
	switch {
	case !now.Before(c.Expires):
		err = fmt.Errorf("%w: code has expired", errGrant)
	case c.ClientID != r.ClientID, c.RedirectURI != r.RedirectURI:
		err = fmt.Errorf("%w: code is of another client or redirect", errGrant)
	case len(r.CodeVerifier) < 43, len(r.CodeVerifier) > 128,
		!oidc.VerifyCodeChallenge(&oidc.CodeChallenge{Challenge: c.Challenge, Method: oidc.CodeChallengeMethodS256}, r.CodeVerifier):
		err = fmt.Errorf("%w: code verifier", errGrant)
	}
	if err != nil {
		return Account{}, Family{}, refreshToken{}, err
	}
	a, err := s.store.Account(ctx, c.UserID)
	if errors.Is(err, ErrNotFound) || (err == nil && a.Disabled) {
		return Account{}, Family{}, refreshToken{}, fmt.Errorf("%w: account", errGrant)
	}
	if err != nil {
		return Account{}, Family{}, refreshToken{}, err
	}
	f := Family{
		ID: c.FamilyID, UserID: a.ID, ClientID: c.ClientID, UserAgent: identity.From(ctx).UserAgent, Scopes: c.Scopes, Nonce: c.Nonce,
		SignedIn: c.SignedIn, Created: now, Used: now, Expires: now.Add(s.config.RefreshLife), Rotated: now, Revision: 1,
	}
	if _, err := io.ReadFull(s.random, f.Seed[:]); err != nil {
		return Account{}, Family{}, refreshToken{}, fmt.Errorf("redeem code: %w", err)
	}
	t, keyID, err := s.freshRefresh(f, 0)
	if err != nil {
		return Account{}, Family{}, refreshToken{}, err
	}
	f.KeyID, f.Current = keyID, t.hash()
	if err := s.store.Redeem(ctx, c.Hash, f); errors.Is(err, ErrCodeRedeemed) {
		return Account{}, Family{}, refreshToken{}, s.replayed(ctx, c)
	} else if errors.Is(err, ErrNoCode) {
		return Account{}, Family{}, refreshToken{}, fmt.Errorf("%w: code was withdrawn", errGrant)
	} else if err != nil {
		return Account{}, Family{}, refreshToken{}, err
	}
	return a, f, t, nil
}

// replayed ends the family of a code that came twice: one of the two has it from where it
// should not.
func (s *Service) replayed(ctx context.Context, c Code) error {
	s.log.WarnContext(ctx, "authorization code used again, sign-in revoked", "user", c.UserID, "login", c.FamilyID)
	err := s.end(ctx, c.FamilyID, familyRevoked(c.FamilyID, "authorization code used again"), identity.From(ctx))
	if err != nil && !errors.Is(err, ErrNoSession) {
		return err
	}
	return fmt.Errorf("%w: code was used before", errGrant)
}
