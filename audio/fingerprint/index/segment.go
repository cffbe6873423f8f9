package index

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

// segment reads one. The directory, starts and ids are in memory: 28 bytes for each track, and 12 for each 256 postings.
// Whatever is in the file, it gives wrong postings at worst, whose tracks do not pass the comparison.
type segment struct {
	file    io.ReaderAt
	header  header
	blockAt []uint64 // of each block its begin, and the end
	counts  []uint32
	starts  []uint32
	ids     []ID
	byID    []uint32 // fingerprints in the order of their ids
	dead    []bool
	live    int
	buffers sync.Pool
}

// openSegment reads what is kept in memory, and checks it. It fails with ErrCorrupt.
func openSegment(file io.ReaderAt, size int64) (*segment, error) {
	s := &segment{file: file, buffers: sync.Pool{New: func() any { return new([]byte) }}}
	head := make([]byte, headerSize)
	if size < headerSize {
		return nil, ErrCorrupt
	}
	if err := readAt(file, head, 0); err != nil {
		return nil, err
	}
	h := &s.header
	if err := h.parse(head, size); err != nil {
		return nil, err
	}
	raw, err := section(file, h.directoryAt(), entrySize<<h.bits, h.directory)
	if err != nil {
		return nil, err
	}
	if err := s.readDirectory(raw); err != nil {
		return nil, err
	}
	if raw, err = section(file, h.startsAt(), 4*(int64(h.tracks)+1), h.startsSum); err != nil {
		return nil, err
	}
	s.starts = make([]uint32, h.tracks+1)
	for i := range s.starts {
		s.starts[i] = binary.LittleEndian.Uint32(raw[4*i:])
		if i > 0 && s.starts[i] <= s.starts[i-1] {
			return nil, ErrCorrupt
		}
	}
	if s.starts[0] != 0 || s.starts[h.tracks] != h.items {
		return nil, ErrCorrupt
	}
	if raw, err = section(file, h.idsAt(), int64(idSize)*int64(h.tracks), h.idsSum); err != nil {
		return nil, err
	}
	s.ids, s.byID = make([]ID, h.tracks), make([]uint32, h.tracks)
	for i := range s.ids {
		copy(s.ids[i][:], raw[idSize*i:])
		s.byID[i] = uint32(i)
	}
	slices.SortFunc(s.byID, func(a, b uint32) int { return slices.Compare(s.ids[a][:], s.ids[b][:]) })
	s.dead, s.live = make([]bool, h.tracks), int(h.tracks)
	return s, nil
}

func (s *segment) readDirectory(raw []byte) error {
	n := 1 << s.header.bits
	s.blockAt, s.counts = make([]uint64, n+1), make([]uint32, n)
	at, postings := uint64(0), uint64(0)
	for i := range n {
		length, count := binary.LittleEndian.Uint32(raw[entrySize*i:]), binary.LittleEndian.Uint32(raw[entrySize*i+4:])
		if count == 0 && length != 0 || length > maxBlockLen ||
			count > 0 && (uint64(length) < uint64(count)*minPosting+blockTail || uint64(length) > uint64(count)*maxPosting+blockTail) {
			return ErrCorrupt
		}
		s.blockAt[i], s.counts[i] = at, count
		at, postings = at+uint64(length), postings+uint64(count)
	}
	s.blockAt[n] = at
	if at != s.header.blocks || postings != s.header.postings {
		return ErrCorrupt
	}
	return nil
}

// section reads n bytes and checks them.
func section(file io.ReaderAt, at, n int64, sum uint32) ([]byte, error) {
	raw := make([]byte, n)
	if err := readAt(file, raw, at); err != nil {
		return nil, err
	}
	if crc32.Checksum(raw, castagnoli) != sum {
		return nil, ErrCorrupt
	}
	return raw, nil
}

// readAt fills b. A file that ends sooner is corrupt.
func readAt(file io.ReaderAt, b []byte, at int64) error {
	n, err := file.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == io.EOF:
		return ErrCorrupt
	}
	return err
}

// block reads block n into buffer and calls each for its postings until that returns false.
func (s *segment) block(n uint32, buffer *[]byte, each func(key, position uint32) bool) error {
	count := int(s.counts[n])
	if count == 0 {
		return nil
	}
	length := int(s.blockAt[n+1] - s.blockAt[n])
	*buffer = slices.Grow((*buffer)[:0], length)[:length]
	if err := readAt(s.file, *buffer, s.header.blocksAt()+int64(s.blockAt[n])); err != nil {
		return err
	}
	return s.parseBlock(*buffer, n, count, each)
}

func (s *segment) parseBlock(raw []byte, n uint32, count int, each func(key, position uint32) bool) error {
	body := raw[:len(raw)-blockTail]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(raw[len(body):]) {
		return ErrCorrupt
	}
	if len(body) < 4*count {
		return ErrCorrupt
	}
	gaps, positions := body[:len(body)-4*count], body[len(body)-4*count:]
	k := uint64(s.header.least(n))
	for i := range count {
		var gap uint64
		if len(gaps) > 0 && gaps[0] < 0x80 {
			gap, gaps = uint64(gaps[0]), gaps[1:]
		} else {
			v, size := binary.Uvarint(gaps)
			if size <= 0 || v > 1<<32-1 {
				return ErrCorrupt
			}
			gap, gaps = v, gaps[size:]
		}
		k += gap
		position := binary.LittleEndian.Uint32(positions[4*i:])
		if k > 1<<32-1 || s.header.block(uint32(k)) != n || position >= s.header.items {
			return ErrCorrupt
		}
		if !each(uint32(k), position) {
			return nil
		}
	}
	if len(gaps) > 0 {
		return ErrCorrupt
	}
	return nil
}

func (s *segment) postings(dst []uint32, key uint32, limit int) ([]uint32, bool, error) {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	from, whole := len(dst), true
	err := s.block(s.header.block(key), buffer, func(k, position uint32) bool {
		if k == key {
			if len(dst)-from == limit {
				whole = false
				return false
			}
			dst = append(dst, position)
		}
		return k <= key
	})
	return dst, whole, err
}

func (s *segment) tracks() int         { return len(s.ids) }
func (s *segment) start(n int) uint32  { return s.starts[n] }
func (s *segment) id(n int) (ID, bool) { return s.ids[n], !s.dead[n] }

func (s *segment) items(dst []uint32, from uint32) error {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	*buffer = slices.Grow((*buffer)[:0], 4*len(dst))[:4*len(dst)]
	if err := readAt(s.file, *buffer, headerSize+4*int64(from)); err != nil {
		return err
	}
	for i := range dst {
		dst[i] = binary.LittleEndian.Uint32((*buffer)[4*i:])
	}
	return nil
}

// find returns the fingerprint of id that was not removed, or -1.
func (s *segment) find(id ID) int {
	i, _ := slices.BinarySearchFunc(s.byID, id, func(n uint32, id ID) int { return slices.Compare(s.ids[n][:], id[:]) })
	for ; i < len(s.byID) && s.ids[s.byID[i]] == id; i++ {
		if n := int(s.byID[i]); !s.dead[n] {
			return n
		}
	}
	return -1
}

// kill forgets fingerprint n.
func (s *segment) kill(n int) {
	if !s.dead[n] {
		s.dead[n] = true
		s.live--
	}
}

// verify reads the whole file and checks all of it.
func (s *segment) verify() error {
	h := &s.header
	var buffer []byte
	for n := range s.counts {
		if err := s.block(uint32(n), &buffer, func(uint32, uint32) bool { return true }); err != nil {
			return err
		}
	}
	return cmp.Or(checkSum(s.file, headerSize, 4*int64(h.items), h.itemsSum), checkSum(s.file, h.blocksAt(), int64(h.blocks), h.blocksSum))
}

func checkSum(file io.ReaderAt, at, n int64, want uint32) error {
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, io.NewSectionReader(file, at, n)); err != nil {
		return err
	}
	if sum.Sum32() != want {
		return ErrCorrupt
	}
	return nil
}
