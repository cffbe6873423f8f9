package outbox

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"
)

// KeepReplies is how long the reply to an idempotency key is kept.
const KeepReplies = 24 * time.Hour

// maxIdempotencyKey bounds a key in bytes.
const maxIdempotencyKey = 128

var (
	// ErrKeyReused refuses a key that came with another request before.
	ErrKeyReused = errors.New("idempotency key was used for another request")
	// ErrKeyMalformed refuses a key that is empty or over 128 bytes.
	ErrKeyMalformed = errors.New("idempotency key is malformed")
)

// Digest is what is kept of a request to tell it from another one with the same key.
// [ErrKeyMalformed].
func Digest(key string, request []byte) ([]byte, error) {
	if key == "" || len(key) > maxIdempotencyKey {
		return nil, ErrKeyMalformed
	}
	d := sha256.Sum256(request)
	return d[:], nil
}

// CheckRepeat refuses, with [ErrKeyReused], a request whose digest is not the one that
// was kept.
func CheckRepeat(kept, digest []byte) error {
	if !bytes.Equal(kept, digest) {
		return ErrKeyReused
	}
	return nil
}
