package event

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
)

// ErrShredded says that the listener's key is gone, and the personal fields with it.
var ErrShredded = errors.New("personal fields are shredded")

// ErrSealed says that sealed fields do not open: another key, another event, or altered.
var ErrSealed = errors.New("personal fields do not open")

// PersonalKeys gives the key of a listener. Key makes it where there is none yet, and
// returns ErrShredded for a listener who was deleted.
type PersonalKeys interface {
	Key(ctx context.Context, userID string) (keyID string, key [32]byte, err error)
}

// Seal puts personal fields into e under the key of the listener e.UserId: AES-256-GCM
// (NIST SP 800-38D), a random 96-bit nonce before the ciphertext, additional data = e.Id.
func Seal(ctx context.Context, keys PersonalKeys, e *eventv1.Envelope, p *eventv1.Personal) error {
	keyID, aead, err := listenerAEAD(ctx, keys, e)
	if err != nil {
		return fmt.Errorf("seal personal fields: %w", err)
	}
	plain, err := proto.Marshal(p)
	if err != nil {
		return fmt.Errorf("seal personal fields: %w", err)
	}
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plain)+aead.Overhead())
	randomNonce(nonce)
	e.Personal = aead.Seal(nonce, nonce, plain, []byte(e.GetId())) //nolint:gosec // the nonce is random, see above
	e.PersonalKeyId = keyID
	return nil
}

// Open opens the personal fields of e; nil when it has none, ErrShredded when the
// listener's key is gone or was replaced, ErrSealed when they were altered.
func Open(ctx context.Context, keys PersonalKeys, e *eventv1.Envelope) (*eventv1.Personal, error) {
	if len(e.GetPersonal()) == 0 {
		return nil, nil
	}
	keyID, aead, err := listenerAEAD(ctx, keys, e)
	if err != nil {
		return nil, fmt.Errorf("open personal fields: %w", err)
	}
	if keyID != e.GetPersonalKeyId() {
		return nil, fmt.Errorf("open personal fields: %w", ErrShredded)
	}
	sealed := e.GetPersonal()
	if len(sealed) < aead.NonceSize() {
		return nil, fmt.Errorf("open personal fields: %w", ErrSealed)
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(e.GetId()))
	if err != nil {
		return nil, fmt.Errorf("open personal fields: %w", ErrSealed)
	}
	p := new(eventv1.Personal)
	if err := proto.Unmarshal(plain, p); err != nil {
		return nil, fmt.Errorf("open personal fields: %w: %w", ErrMalformed, err)
	}
	return p, nil
}

func listenerAEAD(ctx context.Context, keys PersonalKeys, e *eventv1.Envelope) (string, cipher.AEAD, error) {
	if e.GetUserId() == "" {
		return "", nil, errors.New("event has no listener")
	}
	keyID, key, err := keys.Key(ctx, e.GetUserId())
	if err != nil {
		return "", nil, err
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return "", nil, err
	}
	aead, err := cipher.NewGCM(block)
	return keyID, aead, err
}
