// Package keyring keeps the server's secrets in a folder beside the data, one file per
// purpose with mode 0600: a current key and two old ones, so that what was made before a
// rotation still verifies. A copy of the data folder alone opens nothing.
package keyring

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Purpose is what a key is for. No key serves two purposes.
type Purpose string

// The purposes.
const (
	Master    Purpose = "master"     // wraps content keys and listener keys at rest
	Ticket    Purpose = "ticket"     // MAC of playback tickets, session keys
	TLSTicket Purpose = "tls-ticket" // TLS session tickets: resumption and 0-RTT
	QUICToken Purpose = "quic-token" // QUIC address tokens
	Signing   Purpose = "signing"    // access tokens: seed of Ed25519
	RPC       Purpose = "rpc"        // identity tokens between services
	Refresh   Purpose = "refresh"    // successors of refresh tokens
	Objects   Purpose = "objects"    // tokens of /o/ URLs
)

var (
	// ErrPurpose refuses a purpose that is not one of the constants.
	ErrPurpose = errors.New("unknown key purpose")
	// ErrMode refuses a key file that others may read.
	ErrMode = errors.New("key file may be read by others")
)

const keep = 3

// Key is one secret of a purpose.
type Key struct {
	// ID is 1 for the first key of a purpose and rises by one with each rotation.
	ID      uint32
	Secret  [32]byte
	Created time.Time
}

// Derive makes a key for one use: HKDF-SHA256 (RFC 5869) without salt, the info being the
// label and every context, each after its length.
func (k Key) Derive(label string, context ...[]byte) [32]byte {
	info := append([]byte{byte(len(label))}, label...)
	for _, c := range context {
		info = append(info, byte(len(c)>>8), byte(len(c)))
		info = append(info, c...)
	}
	out, err := hkdf.Key(sha256.New, k.Secret[:], nil, string(info), 32)
	if err != nil {
		panic("keyring: " + err.Error()) // only for lengths over 255 hashes
	}
	return [32]byte(out)
}

// Ring holds the keys of a folder. All methods may be called concurrently.
type Ring struct {
	dir string
	now func() time.Time

	mu   sync.Mutex
	keys map[Purpose][]Key
}

// Open opens or makes the folder, which nobody else may read.
func Open(dir string, now func() time.Time) (*Ring, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("open key ring: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open key ring: %w", err)
		}
	}
	return &Ring{dir: dir, now: now, keys: map[Purpose][]Key{}}, nil
}

// Dir is the folder, for secrets of another form (certificates).
func (r *Ring) Dir() string { return r.dir }

func known(p Purpose) bool {
	switch p {
	case Master, Ticket, TLSTicket, QUICToken, Signing, RPC, Refresh, Objects:
		return true
	}
	return false
}

// Keys are the keys of a purpose, newest first and at least one: the first use makes it.
func (r *Ring) Keys(p Purpose) ([]Key, error) {
	if !known(p) {
		return nil, fmt.Errorf("%w: %q", ErrPurpose, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k, ok := r.keys[p]; ok {
		return append([]Key(nil), k...), nil
	}
	keys, err := r.load(p)
	if errors.Is(err, fs.ErrNotExist) {
		keys, err = r.add(p, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s keys: %w", p, err)
	}
	r.keys[p] = keys
	return append([]Key(nil), keys...), nil
}

// Rotate makes a new current key. The two before it stay valid, older ones are gone;
// master keys are all kept, for what they wrap stays.
func (r *Ring) Rotate(p Purpose) (Key, error) {
	old, err := r.Keys(p)
	if err != nil {
		return Key{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, err := r.add(p, old)
	if err != nil {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, err)
	}
	r.keys[p] = keys
	return keys[0], nil
}

// record is a key as the file has it.
type record struct {
	ID      uint32    `json:"id"`
	Secret  string    `json:"secret"`
	Created time.Time `json:"created"`
}

func (r *Ring) path(p Purpose) string { return filepath.Join(r.dir, string(p)+".json") }

func (r *Ring) load(p Purpose) ([]Key, error) {
	info, err := os.Lstat(r.path(p))
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: %s has mode %s", ErrMode, r.path(p), info.Mode())
	}
	b, err := os.ReadFile(r.path(p))
	if err != nil {
		return nil, err
	}
	var recs []record
	if err := json.Unmarshal(b, &recs); err != nil {
		return nil, fmt.Errorf("decode %s: %w", r.path(p), err)
	}
	if len(recs) == 0 {
		return nil, fmt.Errorf("decode %s: no key in it", r.path(p))
	}
	keys := make([]Key, len(recs))
	for i, rec := range recs {
		secret, err := hex.DecodeString(rec.Secret)
		if err != nil || len(secret) != 32 || rec.ID == 0 {
			return nil, fmt.Errorf("decode %s: key %d is malformed", r.path(p), i)
		}
		keys[i] = Key{ID: rec.ID, Secret: [32]byte(secret), Created: rec.Created}
	}
	return keys, nil
}

// add puts a fresh key before old and stores them.
func (r *Ring) add(p Purpose, old []Key) ([]Key, error) {
	fresh := Key{ID: 1, Created: r.now().UTC()}
	if len(old) > 0 {
		fresh.ID = old[0].ID + 1
	}
	if _, err := rand.Read(fresh.Secret[:]); err != nil {
		return nil, err
	}
	keys := append([]Key{fresh}, old...)
	if p != Master && len(keys) > keep {
		keys = keys[:keep]
	}
	recs := make([]record, len(keys))
	for i, k := range keys {
		recs[i] = record{ID: k.ID, Secret: hex.EncodeToString(k.Secret[:]), Created: k.Created}
	}
	b, err := json.MarshalIndent(recs, "", "  ")
	if err != nil {
		return nil, err
	}
	return keys, WriteFile(r.path(p), append(b, '\n'))
}

// WriteFile puts a secret at path as a whole, durably and with mode 0600.
func WriteFile(path string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
