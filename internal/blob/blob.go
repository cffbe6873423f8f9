// Package blob is the contract of the object store that holds staged uploads, sealed
// renditions and artwork. Engines are localblob and cloudblob; blobtest holds every
// engine to the promises written here.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
	"unicode/utf8"
)

var (
	// ErrNotFound says that no object has the key.
	ErrNotFound = errors.New("object not found")
	// ErrExists says that an object already has the key (PutOptions.IfAbsent).
	ErrExists = errors.New("object exists")
	// ErrKey says that the key is not one (see [CheckKey]).
	ErrKey = errors.New("object key is malformed")
	// ErrSize says that the reader gave more or fewer bytes than PutOptions.Size.
	ErrSize = errors.New("object size differs from the one announced")
	// ErrRange says that a range begins outside the object or has a negative length.
	ErrRange = errors.New("range is outside the object")
)

// MaxKey is the longest key in bytes: S3 and GCS take 1,024.
const MaxKey = 1024

// maxSegment is what file systems take as one name, less room for a temporary suffix.
const maxSegment = 200

// Info describes one object.
type Info struct {
	Key     string
	Size    int64     // bytes
	ModTime time.Time // UTC, when the put was completed
}

// PutOptions of one Put. The zero value replaces what is there and takes any size.
type PutOptions struct {
	// IfAbsent refuses with ErrExists, and changes nothing, when the key has an object.
	// Of concurrent puts with IfAbsent exactly one succeeds.
	IfAbsent bool
	// Size is the number of bytes the reader will give; 0 or less is unknown. Any other
	// number of bytes is ErrSize.
	Size int64
}

// Object is one open object. Reads see the bytes as they were when it was opened, or
// fail; they never mix two versions. ReadAt may be called concurrently.
type Object interface {
	io.ReaderAt
	io.ReadCloser
	Size() int64
}

// Store keeps objects by key. All methods may be called concurrently.
type Store interface {
	// Put stores everything r gives, until io.EOF. When it returns nil the object is
	// durable and visible as a whole. When it returns an error, or the process dies in
	// it, the key is as it was before: a partial object is never seen.
	Put(ctx context.Context, key string, r io.Reader, opt PutOptions) error

	// Open opens an object for reading; ErrNotFound. The caller closes it, and reads it
	// until then: the end of ctx no longer matters.
	Open(ctx context.Context, key string) (Object, error)

	// ReadRange reads length bytes from offset, fewer where the object ends before; a
	// length below zero reads to the end. An offset below zero or past the end is
	// ErrRange, the end itself gives no bytes. The caller closes it.
	ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)

	// Stat tells the size and time of an object; ErrNotFound.
	Stat(ctx context.Context, key string) (Info, error)

	// Delete removes an object; ErrNotFound when there was none. When it returns nil the
	// removal is durable.
	Delete(ctx context.Context, key string) error

	// List yields each object whose key begins with prefix once, by key in byte order.
	// Objects put or deleted meanwhile may be missed or seen. After an error it ends.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// CheckKey refuses, with ErrKey, a key that could mean something else to some engine:
// relative path segments separated by "/", of letters, digits and "-_.=+@,", none empty,
// none beginning with a dot, at most 200 bytes each and [MaxKey] in all.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKey || !utf8.ValidString(key) {
		return fmt.Errorf("%w: %d bytes", ErrKey, len(key))
	}
	for seg := range strings.SplitSeq(key, "/") {
		if seg == "" || len(seg) > maxSegment || seg[0] == '.' || !isPlain(seg) {
			return fmt.Errorf("%w: segment %q", ErrKey, seg)
		}
	}
	return nil
}

// CheckPrefix refuses, with ErrKey, a prefix that no key can begin with. Empty is all.
func CheckPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	return CheckKey(strings.TrimSuffix(prefix, "/"))
}

func isPlain(seg string) bool {
	for i := range len(seg) {
		c := seg[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.=+@,", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// Filer is a Store whose objects are files of this machine.
type Filer interface {
	// OpenFile opens an object read-only as a real file; ErrNotFound. The caller closes
	// it and must not count on its name.
	OpenFile(ctx context.Context, key string) (*os.File, error)
}
