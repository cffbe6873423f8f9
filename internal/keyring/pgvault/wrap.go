package pgvault

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
)

// ErrWrap says that a text was sealed by another wrapping key, or is damaged.
var ErrWrap = errors.New("key vault cannot be opened: it was sealed by another wrapping key, or is damaged")

// Wrap seals and opens by AES-256-GCM: 8 bytes that name the wrapping key, 12 of a nonce,
// ciphertext and tag.
type Wrap struct {
	keys []wrapping // the first one seals
}

type wrapping struct {
	id   [8]byte
	aead cipher.AEAD
}

// ReadWrap reads wrapping keys from a file that a secret store has put there: a line of 64
// hex digits each. The first seals, the others open what they sealed before.
func ReadWrap(path string) (*Wrap, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read wrapping keys: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("read wrapping keys: %s may be read by others (mode %s)", path, info.Mode())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read wrapping keys: %w", err)
	}
	w := &Wrap{}
	for n, line := range strings.Fields(string(b)) {
		key, err := hex.DecodeString(line)
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("read wrapping keys: line %d of %s is not 64 hex digits", n+1, path)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("read wrapping keys: %w", err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("read wrapping keys: %w", err)
		}
		sum := sha256.Sum256(append([]byte("segue wrapping key "), key...))
		w.keys = append(w.keys, wrapping{[8]byte(sum[:8]), aead})
	}
	if len(w.keys) == 0 {
		return nil, fmt.Errorf("read wrapping keys: %s is empty", path)
	}
	return w, nil
}

// Seal seals b as name.
func (w *Wrap) Seal(b []byte, name string) ([]byte, error) {
	k := w.keys[0]
	out := make([]byte, 8+k.aead.NonceSize())
	copy(out, k.id[:])
	if _, err := rand.Read(out[8:]); err != nil {
		return nil, err
	}
	return k.aead.Seal(out, out[8:], b, []byte(name)), nil
}

// Open opens what was sealed as name; ErrWrap.
func (w *Wrap) Open(sealed []byte, name string) ([]byte, error) {
	for _, k := range w.keys {
		if n := 8 + k.aead.NonceSize(); len(sealed) >= n && bytes.Equal(sealed[:8], k.id[:]) {
			b, err := k.aead.Open(nil, sealed[8:n], sealed[n:], []byte(name))
			if err != nil {
				return nil, ErrWrap
			}
			return b, nil
		}
	}
	return nil, ErrWrap
}
