package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/accesstoken"
	"github.com/segue-music/segue/internal/identity"
	"github.com/segue-music/segue/internal/keyring"
)

// ListKeys implements userv1connect.KeyRingServiceHandler.
func (s *Service) ListKeys(context.Context, *userv1.ListKeysRequest) (*userv1.ListKeysResponse, error) {
	res := &userv1.ListKeysResponse{}
	for _, p := range keyring.Purposes() {
		keys, err := s.keys.All(p)
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		use := keyring.Use(keys, s.now(), s.ahead(p))
		for i, k := range keys {
			info := s.keyInfo(p, k)
			info.InUse = i == use
			res.Keys = append(res.Keys, info)
		}
	}
	return res, nil
}

// RotateKeys implements userv1connect.KeyRingServiceHandler.
func (s *Service) RotateKeys(ctx context.Context, r *userv1.RotateKeysRequest) (*userv1.RotateKeysResponse, error) {
	purposes := keyring.Purposes()
	if len(r.GetPurposes()) > 0 {
		purposes = nil
		for _, name := range r.GetPurposes() {
			purposes = append(purposes, keyring.Purpose(name))
		}
	}
	// All or none, as far as one can know before.
	for _, p := range purposes {
		keys, err := s.keys.All(p)
		if err != nil {
			return nil, fmt.Errorf("rotate keys: %w", err)
		}
		if len(keys) > 1 && s.now().Sub(keys[0].Created) < keyring.Ahead {
			return nil, ErrKeySoon.With(string(p)).RetryIn(keyring.Ahead)
		}
	}
	res := &userv1.RotateKeysResponse{}
	for _, p := range purposes {
		k, err := s.rotateKey(ctx, p, identity.From(ctx))
		switch {
		case errors.Is(err, keyring.ErrSoon):
			return nil, ErrKeySoon.With(string(p)).RetryIn(keyring.Ahead).Because(err)
		case errors.Is(err, keyring.ErrMany):
			return nil, ErrKeyMany.With(string(p)).Because(err)
		case err != nil:
			return nil, fmt.Errorf("rotate keys: %w", err)
		}
		res.Keys = append(res.Keys, s.keyInfo(p, k))
	}
	return res, nil
}

// rotateKey makes a new key and tells of it. The file is the truth: an event that is lost
// is logged.
func (s *Service) rotateKey(ctx context.Context, p keyring.Purpose, who identity.Identity) (keyring.Key, error) {
	k, err := s.keys.Rotate(p)
	if err != nil {
		return keyring.Key{}, err
	}
	s.log.InfoContext(ctx, "key rotated", "purpose", string(p), "key", k.ID, "actor", who.UserID)
	s.record(ctx, fact{
		subject: "key:" + string(p), revision: uint64(k.ID), actorID: who.UserID, login: who.LoginID,
		payload: &eventv1.KeyRotated{Purpose: string(p), KeyId: k.ID},
	})
	return k, nil
}

// ahead is how long a key of a purpose is known before it is used.
func (s *Service) ahead(p keyring.Purpose) time.Duration {
	if p == keyring.Signing {
		return s.config.PublishAhead
	}
	return keyring.Ahead
}

func (s *Service) keyInfo(p keyring.Purpose, k keyring.Key) *userv1.KeyInfo {
	from := k.Created
	if k.ID > 1 { // the first one has nobody to wait for
		from = from.Add(s.ahead(p))
	}
	return &userv1.KeyInfo{Purpose: string(p), Id: k.ID, CreatedUnixMs: k.Created.UnixMilli(), InUseFromUnixMs: from.UnixMilli()}
}

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
