// Package staging keeps the bytes of uploads that are being received, one file each in
// one private folder.
package staging

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/segue-music/segue/stream/id"
)

// ErrNotFound says that no bytes of this upload are here.
var ErrNotFound = errors.New("partial upload not found")

// Dir is the folder. Names are upload ids and nothing else. One writer at a time per
// upload; its caller holds a lock.
type Dir struct{ root *os.Root }

// Open opens or makes the folder.
func Open(dir string) (*Dir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open staging folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open staging folder: %w", err)
	}
	return &Dir{root}, nil
}

// Close releases the folder.
func (d *Dir) Close() error { return d.root.Close() }

func check(uploadID string) error {
	if _, err := id.Parse(uploadID); err != nil {
		return ErrNotFound
	}
	return nil
}

// checkpoint is how many bytes are written between two syncs.
const checkpoint = 8 << 20

// Append writes what r gives at offset, of at most limit bytes. What lies after offset
// is cut off. saved is called whenever more bytes are on the disk, with how many there
// are from the beginning; its error ends the writing. It returns how many bytes were
// written, all of which are on the disk, also with an error of r.
func (d *Dir) Append(uploadID string, offset, limit int64, r io.Reader, saved func(size int64) error) (n int64, err error) {
	if err := check(uploadID); err != nil {
		return 0, err
	}
	f, err := d.root.OpenFile(uploadID, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return 0, fmt.Errorf("open partial upload: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("open partial upload: %w", err)
	}
	if info.Size() < offset {
		// Bytes that were said to be here are gone: no hole is made in their place.
		return 0, fmt.Errorf("%w: %d of %d bytes are left", ErrNotFound, info.Size(), offset)
	}
	if err := f.Truncate(offset); err != nil {
		return 0, fmt.Errorf("cut partial upload: %w", err)
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, fmt.Errorf("write partial upload: %w", err)
	}
	in := io.LimitReader(r, limit)
	for {
		part, readErr := io.CopyN(f, in, checkpoint)
		if part > 0 {
			if err := f.Sync(); err != nil {
				return n, fmt.Errorf("sync partial upload: %w", err)
			}
			if err := saved(offset + n + part); err != nil {
				return n, err
			}
			n += part
		}
		if errors.Is(readErr, io.EOF) {
			return n, nil
		}
		if readErr != nil {
			return n, fmt.Errorf("write partial upload: %w", readErr)
		}
	}
}

// Read opens the bytes of an upload; ErrNotFound.
func (d *Dir) Read(uploadID string) (*os.File, error) {
	if err := check(uploadID); err != nil {
		return nil, err
	}
	f, err := d.root.Open(uploadID)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read partial upload: %w", err)
	}
	return f, nil
}

// Remove deletes the bytes of an upload; nothing when there are none.
func (d *Dir) Remove(uploadID string) error {
	if err := check(uploadID); err != nil {
		return err
	}
	if err := d.root.Remove(uploadID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove partial upload: %w", err)
	}
	return nil
}

// List returns the uploads of which there are bytes.
func (d *Dir) List() ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("list partial uploads: %w", err)
	}
	var out []string
	for _, e := range entries {
		if check(e.Name()) == nil {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
