// Package localblob keeps objects as files under one folder.
//
// Objects lie in objects/, writes under way in tmp/, which is emptied on open. All
// access goes through os.Root, so that no link leads out of the folder.
package localblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/segue-music/segue/internal/blob"
)

const (
	objectDir = "objects"
	tmpDir    = "tmp"
)

// Store is a [blob.Store] on a folder. One process at a time may have it open; the
// lock on the data folder sees to that.
type Store struct {
	root *os.Root
	base string
	seq  atomic.Uint64
}

var (
	_ blob.Store = (*Store)(nil)
	_ blob.Filer = (*Store)(nil)
)

// Open opens or makes the store in dir and removes what unfinished puts left behind.
func Open(dir string) (*Store, error) {
	for _, d := range []string{objectDir, tmpDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("open blob folder: %w", err)
		}
	}
	base, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob folder: %w", err)
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, fmt.Errorf("open blob folder: %w", err)
	}
	s := &Store{root: root, base: base}
	if err := s.cleanTmp(); err != nil {
		return nil, errors.Join(fmt.Errorf("clean blob folder: %w", err), root.Close())
	}
	return s, nil
}

// Close releases the folder. Objects that are open stay readable.
func (s *Store) Close() error { return s.root.Close() }

func (s *Store) cleanTmp() error {
	entries, err := fs.ReadDir(s.root.FS(), tmpDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.root.Remove(path.Join(tmpDir, e.Name())); err != nil {
			return err
		}
	}
	return errors.Join(s.syncDir(tmpDir), s.syncDir("."))
}

// Put implements [blob.Store]: temporary file, fsync, rename (or link, which refuses an
// existing name), fsync of the folder.
func (s *Store) Put(ctx context.Context, key string, r io.Reader, opt blob.PutOptions) (err error) {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	name := path.Join(objectDir, key)
	if opt.IfAbsent {
		// Only to refuse early; the link below decides.
		if _, err := s.root.Lstat(name); err == nil {
			return fmt.Errorf("put %s: %w", key, blob.ErrExists)
		}
	}
	tmp := path.Join(tmpDir, fmt.Sprintf("%d", s.seq.Add(1)))
	defer func() {
		if rm := s.root.Remove(tmp); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove temporary file: %w", rm))
		}
	}()
	if err := s.writeTmp(ctx, tmp, r, opt.Size); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if err := s.makeDirs(path.Dir(name)); err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	if opt.IfAbsent {
		err = s.root.Link(tmp, name)
		if errors.Is(err, fs.ErrExist) {
			err = blob.ErrExists
		}
	} else {
		err = s.root.Rename(tmp, name)
	}
	if err == nil {
		err = s.syncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	return nil
}

func (s *Store) writeTmp(ctx context.Context, tmp string, r io.Reader, size int64) (err error) {
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, blob.SizedReader(ctxReader{ctx, r}, size)); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return f.Sync()
}

// ctxReader ends a copy when its caller has gone.
type ctxReader struct {
	ctx context.Context //nolint:containedctx // lives as long as one Put
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// makeDirs makes dir and, where any part of it was new, syncs every folder above: a new
// name is durable only when the folder that holds it is.
func (s *Store) makeDirs(dir string) error {
	if fi, err := s.root.Stat(dir); err == nil && fi.IsDir() {
		return nil
	}
	if err := s.root.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for d := path.Dir(dir); ; d = path.Dir(d) {
		if err := s.syncDir(d); err != nil {
			return err
		}
		if d == "." {
			return nil
		}
	}
}

func (s *Store) syncDir(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// OpenFile opens an object as the file it is, read-only, for a subprocess that needs a
// real descriptor. Not every engine can do it: see [blob.Filer].
func (s *Store) OpenFile(_ context.Context, key string) (*os.File, error) {
	if err := blob.CheckKey(key); err != nil {
		return nil, err
	}
	f, err := s.root.Open(path.Join(objectDir, key))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", key, mapError(err))
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = blob.ErrNotFound
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", key, err), f.Close())
	}
	return f, nil
}

func mapError(err error) error {
	// ENOTDIR: a key below another key's object.
	if errors.Is(err, fs.ErrNotExist) || isNotDir(err) {
		return blob.ErrNotFound
	}
	return err
}

type object struct {
	*os.File
	size int64
}

func (o object) Size() int64 { return o.size }

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	f, err := s.OpenFile(ctx, key)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", key, err), f.Close())
	}
	return object{f, fi.Size()}, nil
}

// ReadRange implements [blob.Store].
func (s *Store) ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	o, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	n, err := blob.CheckRange(o.Size(), offset, length)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", key, err), o.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(o, offset, n), o}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(_ context.Context, key string) (blob.Info, error) {
	if err := blob.CheckKey(key); err != nil {
		return blob.Info{}, err
	}
	fi, err := s.root.Lstat(path.Join(objectDir, key))
	if err == nil && !fi.Mode().IsRegular() {
		err = blob.ErrNotFound
	}
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat %s: %w", key, mapError(err))
	}
	return info(key, fi), nil
}

func info(key string, fi fs.FileInfo) blob.Info {
	return blob.Info{Key: key, Size: fi.Size(), ModTime: fi.ModTime().UTC()}
}

// Delete implements [blob.Store]. Folders stay: they are few, and removing one would
// race with a put into it.
func (s *Store) Delete(ctx context.Context, key string) error {
	if _, err := s.Stat(ctx, key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	name := path.Join(objectDir, key)
	if err := s.root.Remove(name); err != nil {
		return fmt.Errorf("delete %s: %w", key, mapError(err))
	}
	if err := s.syncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := blob.CheckPrefix(prefix); err != nil {
			yield(blob.Info{}, err)
			return
		}
		s.walk(ctx, "", prefix, yield)
	}
}

// walk yields the keys below dir ("" or "a/b/"); false when the caller has had enough.
func (s *Store) walk(ctx context.Context, dir, prefix string, yield func(blob.Info, error) bool) bool {
	entries, err := fs.ReadDir(s.root.FS(), path.Join(objectDir, dir))
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
		yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
		return false
	}
	// Byte order of whole keys: the folder "a" sorts as "a/", after the object "a-".
	sortName := func(e fs.DirEntry) string {
		if e.IsDir() {
			return e.Name() + "/"
		}
		return e.Name()
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(sortName(a), sortName(b)) })
	for _, e := range entries {
		key := dir + sortName(e)
		switch {
		case e.IsDir():
			if (strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key)) && !s.walk(ctx, key, prefix, yield) {
				return false
			}
		case e.Type().IsRegular() && strings.HasPrefix(key, prefix):
			fi, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				yield(blob.Info{}, fmt.Errorf("list %s: %w", prefix, err))
				return false
			}
			if !yield(info(key, fi), nil) {
				return false
			}
		}
	}
	return true
}
