package stream

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/segue-music/segue/internal/keyring"
)

const (
	// objectTokenLife is how long the URL of an object works. A client gets a new one
	// with every PLAY.
	objectTokenLife = time.Hour
	objectTokenSize = 4 + 8 + 16
)

// objectURL is the URL of an object at this site, relative to its origin, with a token for
// this object, this site and an hour.
func (s *Service) objectURL(object [16]byte) (string, error) {
	keys, err := s.deps.Ring.Keys(keyring.Objects)
	if err != nil {
		return "", fmt.Errorf("read object keys: %w", err)
	}
	b := binary.BigEndian.AppendUint32(nil, keys[0].ID)
	b = binary.BigEndian.AppendUint64(b, uint64(s.deps.Now().Add(objectTokenLife).Unix()))
	b = append(b, s.objectMAC(keys[0], object, b)...)
	return "/o/{object}?t=" + base64.RawURLEncoding.EncodeToString(b), nil
}

// objectToken reports whether a token is good for an object now.
func (s *Service) objectToken(object [16]byte, token string) (bool, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != objectTokenSize {
		return false, nil //nolint:nilerr // no token of ours
	}
	keys, err := s.deps.Ring.Keys(keyring.Objects)
	if err != nil {
		return false, fmt.Errorf("read object keys: %w", err)
	}
	body, sum := b[:12], b[12:]
	for _, k := range keys {
		if k.ID == binary.BigEndian.Uint32(b) && hmac.Equal(sum, s.objectMAC(k, object, body)) {
			return s.deps.Now().Unix() < int64(binary.BigEndian.Uint64(b[4:])), nil
		}
	}
	return false, nil
}

// objectMAC has a key per site: one edge cannot make tokens for those of another.
func (s *Service) objectMAC(k keyring.Key, object [16]byte, body []byte) []byte {
	site := s.cfg.Site
	if site == "" {
		site = s.cfg.EdgeID
	}
	key := k.Derive("edge object token", []byte(site))
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write(body) // a hash never fails
	_, _ = h.Write([]byte(hex.EncodeToString(object[:])))
	return h.Sum(nil)[:16]
}
