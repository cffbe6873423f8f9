package locallog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Site names one place where the log waits for the disk. Taking any of them out loses
// something that was acknowledged or seen; the power-loss test shows it for each.
type Site string

// The sites.
const (
	SiteAppend     Site = "append"      // data of a batch
	SiteCut        Site = "cut"         // removal of a batch that was written half
	SiteSegment    Site = "segment-dir" // name of a new segment
	SiteRoot       Site = "root-dir"    // names of the topics' folders
	SiteOpenData   Site = "open-data"   // tail that recovery found readable
	SiteOpenDir    Site = "open-dir"    // name of the segment that recovery goes on with
	SiteOffsets    Site = "offsets"     // data of a group's offsets
	SiteOffsetsDir Site = "offsets-dir" // name of a group's offsets
	SiteTrim       Site = "trim-dir"    // removal of a segment before that of the next
)

// Sites are all sites.
func Sites() []Site {
	return []Site{SiteAppend, SiteCut, SiteSegment, SiteRoot, SiteOpenData, SiteOpenDir, SiteOffsets, SiteOffsetsDir, SiteTrim}
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Size() (int64, error)
	Truncate(size int64) error
	// Reserve asks for blocks up to size, without changing the file's size. It is a hint:
	// where there is no room the write says so. Truncate gives back.
	Reserve(size int64)
	// Sync returns when the file's data and size are on the disk.
	Sync(site Site) error
}

// FS is the disk as the log uses it. Names are relative, with "/".
type FS interface {
	Mkdir(name string) error // no error where it is already
	Create(name string) (File, error)
	Open(name string) (File, error) // fs.ErrNotExist
	List(dir string) ([]string, error)
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir returns when the names in dir are on the disk.
	SyncDir(dir string, site Site) error
	Close() error
}

// DirFS is a folder of this machine, made where it does not exist.
func DirFS(dir string) (FS, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open event log: %w", err)
	}
	if err := syncPath(filepath.Dir(filepath.Clean(dir))); err != nil {
		return nil, errors.Join(fmt.Errorf("open event log: %w", err), root.Close())
	}
	return dirFS{root}, nil
}

func syncPath(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type dirFS struct{ root *os.Root }

func (d dirFS) Mkdir(name string) error {
	if err := d.root.Mkdir(name, 0o700); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (d dirFS) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	return osFile{f}, err
}

func (d dirFS) Open(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	return osFile{f}, err
}

func (d dirFS) List(dir string) ([]string, error) {
	entries, err := fs.ReadDir(d.root.FS(), dir)
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d dirFS) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d dirFS) Remove(name string) error     { return d.root.Remove(name) }
func (d dirFS) Close() error                 { return d.root.Close() }

func (d dirFS) SyncDir(dir string, _ Site) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (f osFile) Sync(Site) error    { return fdatasync(f.File) }
func (f osFile) Reserve(size int64) { fallocate(f.File, size) }
