package user

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/segue-music/segue/internal/keyring"
	"github.com/segue-music/segue/stream/id"
)

// refreshToken is a refresh token taken apart. To clients it is opaque:
// "sgr.<family>.<generation>.<secret>". The secret is HMAC-SHA256(key of the ring,
// family, generation, seed of the family), so that the successor of a token is the same
// whoever computes it, and neither the database nor the key ring alone makes one. At rest
// there is SHA-256 of the secret only.
type refreshToken struct {
	family     string
	generation uint32
	secret     [32]byte
}

const refreshPrefix = "sgr."

func (t refreshToken) String() string {
	return refreshPrefix + t.family + "." + strconv.FormatUint(uint64(t.generation), 10) + "." + base64.RawURLEncoding.EncodeToString(t.secret[:])
}

// hash is what the store keeps of a token.
func (t refreshToken) hash() [32]byte { return sha256.Sum256(t.secret[:]) }

// parseRefresh reads a token in the one form that String gives it.
func parseRefresh(s string) (refreshToken, bool) {
	rest, ok := strings.CutPrefix(s, refreshPrefix)
	if !ok || len(s) > 128 {
		return refreshToken{}, false
	}
	family, rest, _ := strings.Cut(rest, ".")
	number, secret, _ := strings.Cut(rest, ".")
	generation, err1 := strconv.ParseUint(number, 10, 32)
	b, err2 := base64.RawURLEncoding.Strict().DecodeString(secret)
	_, err3 := id.Parse(family)
	if err1 != nil || err2 != nil || err3 != nil || len(b) != 32 {
		return refreshToken{}, false
	}
	t := refreshToken{family: family, generation: uint32(generation), secret: [32]byte(b)}
	return t, t.String() == s
}

// makeRefresh computes the token of a family's generation under one key.
func makeRefresh(k keyring.Key, f Family, generation uint32) refreshToken {
	key := k.Derive("refresh token")
	h := hmac.New(sha256.New, key[:])
	_, _ = h.Write([]byte(f.ID)) // a hash never fails; every part has a fixed length
	_, _ = h.Write(binary.BigEndian.AppendUint32(nil, generation))
	_, _ = h.Write(f.Seed[:])
	t := refreshToken{family: f.ID, generation: generation}
	h.Sum(t.secret[:0])
	return t
}

// freshRefresh makes the token of a generation under the newest key.
func (s *Service) freshRefresh(f Family, generation uint32) (refreshToken, uint32, error) {
	keys, err := s.keys.Keys(keyring.Refresh)
	if err != nil {
		return refreshToken{}, 0, fmt.Errorf("make refresh token: %w", err)
	}
	return makeRefresh(keys[0], f, generation), keys[0].ID, nil
}

// currentRefresh computes the token of the family's current generation once more; false
// where its key is not in the ring any more.
func (s *Service) currentRefresh(f Family) (refreshToken, bool, error) {
	keys, err := s.keys.Keys(keyring.Refresh)
	if err != nil {
		return refreshToken{}, false, fmt.Errorf("make refresh token: %w", err)
	}
	for _, k := range keys {
		if t := makeRefresh(k, f, f.Generation); k.ID == f.KeyID && t.hash() == f.Current {
			return t, true, nil
		}
	}
	return refreshToken{}, false, nil
}

// wasOurs reports whether a token of a past generation is genuine: only then its use
// says that it was stolen. The id of a family is in every access token and proves nothing.
func (s *Service) wasOurs(t refreshToken, f Family) (bool, error) {
	if t.generation >= f.Generation {
		return false, nil
	}
	if t.generation+1 == f.Generation && t.hash() == f.Previous {
		return true, nil
	}
	keys, err := s.keys.Keys(keyring.Refresh)
	if err != nil {
		return false, fmt.Errorf("check refresh token: %w", err)
	}
	for _, k := range keys {
		made := makeRefresh(k, f, t.generation)
		if hmac.Equal(made.secret[:], t.secret[:]) {
			return true, nil
		}
	}
	return false, nil
}
