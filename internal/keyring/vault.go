package keyring

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrAway says that a vault cannot be asked now.
var ErrAway = errors.New("key vault is away")

// Vault keeps one text per purpose. Several processes use it at once.
type Vault interface {
	// Load is the text of a purpose with its version, from 1; fs.ErrNotExist; ErrAway.
	Load(p Purpose) (b []byte, version int64, err error)
	// Store puts a text in the place of a version, durably and as a whole; version 0 is none.
	// fs.ErrExist: there is another one by now.
	Store(p Purpose, version int64, b []byte) error
}

// record is a key as the text has it.
type record struct {
	ID      uint32    `json:"id"`
	Secret  string    `json:"secret"`
	Created time.Time `json:"created"`
}

func (r *Ring) load(p Purpose) ([]Key, int64, error) {
	b, version, err := r.vault.Load(p)
	if err != nil {
		return nil, 0, err
	}
	var recs []record
	if err := json.Unmarshal(b, &recs); err != nil {
		return nil, 0, fmt.Errorf("decode: %w", err)
	}
	if len(recs) == 0 {
		return nil, 0, errors.New("decode: no key in it")
	}
	keys := make([]Key, len(recs))
	for i, rec := range recs {
		secret, err := hex.DecodeString(rec.Secret)
		if err != nil || len(secret) != 32 || rec.ID == 0 {
			return nil, 0, fmt.Errorf("decode: key %d is malformed", i)
		}
		keys[i] = Key{ID: rec.ID, Secret: [32]byte(secret), Created: rec.Created}
	}
	return keys, version, nil
}

// fresh puts a new key without a secret before old.
func fresh(old []Key, now time.Time) []Key {
	k := Key{ID: 1, Created: now.UTC()}
	if len(old) > 0 {
		k.ID = old[0].ID + 1
	}
	return append([]Key{k}, old...)
}

// store draws the secret of the first key and stores all.
func (r *Ring) store(p Purpose, version int64, keys []Key) error {
	if _, err := rand.Read(keys[0].Secret[:]); err != nil {
		return err
	}
	recs := make([]record, len(keys))
	for i, k := range keys {
		recs[i] = record{ID: k.ID, Secret: hex.EncodeToString(k.Secret[:]), Created: k.Created}
	}
	b, err := json.MarshalIndent(recs, "", "  ") //nolint:gosec // the vault is where secrets live
	if err != nil {
		return err
	}
	return r.vault.Store(p, version, append(b, '\n'))
}

// folder is a vault of files. Its versions do not tell two writers apart: the folder of
// one machine is rotated by one process at a time, or nearly.
type folder string

func (d folder) path(p Purpose) string { return filepath.Join(string(d), string(p)+".json") }

// Load implements Vault.
func (d folder) Load(p Purpose) ([]byte, int64, error) {
	info, err := os.Lstat(d.path(p))
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, 0, fmt.Errorf("%w: %s has mode %s", ErrMode, d.path(p), info.Mode())
	}
	b, err := os.ReadFile(d.path(p))
	return b, 1, err
}

// Store implements Vault.
func (d folder) Store(p Purpose, version int64, b []byte) error {
	if version == 0 {
		return CreateFile(d.path(p), b)
	}
	return WriteFile(d.path(p), b)
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
