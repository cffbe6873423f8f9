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
	"slices"
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
	keys map[Purpose]held
}

// held is keys as they were read, and when.
type held struct {
	keys   []Key
	looked time.Time
}

// lookEvery is how old keys in memory may be before the file is read again: another
// process may have rotated them.
const lookEvery = 5 * time.Second

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
		if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a folder
			return nil, fmt.Errorf("open key ring: %w", err)
		}
	}
	return &Ring{dir: dir, now: now, keys: map[Purpose]held{}}, nil
}

// Dir is the folder, for secrets of another form (certificates).
func (r *Ring) Dir() string { return r.dir }

// Purposes are all there are.
func Purposes() []Purpose {
	return []Purpose{Master, Ticket, TLSTicket, QUICToken, Signing, RPC, Refresh, Objects}
}

func known(p Purpose) bool { return slices.Contains(Purposes(), p) }

// Made is when the current key of a purpose was made, the zero time where there is none
// yet: unlike [Ring.Keys] it makes none.
func (r *Ring) Made(p Purpose) (time.Time, error) {
	if !known(p) {
		return time.Time{}, fmt.Errorf("%w: %q", ErrPurpose, p)
	}
	keys, err := r.load(p)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s keys: %w", p, err)
	}
	return keys[0].Created, nil
}

// Keys are the keys of a purpose, newest first and at least one: the first use makes it.
// Several processes may share the folder; all see the same keys.
func (r *Ring) Keys(p Purpose) ([]Key, error) {
	if !known(p) {
		return nil, fmt.Errorf("%w: %q", ErrPurpose, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, err := r.current(p)
	if err != nil {
		return nil, fmt.Errorf("read %s keys: %w", p, err)
	}
	return append([]Key(nil), keys...), nil
}

// Rotate makes a new current key. The two before it stay valid, older ones are gone;
// master keys are all kept, for what they wrap stays.
func (r *Ring) Rotate(p Purpose) (Key, error) {
	if _, err := r.Keys(p); err != nil {
		return Key{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, err := r.load(p)
	if err == nil {
		err = r.write(p, fresh(old, r.now()), false)
	}
	if err != nil {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, err)
	}
	delete(r.keys, p)
	keys, err := r.current(p)
	if err != nil {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, err)
	}
	return keys[0], nil
}

func (r *Ring) current(p Purpose) ([]Key, error) {
	h, ok := r.keys[p]
	now := r.now()
	if ok && now.Sub(h.looked) < lookEvery && !now.Before(h.looked) {
		return h.keys, nil
	}
	keys, err := r.load(p)
	if errors.Is(err, fs.ErrNotExist) {
		// Another process may be doing the same: the first one's key counts.
		if err = r.write(p, fresh(nil, now), true); err == nil || errors.Is(err, fs.ErrExist) {
			keys, err = r.load(p)
		}
	}
	if err != nil {
		return nil, err
	}
	r.keys[p] = held{keys, now}
	return keys, nil
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
	return r.read(p, info)
}

func (r *Ring) read(p Purpose, info fs.FileInfo) ([]Key, error) {
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

// fresh puts a new key without a secret before old.
func fresh(old []Key, now time.Time) []Key {
	k := Key{ID: 1, Created: now.UTC()}
	if len(old) > 0 {
		k.ID = old[0].ID + 1
	}
	return append([]Key{k}, old...)
}

// write draws the secret of the first key and stores all. first refuses an existing file.
func (r *Ring) write(p Purpose, keys []Key, first bool) error {
	if _, err := rand.Read(keys[0].Secret[:]); err != nil {
		return err
	}
	if p != Master && len(keys) > keep {
		keys = keys[:keep]
	}
	recs := make([]record, len(keys))
	for i, k := range keys {
		recs[i] = record{ID: k.ID, Secret: hex.EncodeToString(k.Secret[:]), Created: k.Created}
	}
	b, err := json.MarshalIndent(recs, "", "  ") //nolint:gosec // the file is where secrets live
	if err != nil {
		return err
	}
	if first {
		return CreateFile(r.path(p), append(b, '\n'))
	}
	return WriteFile(r.path(p), append(b, '\n'))
}

// WriteFile puts a secret at path as a whole, durably and with mode 0600.
func WriteFile(path string, b []byte) error { return writeFile(path, b, os.Rename) }

// CreateFile is WriteFile for a file that must not be there yet: fs.ErrExist.
func CreateFile(path string, b []byte) error { return writeFile(path, b, os.Link) }

func writeFile(path string, b []byte, place func(from, to string) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when it was renamed
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := place(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
