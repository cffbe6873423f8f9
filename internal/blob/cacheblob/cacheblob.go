// Package cacheblob keeps on a local disk what is read of sealed objects that lie far
// away. An object never changes and is named by the hash of its bytes, so a part that is
// here is good for ever: nothing is ever asked twice of the origin, however many want it
// at once, and what is here can be read while the origin is away.
//
// The unit is a chunk of 256 KiB, one file each. The first chunk of an object, its head,
// has the index and the first seconds: without it no play can begin. Heads have a part of
// the disk of their own, so that those of popular tracks outlast the long tail of bodies.
package cacheblob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/blob"
)

const (
	// chunkBytes is the unit of fetching and forgetting: 13 s of 160 kbit/s.
	chunkBytes = 256 << 10
	// fetchesMost bounds the requests to the origin at a time, and with them the memory.
	fetchesMost = 64
	// fetchLimit is how long one may take.
	fetchLimit = 30 * time.Second
)

// Options of Open.
type Options struct {
	// Prefix of the keys that are kept; the rest of such a key is 32 hex digits. All
	// other keys are passed on.
	Prefix string
	// MaxBytes bounds what lies on the disk.
	MaxBytes int64
	Log      *slog.Logger
	Now      func() time.Time
	// Metrics may be nil.
	Metrics prometheus.Registerer
}

// Store is a [blob.Store] in front of another one.
type Store struct {
	blob.Store

	opt     Options
	root    *os.Root
	index   *index
	metrics *metrics
	slots   chan struct{} // of fetches

	mu       sync.Mutex
	fetching map[chunkID]*fetch
	opening  map[string]*opening
	running  sync.WaitGroup
	warned   time.Time
}

var _ blob.Store = (*Store)(nil)

// chunkID names a chunk.
type chunkID struct {
	object string // 32 hex digits
	n      uint32
}

func (c chunkID) head() bool { return c.n == 0 }

// Open opens or makes the cache in dir, in front of origin, with what an earlier process
// has left there. One process at a time may have it open.
func Open(dir string, origin blob.Store, opt Options) (*Store, error) {
	if opt.MaxBytes < 64*chunkBytes {
		return nil, fmt.Errorf("open cache: %d bytes are too few, %d are needed", opt.MaxBytes, 64*chunkBytes)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open cache: %w", err)
	}
	m, err := newMetrics(opt.Metrics)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open cache: %w", err), root.Close())
	}
	s := &Store{
		Store: origin, opt: opt, root: root, index: newIndex(opt.MaxBytes, opt.Now), metrics: m, slots: make(chan struct{}, fetchesMost),
		fetching: map[chunkID]*fetch{}, opening: map[string]*opening{},
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open cache: %w", err), root.Close())
	}
	s.evict()
	return s, nil
}

// Close waits for what is being fetched and releases the folder. The origin stays open.
func (s *Store) Close() error {
	s.running.Wait()
	return s.root.Close()
}

var objectName = regexp.MustCompile(`^[0-9a-f]{32}$`)

// cached is the object of a key that is kept.
func (s *Store) cached(key string) (object string, ok bool) {
	object, ok = strings.CutPrefix(key, s.opt.Prefix)
	return object, ok && objectName.MatchString(object)
}

// Open implements [blob.Store]. Of an object whose head is here nobody is asked.
func (s *Store) Open(ctx context.Context, key string) (blob.Object, error) {
	object, ok := s.cached(key)
	if !ok {
		return s.Store.Open(ctx, key)
	}
	size, ok := s.index.size(object)
	if !ok {
		var err error
		if size, err = s.find(ctx, key, object); err != nil {
			return nil, err
		}
	}
	return &reader{s: s, key: key, object: object, size: size}, nil
}

// ReadRange implements [blob.Store].
func (s *Store) ReadRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	if _, ok := s.cached(key); !ok {
		return s.Store.ReadRange(ctx, key, offset, length)
	}
	o, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	if length, err = blob.CheckRange(o.Size(), offset, length); err != nil {
		return nil, err
	}
	return io.NopCloser(io.NewSectionReader(o, offset, length)), nil
}

// Delete implements [blob.Store]: it is gone here too.
func (s *Store) Delete(ctx context.Context, key string) error {
	if object, ok := s.cached(key); ok {
		s.remove(s.index.drop(object))
	}
	return s.Store.Delete(ctx, key)
}

// reader is an open object.
type reader struct {
	s           *Store
	key, object string
	size        int64
	at          int64 // of Read
}

func (r *reader) Size() int64  { return r.size }
func (r *reader) Close() error { return nil }

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.ReadAt(p, r.at)
	r.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

func (r *reader) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s: %w", r.key, blob.ErrRange)
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= r.size {
			return n, io.EOF
		}
		c := chunkID{r.object, uint32(at / chunkBytes)}
		within := at % chunkBytes
		piece := p[n:min(len(p), n+int(chunkLen(r.size, c.n)-within))]
		if err := r.s.read(r.key, r.size, c, piece, within); err != nil {
			return n, fmt.Errorf("read %s: %w", r.key, err)
		}
		n += len(piece)
	}
	return n, nil
}

// chunkLen is the length of a chunk of an object of that size.
func chunkLen(size int64, n uint32) int64 { return min(chunkBytes, size-int64(n)*chunkBytes) }

// read fills piece from a chunk: from the disk, or from the origin with all who want it.
func (s *Store) read(key string, size int64, c chunkID, piece []byte, within int64) error {
	if known, sound := s.index.touch(c); known {
		err := s.readFile(c, size, sound, piece, within)
		if err == nil {
			s.metrics.count("hit", len(piece))
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) { // it may just have been forgotten
			s.warn("a chunk on the disk cannot be used, it is fetched again", err)
		}
		s.remove(s.index.dropChunk(c))
	}
	s.mu.Lock()
	f := s.fetch(key, c, func() (int64, error) { return size, nil })
	s.mu.Unlock()
	s.metrics.count("miss", len(piece))
	return f.read(piece, within)
}

// warn says at most once a minute what is wrong with the disk.
func (s *Store) warn(what string, err error) {
	s.metrics.failures.Inc()
	s.mu.Lock()
	quiet := s.opt.Now().Sub(s.warned) < time.Minute
	if !quiet {
		s.warned = s.opt.Now()
	}
	s.mu.Unlock()
	if !quiet {
		s.opt.Log.Warn("object cache: "+what, "err", err)
	}
}
