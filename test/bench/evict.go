package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// evict takes the files of a folder out of the page cache, so that the next read of them
// is one of the disk. Pages that were not written yet would stay: they are, once.
var synced = sync.OnceFunc(unix.Sync) //nolint:gochecknoglobals // of this process, once

func evict(dir string) error {
	synced()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // it was there a moment ago
			}
			return err
		}
		f, err := os.Open(path) //nolint:gosec // a folder of our own
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		return fmt.Errorf("evict %s: %w", dir, err)
	}
	return nil
}
