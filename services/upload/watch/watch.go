// Package watch looks through a folder for files to take in.
//
// All access goes through os.Root: whatever happens in the folder meanwhile, nothing
// outside it is read. Only regular files count: no links, not even to files inside, no
// FIFOs, no devices. Names that begin with a dot are skipped, files and folders. A file
// counts once it has been left alone for a while.
package watch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrNotRegular means a link, a FIFO, a device or a folder where a file was expected.
var ErrNotRegular = errors.New("not a regular file")

const (
	maxDepth = 32
	// maxNames bounds one folder: what is beyond is not seen.
	maxNames = 200_000
)

// File is one regular file. Path is relative to the folder, with slashes, byte for byte:
// it may be invalid UTF-8.
type File struct {
	Path    string
	Size    int64
	ModTime time.Time
	// Device and Inode are 0 where the system has none.
	Device, Inode uint64
	// changed is the last change of content or attributes, zero where unknown.
	changed time.Time
}

// Options of a Folder.
type Options struct {
	// Settle is how long a file has to be unchanged, Rescan how often all is looked
	// through without an event.
	Settle, Rescan time.Duration
	Now            func() time.Time
	Log            *slog.Logger
}

// Folder is a watched folder.
type Folder struct {
	opt  Options
	dir  string
	root *os.Root

	mu   sync.Mutex
	seen map[string]sighting // files that have not settled
}

// sighting is how a file looked when it was first seen like this.
type sighting struct {
	size  int64
	mod   time.Time
	since time.Time
}

// Open opens a folder, which may itself be a link.
func Open(dir string, opt Options) (*Folder, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open watched folder: %w", err)
	}
	root, err := os.OpenRoot(abs)
	if err != nil {
		return nil, fmt.Errorf("open watched folder: %w", err)
	}
	return &Folder{opt: opt, dir: abs, root: root, seen: map[string]sighting{}}, nil
}

// Close releases the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Dir is the folder's absolute path.
func (f *Folder) Dir() string { return f.dir }

// Open opens a regular file for reading and tells how it is now. Errors: fs.ErrNotExist,
// ErrNotRegular.
func (f *Folder) Open(name string) (*os.File, File, error) {
	before, err := f.root.Lstat(name)
	if err != nil {
		return nil, File{}, fmt.Errorf("open file: %w", err)
	}
	if !before.Mode().IsRegular() {
		return nil, File{}, fmt.Errorf("open file: %w", ErrNotRegular)
	}
	// Should a FIFO have taken its place, opening must not wait for a writer.
	file, err := f.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, File{}, fmt.Errorf("open file: %w", err)
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(before, info)) {
		err = ErrNotRegular
	}
	if err != nil {
		return nil, File{}, errors.Join(fmt.Errorf("open file: %w", err), file.Close())
	}
	return file, describe(name, info), nil
}

// Exists tells whether a regular file is at name, and which.
func (f *Folder) Exists(name string) (File, bool) {
	info, err := f.root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return File{}, false
	}
	return describe(name, info), true
}

// Names lists a folder.
func (f *Folder) Names(dir string) ([]string, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	names, err := d.Readdirnames(maxNames)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return nil, fmt.Errorf("list folder: %w", err)
	}
	slices.Sort(names)
	return names, nil
}

// Scan calls visit for every settled file in dir and below, in order, and entered for
// every folder before its files. It returns whether there are files that have not
// settled. A folder that cannot be read is logged and passed over.
func (f *Folder) Scan(dir string, entered func(dir string), visit func(File) error) (unsettled bool, err error) {
	return f.scan(path.Clean(dir), 0, entered, visit)
}

func (f *Folder) scan(dir string, depth int, entered func(string), visit func(File) error) (bool, error) {
	names, err := f.Names(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			f.opt.Log.Warn("pass folder over", "err", err)
		}
		return false, nil
	}
	entered(dir)
	unsettled := false
	var dirs []string
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		full := path.Join(dir, name)
		info, err := f.root.Lstat(full)
		if err != nil {
			continue // gone already
		}
		switch {
		case info.IsDir():
			dirs = append(dirs, full)
		case info.Mode().IsRegular() && info.Size() > 0:
			file := describe(full, info)
			if !f.settled(file) {
				unsettled = true
				continue
			}
			if err := visit(file); err != nil {
				return unsettled, err
			}
		}
	}
	if depth >= maxDepth {
		return unsettled, nil
	}
	for _, d := range dirs {
		more, err := f.scan(d, depth+1, entered, visit)
		unsettled = unsettled || more
		if err != nil {
			return unsettled, err
		}
	}
	return unsettled, nil
}

// settled tells whether a file has been left alone: its last change, which no program
// can set, is long enough ago, or it has looked the same for long enough.
func (f *Folder) settled(file File) bool {
	now := f.opt.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	age := now.Sub(file.changed)
	old, ok := f.seen[file.Path]
	same := ok && old.size == file.Size && old.mod.Equal(file.ModTime)
	if !file.changed.IsZero() && age >= f.opt.Settle || same && now.Sub(old.since) >= f.opt.Settle {
		delete(f.seen, file.Path)
		return true
	}
	if !same {
		f.seen[file.Path] = sighting{file.Size, file.ModTime, now}
	}
	if len(f.seen) > maxNames {
		clear(f.seen) // they are seen again
	}
	return false
}
