package stream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

const (
	// objectTokenLife is how long the URL of an object works. A client gets a new one
	// with every PLAY.
	objectTokenLife = time.Hour
	objectTokenSize = 4 + 8 + 16
)

// mintObjectToken gives leave to read this object at this site for an hour.
func (s *Service) mintObjectToken(object [16]byte) (string, error) {
	keys, err := s.deps.Ring.Keys(keyring.Objects)
	if err != nil {
		return "", fmt.Errorf("read object keys: %w", err)
	}
	b := binary.BigEndian.AppendUint32(nil, keys[0].ID)
	b = binary.BigEndian.AppendUint64(b, uint64(s.deps.Now().Add(objectTokenLife).Unix()))
	b = append(b, s.objectMAC(keys[0], object, b)...)
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// objectToken reports whether a token is good for an object now, and until when it is.
func (s *Service) objectToken(object [16]byte, token string) (ok bool, until time.Time, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != objectTokenSize {
		return false, until, nil //nolint:nilerr // no token of ours
	}
	keys, err := s.deps.Ring.Keys(keyring.Objects)
	if err != nil {
		return false, until, fmt.Errorf("read object keys: %w", err)
	}
	body, sum := b[:12], b[12:]
	for _, k := range keys {
		if k.ID == binary.BigEndian.Uint32(b) && hmac.Equal(sum, s.objectMAC(k, object, body)) {
			until = time.Unix(int64(binary.BigEndian.Uint64(b[4:])), 0)
			return s.deps.Now().Before(until), until, nil
		}
	}
	return false, until, nil
}

// objectMAC has a key per site: one edge cannot make tokens for those of another.
func (s *Service) objectMAC(k keyring.Key, object [16]byte, body []byte) []byte {
	key := s.objectKeys.get(k, func() [32]byte {
		site := s.cfg.Site
		if site == "" {
			site = s.cfg.EdgeID
		}
		return k.Derive("edge object token", []byte(site))
	})
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(body) // a hash never fails
	_, _ = h.Write([]byte(hex.EncodeToString(object[:])))
	return h.Sum(nil)[:16]
}

// derivedKeys holds what is derived from the keys of the ring: each range of each object
// asks for it. The zero value is empty.
type derivedKeys struct {
	mu   sync.Mutex
	keys map[[32]byte][32]byte // by secret
}

// derivedMost bounds it: the ring has three keys of a purpose, and more after rotations.
const derivedMost = 16

func (d *derivedKeys) get(k keyring.Key, derive func() [32]byte) [32]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	key, ok := d.keys[k.Secret]
	if !ok {
		if d.keys == nil || len(d.keys) >= derivedMost {
			d.keys = map[[32]byte][32]byte{}
		}
		key = derive()
		d.keys[k.Secret] = key
	}
	return key
}
