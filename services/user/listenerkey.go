package user

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"

	"github.com/segue-music/segue/event"
	userv1 "github.com/segue-music/segue/gen/segue/user/v1"
	"github.com/segue-music/segue/internal/keyring"
)

// newKey makes the key of a listener, raw and as the store holds it.
func (s *Service) newKey(userID string) (ListenerKey, [32]byte, error) {
	var raw [32]byte
	if _, err := io.ReadFull(s.random, raw[:]); err != nil {
		return ListenerKey{}, raw, fmt.Errorf("make listener key: %w", err)
	}
	masters, err := s.keys.Keys(keyring.Master)
	if err != nil {
		return ListenerKey{}, raw, fmt.Errorf("make listener key: %w", err)
	}
	k := ListenerKey{UserID: userID, ID: s.newID(), MasterID: masters[0].ID}
	aead, err := listenerAEAD(masters[0], userID)
	if err != nil {
		return ListenerKey{}, raw, fmt.Errorf("make listener key: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(raw)+aead.Overhead())
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return ListenerKey{}, raw, fmt.Errorf("make listener key: %w", err)
	}
	k.Wrapped = aead.Seal(nonce, nonce, raw[:], []byte(k.ID))
	return k, raw, nil
}

// Key implements event.PersonalKeys. Every account gets its key as it is made, and loses
// it as it is deleted: event.ErrShredded from then on.
func (s *Service) Key(ctx context.Context, userID string) (string, [32]byte, error) {
	k, err := s.store.Key(ctx, userID)
	if errors.Is(err, ErrShredded) {
		return "", [32]byte{}, event.ErrShredded
	}
	if err != nil {
		return "", [32]byte{}, err
	}
	masters, err := s.keys.Keys(keyring.Master)
	if err != nil {
		return "", [32]byte{}, fmt.Errorf("open listener key: %w", err)
	}
	for _, m := range masters {
		if m.ID != k.MasterID {
			continue
		}
		aead, err := listenerAEAD(m, userID)
		if err != nil {
			return "", [32]byte{}, fmt.Errorf("open listener key: %w", err)
		}
		n := aead.NonceSize()
		if len(k.Wrapped) < n {
			return "", [32]byte{}, fmt.Errorf("open listener key %s: it is malformed", k.ID)
		}
		raw, err := aead.Open(nil, k.Wrapped[:n], k.Wrapped[n:], []byte(k.ID))
		if err != nil || len(raw) != 32 {
			return "", [32]byte{}, fmt.Errorf("open listener key %s: %w", k.ID, err)
		}
		return k.ID, [32]byte(raw), nil
	}
	return "", [32]byte{}, fmt.Errorf("open listener key %s: master key %d is not in the ring", k.ID, k.MasterID)
}

// listenerAEAD is AES-256-GCM under a key of one master key and one listener.
func listenerAEAD(master keyring.Key, userID string) (cipher.AEAD, error) {
	key := master.Derive("listener key", []byte(userID))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// GetListenerKey implements userv1connect.ListenerKeyServiceHandler.
func (s *Service) GetListenerKey(ctx context.Context, r *userv1.GetListenerKeyRequest) (*userv1.GetListenerKeyResponse, error) {
	id, key, err := s.Key(ctx, r.GetUserId())
	if errors.Is(err, event.ErrShredded) {
		return nil, ErrShredded.Because(err)
	}
	if err != nil {
		return nil, fmt.Errorf("get listener key: %w", err)
	}
	return &userv1.GetListenerKeyResponse{KeyId: id, Key: key[:]}, nil
}

// heldKey is event.PersonalKeys of a key at hand: that of an account not stored yet, or
// one read ahead so that sealing reads nothing.
type heldKey struct {
	id  string
	key [32]byte
}

func (k heldKey) Key(context.Context, string) (string, [32]byte, error) { return k.id, k.key, nil }
