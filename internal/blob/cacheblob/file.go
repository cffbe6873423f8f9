package cacheblob

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// A chunk's file has its bytes and their CRC-32C behind them. Its name says everything
// else, so that a start reads names only: XX/OBJECT-SIZE-N, the last two in hex. It is
// not synced: what a crash tears is found by the checksum when it is first read, and
// fetched again.

//nolint:gochecknoglobals // a constant
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const sumBytes = 4

var errDamaged = errors.New("chunk is damaged")

func fileName(c chunkID, size int64) string {
	return fmt.Sprintf("%s/%s-%x-%x", c.object[:2], c.object, size, c.n)
}

// keep writes a chunk to the disk. Where that fails the chunk is not kept, and nobody
// suffers but the next who wants it.
func (s *Store) keep(c chunkID, size int64, b []byte) {
	if err := s.writeFile(fileName(c, size), b); err != nil {
		s.warn("a chunk cannot be kept", err)
		return
	}
	s.index.add(&chunk{chunkID: c, size: size, sound: true})
	s.evict()
}

func (s *Store) writeFile(name string, b []byte) (err error) {
	if err := s.root.Mkdir(path.Dir(name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	tmp := name + tmpSuffix
	f, err := s.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		_, err = f.Write(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(b, castagnoli)))
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.root.Rename(tmp, name)
	}
	if err != nil {
		_ = s.root.Remove(tmp) // what the next start does
	}
	return err
}

const tmpSuffix = ".tmp"

// readFile fills piece from a chunk's file. One that no process of now has seen is read
// whole, and compared with its checksum.
func (s *Store) readFile(c chunkID, size int64, sound bool, piece []byte, within int64) error {
	f, err := s.root.Open(fileName(c, size))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	if !sound {
		if err := check(f, chunkLen(size, c.n)); err != nil {
			return err
		}
		s.index.checked(c)
	}
	_, err = f.ReadAt(piece, within)
	return err
}

func check(f *os.File, want int64) error {
	b := make([]byte, want+sumBytes+1)
	n, _ := f.ReadAt(b, 0) // its length and its sum tell
	if int64(n) != want+sumBytes || crc32.Checksum(b[:want], castagnoli) != binary.LittleEndian.Uint32(b[want:]) {
		return errDamaged
	}
	return nil
}

// evict removes what is over the bound.
func (s *Store) evict() {
	over := s.index.over()
	s.metrics.evicted.Add(float64(len(over)))
	s.remove(over)
	s.metrics.hold(s.index.held())
}

// remove removes the files of chunks that are forgotten.
func (s *Store) remove(chunks []*chunk) {
	for _, c := range chunks {
		if err := s.root.Remove(fileName(c.chunkID, c.size)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.warn("a chunk cannot be removed", err)
		}
	}
}

var fileForm = regexp.MustCompile(`^([0-9a-f]{32})-([0-9a-f]{1,15})-([0-9a-f]{1,7})$`)

// recover finds what an earlier process has left, the oldest first. What has no name of
// ours is half a write or nothing of ours, and goes.
func (s *Store) recover() error {
	type found struct {
		*chunk
		at time.Time
	}
	var all []found
	err := fs.WalkDir(s.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		c, ok := parseName(e.Name())
		if !ok || path.Dir(name) != c.object[:2] || info.Size() != c.len()+sumBytes {
			return s.root.Remove(name)
		}
		all = append(all, found{c, info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b found) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.object, b.object), cmp.Compare(a.n, b.n))
	})
	for _, f := range all {
		s.index.add(f.chunk)
	}
	return nil
}

func parseName(name string) (c *chunk, ok bool) {
	m := fileForm.FindStringSubmatch(name)
	if m == nil {
		return nil, false
	}
	size, err1 := strconv.ParseInt(m[2], 16, 64)
	n, err2 := strconv.ParseUint(m[3], 16, 32)
	if err1 != nil || err2 != nil || size <= 0 || int64(n)*chunkBytes >= size {
		return nil, false
	}
	return &chunk{chunkID: chunkID{m[1], uint32(n)}, size: size}, true
}
