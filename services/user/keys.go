package user

import (
	"context"
	"errors"
	"fmt"
	"time"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
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
