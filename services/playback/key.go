package playback

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/maypok86/otter/v2"

	playbackv1 "github.com/segue-music/segue/gen/segue/playback/v1"
	"github.com/segue-music/segue/internal/keyring"
)

// contentKeys opens the keys of objects. At rest a key is AES-256-GCM (NIST SP 800-38D)
// under a key derived from a master key, a random 96-bit nonce before it; the additional
// data binds it to its object. In memory it stays wrapped too.
type contentKeys struct {
	store  Store
	ring   Keyring
	random io.Reader
	cache  *otter.Cache[string, ContentKey] // by object id; a key never changes

	mu    sync.RWMutex
	aeads map[uint32]cipher.AEAD // by master key id
}

func newContentKeys(d Deps) (*contentKeys, error) {
	cache, err := otter.New(&otter.Options[string, ContentKey]{MaximumSize: d.Config.CachedTracks})
	if err != nil {
		return nil, err
	}
	return &contentKeys{store: d.Store, ring: d.Keys, random: d.Random, cache: cache, aeads: map[uint32]cipher.AEAD{}}, nil
}

// errMaster says that a content key was wrapped by a master key that is not in the ring.
var errMaster = errors.New("master key of a content key is gone")

// aead is that of a master key; id 0 means the newest.
func (c *contentKeys) aead(id uint32) (cipher.AEAD, uint32, error) {
	c.mu.RLock()
	a, ok := c.aeads[id]
	c.mu.RUnlock()
	if ok {
		return a, id, nil
	}
	keys, err := c.ring.Keys(keyring.Master)
	if err != nil {
		return nil, 0, fmt.Errorf("read master keys: %w", err)
	}
	for _, k := range keys {
		if id != 0 && k.ID != id {
			continue
		}
		secret := k.Derive("content key at rest")
		block, err := aes.NewCipher(secret[:])
		if err != nil {
			return nil, 0, err
		}
		a, err := cipher.NewGCM(block)
		if err != nil {
			return nil, 0, err
		}
		c.mu.Lock()
		c.aeads[k.ID] = a
		c.mu.Unlock()
		return a, k.ID, nil
	}
	return nil, 0, fmt.Errorf("%w: id %d", errMaster, id)
}

func additional(k *ContentKey) []byte {
	b := make([]byte, 0, 96)
	b = append(b, k.ObjectID...)
	b = append(b, k.TrackID...)
	b = append(b, k.SealID[:]...)
	b = binary.BigEndian.AppendUint32(b, k.Kbps)
	return binary.BigEndian.AppendUint64(b, k.KID)
}

func (c *contentKeys) wrap(k *ContentKey, base [16]byte) error {
	a, id, err := c.aead(0)
	if err != nil {
		return err
	}
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(base)+a.Overhead())
	if _, err := io.ReadFull(c.random, nonce); err != nil {
		return fmt.Errorf("draw nonce: %w", err)
	}
	k.MasterID, k.Wrapped = id, a.Seal(nonce, nonce, base[:], additional(k))
	return nil
}

func (c *contentKeys) open(k *ContentKey) (base [16]byte, err error) {
	a, _, err := c.aead(k.MasterID)
	if err != nil {
		return base, err
	}
	if len(k.Wrapped) != a.NonceSize()+len(base)+a.Overhead() {
		return base, fmt.Errorf("content key of %s: %d bytes", k.ObjectID, len(k.Wrapped))
	}
	plain, err := a.Open(base[:0], k.Wrapped[:a.NonceSize()], k.Wrapped[a.NonceSize():], additional(k))
	if err != nil {
		return base, fmt.Errorf("open content key of %s: %w", k.ObjectID, err)
	}
	return [16]byte(plain), nil
}

// of finds the key of a rendition: that of the object that the catalogue names, or else
// the newest one that was put for this track and quality.
func (c *contentKeys) of(ctx context.Context, trackID string, r Rendition) (ContentKey, error) {
	if k, ok := c.cache.GetIfPresent(r.ObjectID); ok {
		return k, nil
	}
	k, err := c.store.ContentKey(ctx, r.ObjectID)
	if errors.Is(err, ErrAbsent) {
		return c.store.NewestKey(ctx, trackID, r.Kbps)
	}
	if err != nil {
		return ContentKey{}, err
	}
	c.cache.Set(k.ObjectID, k)
	return k, nil
}

// PutKey implements playbackv1connect.KeyServiceHandler.
func (s *Service) PutKey(ctx context.Context, req *playbackv1.PutKeyRequest) (*playbackv1.PutKeyResponse, error) {
	k := ContentKey{
		ObjectID: req.GetObjectId(), TrackID: req.GetTrackId(), Kbps: req.GetKbps(), KID: req.GetKid(),
		SealID: [16]byte(req.GetSealId()), Added: s.Now().UTC(),
	}
	base := [16]byte(req.GetBaseKey())
	if err := s.keys.wrap(&k, base); err != nil {
		return nil, fmt.Errorf("put key: %w", err)
	}
	err := s.Store.AddKey(ctx, k)
	if errors.Is(err, ErrTaken) {
		err = s.sameKey(ctx, k, base)
	}
	if err != nil {
		return nil, fmt.Errorf("put key: %w", err)
	}
	return &playbackv1.PutKeyResponse{}, nil
}

// sameKey returns nil when the object's key is the one that is being put again.
func (s *Service) sameKey(ctx context.Context, k ContentKey, base [16]byte) error {
	kept, err := s.Store.ContentKey(ctx, k.ObjectID)
	if err != nil {
		return err
	}
	before, err := s.keys.open(&kept)
	if err != nil {
		return err
	}
	same := subtle.ConstantTimeCompare(before[:], base[:]) == 1
	if !same || kept.TrackID != k.TrackID || kept.Kbps != k.Kbps || kept.KID != k.KID || kept.SealID != k.SealID {
		return ErrKeyConflict
	}
	return nil
}

// objectBytes are the 16 bytes of an object's name.
func objectBytes(name string) (b [16]byte, err error) {
	if len(name) != 2*len(b) {
		return b, fmt.Errorf("object id of %d characters", len(name))
	}
	if _, err := hex.Decode(b[:], []byte(name)); err != nil {
		return b, fmt.Errorf("object id: %w", err)
	}
	return b, nil
}
