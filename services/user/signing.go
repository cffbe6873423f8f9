package user

import (
	"fmt"

	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/keyring"
)

// signingKeys are the keys to publish, and the one that signs: the newest that was
// published for Config.PublishAhead, so that whoever caches the set has it by then.
func (s *Service) signingKeys() (all []accesstoken.Key, current accesstoken.Key, err error) {
	keys, err := s.keys.All(keyring.Signing)
	if err != nil {
		return nil, accesstoken.Key{}, fmt.Errorf("read signing keys: %w", err)
	}
	for _, k := range keys {
		all = append(all, accesstoken.NewKey(k.Derive("access tokens, Ed25519")))
	}
	return all, all[keyring.Use(keys, s.now(), s.config.PublishAhead)], nil
}

// accessToken signs the token of a sign-in.
func (s *Service) accessToken(a Account, f Family) (string, error) {
	_, key, err := s.signingKeys()
	if err != nil {
		return "", err
	}
	now := s.now()
	return accesstoken.Sign(key, s.issuer(), accesstoken.Claims{
		ID: s.newID(), UserID: a.ID, LoginID: f.ID, ClientID: f.ClientID, Roles: a.Roles, Market: a.Market, Plan: a.Plan,
		ExplicitAllowed: a.ExplicitAllowed, IssuedAt: now, Expires: now.Add(accesstoken.Life),
	})
}

// idClaims are an ID token's (OpenID Connect Core 1.0 section 2).
type idClaims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Party    string `json:"azp"`
	Expires  int64  `json:"exp"`
	IssuedAt int64  `json:"iat"`
	SignedIn int64  `json:"auth_time"`
	Nonce    string `json:"nonce,omitempty"`
	LoginID  string `json:"sid"`
	Username string `json:"preferred_username"`
	Name     string `json:"name"`
}

// idToken signs who signed in, for the client. Its email is nobody's business but the
// account's own, and is read by GetMe.
func (s *Service) idToken(a Account, f Family) (string, error) {
	_, key, err := s.signingKeys()
	if err != nil {
		return "", err
	}
	now := s.now()
	return accesstoken.SignJSON(key, accesstoken.TypeID, idClaims{
		Issuer: s.issuer(), Subject: a.ID, Audience: f.ClientID, Party: f.ClientID, Expires: now.Add(accesstoken.Life).Unix(),
		IssuedAt: now.Unix(), SignedIn: f.SignedIn.Unix(), Nonce: f.Nonce, LoginID: f.ID, Username: a.Username, Name: a.DisplayName,
	})
}
