// Package keyring keeps the server's secrets in a folder beside the data, one file per
// purpose with mode 0600, or in a vault that several machines share. A new key is known to every process for a while before one of
// them uses it, and an old one stays for as long as anything that it made is good, so that
// a rotation is noticed by nobody. A copy of the data folder alone opens nothing.
package keyring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	// ErrSoon refuses a rotation while the one before has not come into use.
	ErrSoon = errors.New("the newest key is not in use yet")
	// ErrMany refuses a rotation while too many old keys are still needed.
	ErrMany = errors.New("too many old keys are still needed")
)

const (
	// Ahead is how long every process knows a new key before any uses it: they look every
	// lookEvery. A purpose may have a longer time of its own, see [Use].
	Ahead = 2 * lookEvery
	// most bounds the keys of a purpose: those of signatures are published as a whole.
	most = 16
	// least stays, whatever its age.
	least = 3
)

// Purposes are all of them.
func Purposes() []Purpose {
	return []Purpose{Master, Ticket, TLSTicket, QUICToken, Signing, RPC, Refresh, Objects}
}

// Life is how long what a key of a purpose made may be good after the key was used last;
// 0 is for ever.
func (p Purpose) Life() time.Duration {
	const day = 24 * time.Hour
	switch p {
	case Master:
		return 0 // it wraps what is kept
	case Ticket:
		return 8 * day // a session's key is computed from it for as long as the session is renewed
	case TLSTicket:
		return 7 * day // RFC 8446 section 4.6.1
	case QUICToken, Objects:
		return time.Hour
	case Signing:
		return 2 * day // ten minutes, after standing in the published set without being used
	case RPC:
		return 2 * time.Minute
	case Refresh:
		return 91 * day // a token of the past is told from a forged one by it
	}
	return 0
}

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

// Ring holds the keys of a vault. All methods may be called concurrently.
type Ring struct {
	dir   string
	vault Vault
	now   func() time.Time

	mu   sync.Mutex
	keys map[Purpose]held
}

// held is keys as they were read, and when.
type held struct {
	keys   []Key
	looked time.Time
}

// lookEvery is how old keys in memory may be before they are read again: another process
// may have rotated them.
const lookEvery = 5 * time.Second

// Open opens or makes the folder, which nobody else may read, with the keys in files.
func Open(dir string, now func() time.Time) (*Ring, error) { return OpenVault(dir, folder(dir), now) }

// OpenVault is Open with the keys in a vault, which other machines share. The folder is for
// what is this machine's own.
func OpenVault(dir string, v Vault, now func() time.Time) (*Ring, error) {
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
	return &Ring{dir: dir, vault: v, now: now, keys: map[Purpose]held{}}, nil
}

// Dir is the folder, for secrets of another form (certificates).
func (r *Ring) Dir() string { return r.dir }

// Keys are the keys of a purpose, at least one: the first use makes it. The first is the
// one to use; the others verify and open, and among them is, for a moment after a
// rotation, one that is newer and not in use yet. Several processes may share the folder.
func (r *Ring) Keys(p Purpose) ([]Key, error) {
	keys, err := r.All(p)
	if err != nil {
		return nil, err
	}
	i := Use(keys, r.now(), Ahead)
	use := keys[i]
	copy(keys[1:i+1], keys[:i])
	keys[0] = use
	return keys, nil
}

// Made is when the newest key of a purpose was made, the zero time where there is none
// yet: unlike [Ring.Keys] it makes none.
func (r *Ring) Made(p Purpose) (time.Time, error) {
	if !slices.Contains(Purposes(), p) {
		return time.Time{}, fmt.Errorf("%w: %q", ErrPurpose, p)
	}
	keys, _, err := r.load(p)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s keys: %w", p, err)
	}
	return keys[0].Created, nil
}

// All are the keys of a purpose, newest first.
func (r *Ring) All(p Purpose) ([]Key, error) {
	if !slices.Contains(Purposes(), p) {
		return nil, fmt.Errorf("%w: %q", ErrPurpose, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, err := r.current(p)
	if err != nil {
		return nil, fmt.Errorf("read %s keys: %w", p, err)
	}
	return slices.Clone(keys), nil
}

// Use is the index of the key to use among keys, which are newest first: the newest that
// was there for the time ahead, or the oldest where none was.
func Use(keys []Key, now time.Time, ahead time.Duration) int {
	for i, k := range keys {
		if now.Sub(k.Created) >= ahead {
			return i
		}
	}
	return len(keys) - 1
}

// Rotate makes a new key, which comes into use after [Ahead], and drops old ones whose
// [Purpose.Life] is over. ErrSoon: the one before is not in use yet, so that two processes
// that rotate at once make one key, or nearly; ErrMany.
func (r *Ring) Rotate(p Purpose) (Key, error) {
	if _, err := r.All(p); err != nil {
		return Key{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old, version, err := r.load(p)
	if err != nil {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, err)
	}
	now := r.now()
	if age := now.Sub(old[0].Created); age >= 0 && age < Ahead && len(old) > 1 {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, ErrSoon)
	}
	next := needed(p, fresh(old, now), now)
	if p != Master && len(next) > most {
		return Key{}, fmt.Errorf("rotate %s key: %w", p, ErrMany)
	}
	err = r.store(p, version, next)
	if errors.Is(err, fs.ErrExist) {
		err = ErrSoon // another process was first
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

// needed drops the keys that nothing is good of any more. A key was used until the next
// one came into use.
func needed(p Purpose, keys []Key, now time.Time) []Key {
	for i := least; i < len(keys); i++ {
		if life := p.Life(); life > 0 && now.Sub(keys[i-1].Created) > life+Ahead {
			return keys[:i]
		}
	}
	return keys
}

func (r *Ring) current(p Purpose) ([]Key, error) {
	h, ok := r.keys[p]
	now := r.now()
	if ok && now.Sub(h.looked) < lookEvery && !now.Before(h.looked) {
		return h.keys, nil
	}
	keys, _, err := r.load(p)
	if errors.Is(err, fs.ErrNotExist) {
		// Another process may be doing the same: the first one's key counts.
		if err = r.store(p, 0, fresh(nil, now)); err == nil || errors.Is(err, fs.ErrExist) {
			keys, _, err = r.load(p)
		}
	}
	if errors.Is(err, ErrAway) && ok {
		// What was known goes on being used: a rotation meanwhile is not known here, which is
		// better than nothing being known.
		keys, err = h.keys, nil
	}
	if err != nil {
		return nil, err
	}
	r.keys[p] = held{keys, now}
	return keys, nil
}
