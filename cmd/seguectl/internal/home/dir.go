// Package home is the folder in which seguectl remembers things between runs: who is
// signed in where, the id of this device, uploads that were cut off, and events that
// were not delivered yet. All of it is readable by its owner only.
package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Dir is the folder.
type Dir struct{ path string }

// Open opens the folder at path and makes it where it is missing. An empty path stands
// for segue in the user's configuration folder.
func Open(path string) (*Dir, error) {
	if path == "" {
		base, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("find configuration folder: %w (name one by --config)", err)
		}
		path = filepath.Join(base, "segue")
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make configuration folder: %w", err)
	}
	return &Dir{path}, nil
}

// Sub is the path of a folder in this one, which is made.
func (d *Dir) Sub(names ...string) (string, error) {
	p := filepath.Join(append([]string{d.path}, names...)...)
	if err := os.MkdirAll(p, 0o700); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	return p, nil
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// WriteFile replaces a file as a whole: who reads it, also after a power loss, finds the
// old content or the new. The file is for its owner only.
func WriteFile(name string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", filepath.Base(name), errors.Join(err, os.Remove(f.Name())))
		}
	}()
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), name); err != nil {
		return err
	}
	// The rename has happened; whether it is on the disk is a question of some seconds.
	return syncDir(filepath.Dir(name))
}

// lockEvery is how often a lock that another process holds is tried again.
const lockEvery = 20 * time.Millisecond

// Lock waits until no other seguectl holds the folder's lock, and takes it.
func (d *Dir) Lock(ctx context.Context) (unlock func(), err error) {
	for {
		unlock, ok, err := TryLock(d.file("lock"))
		if err != nil {
			return nil, fmt.Errorf("lock configuration folder: %w", err)
		}
		if ok {
			return unlock, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock configuration folder: %w", ctx.Err())
		case <-time.After(lockEvery):
		}
	}
}

// TryLock takes the lock of a file, which is made, unless someone holds it. The lock
// ends with the process that holds it, however that ends.
func TryLock(name string) (unlock func(), ok bool, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, err
	}
	if ok, err = tryLock(f); err != nil || !ok {
		return nil, false, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, true, nil // closing releases it, whatever it returns
}
