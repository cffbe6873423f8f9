package index

import (
	"bufio"
	"encoding/binary"
	"hash"
	"hash/crc32"
	"os"
	"slices"
)

// segmentWriter writes a segment from front to back: first fingerprints, then postings in the order of their keys.
type segmentWriter struct {
	file   *os.File
	out    *bufio.Writer
	sum    hash.Hash32 // of the section being written
	header header
	limit  int // postings of one item, see Config.MaxPostings
	starts []uint32
	ids    []ID

	// Of the block being filled.
	number    uint32
	keys      []uint32
	positions []uint32
	run       int // of how many postings the last key has; above limit they are gone already
	raw       []byte
	directory []byte
}

func newSegmentWriter(file *os.File, c Config) (*segmentWriter, error) {
	w := &segmentWriter{
		file: file, out: bufio.NewWriterSize(file, 1<<20), sum: crc32.New(castagnoli), limit: c.MaxPostings,
		header: header{sample: uint32(c.Sample)}, starts: []uint32{0},
	}
	_, err := w.out.Write(make([]byte, headerSize))
	return w, err
}

func (w *segmentWriter) write(p []byte) error {
	_, _ = w.sum.Write(p) // a hash takes everything
	_, err := w.out.Write(p)
	return err
}

// end returns the checksum of the section that ends here.
func (w *segmentWriter) end() uint32 {
	defer w.sum.Reset()
	return w.sum.Sum32()
}

// track adds a fingerprint.
func (w *segmentWriter) track(id ID, items []uint32) error {
	w.raw = w.raw[:0]
	for _, v := range items {
		w.raw = binary.LittleEndian.AppendUint32(w.raw, v)
	}
	w.header.items += uint32(len(items))
	w.starts, w.ids = append(w.starts, w.header.items), append(w.ids, id)
	return w.write(w.raw)
}

// tracksDone writes what is known of fingerprints. About so many postings follow.
func (w *segmentWriter) tracksDone(postings uint64) error {
	w.header.itemsSum, w.header.tracks = w.end(), uint32(len(w.ids))
	var word [4]byte
	for _, v := range w.starts {
		binary.LittleEndian.PutUint32(word[:], v)
		if err := w.write(word[:]); err != nil {
			return err
		}
	}
	w.header.startsSum = w.end()
	for i := range w.ids {
		if err := w.write(w.ids[i][:]); err != nil {
			return err
		}
	}
	w.header.idsSum = w.end()
	w.header.bits = directoryBits(postings)
	return nil
}

// posting adds one. Keys may not fall.
func (w *segmentWriter) posting(key, position uint32) error {
	for n := w.header.block(key); w.number < n; {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.keys) > 0 && w.keys[len(w.keys)-1] == key {
		w.run++
	} else {
		w.dropRun()
		w.run = 1
	}
	if w.run <= w.limit+1 {
		w.keys, w.positions = append(w.keys, key), append(w.positions, position)
	}
	return nil
}

// dropRun forgets the postings of the last key where they are too many.
func (w *segmentWriter) dropRun() {
	if w.run > w.limit {
		n := len(w.keys) - w.limit - 1
		w.keys, w.positions = w.keys[:n], w.positions[:n]
	}
	w.run = 0
}

// flush writes the block and begins the next one.
func (w *segmentWriter) flush() error {
	w.dropRun()
	w.raw = w.raw[:0]
	if len(w.keys) > 0 {
		before := w.header.least(w.number)
		for _, k := range w.keys {
			w.raw = binary.AppendUvarint(w.raw, uint64(k-before))
			before = k
		}
		for _, p := range w.positions {
			w.raw = binary.LittleEndian.AppendUint32(w.raw, p)
		}
		w.raw = binary.LittleEndian.AppendUint32(w.raw, crc32.Checksum(w.raw, castagnoli))
	}
	if len(w.raw) > maxBlockLen {
		return ErrFull
	}
	w.directory = binary.LittleEndian.AppendUint32(w.directory, uint32(len(w.raw)))
	w.directory = binary.LittleEndian.AppendUint32(w.directory, uint32(len(w.keys)))
	w.header.blocks += uint64(len(w.raw))
	w.header.postings += uint64(len(w.keys))
	w.keys, w.positions = w.keys[:0], w.positions[:0]
	w.number++
	return w.write(w.raw)
}

// close writes the rest and makes it durable. The file stays open.
func (w *segmentWriter) close() error {
	for uint64(w.number) < 1<<w.header.bits {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.header.blocksSum = w.end()
	if err := w.write(w.directory); err != nil {
		return err
	}
	w.header.directory = w.end()
	if err := w.out.Flush(); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.header.append(nil), 0); err != nil {
		return err
	}
	return w.file.Sync()
}

// pair is a key and a position, in this order, in one number.
type pair uint64

// pairs returns the postings of fingerprints that lie one behind the other, ordered by key.
func pairs(c Config, all, starts []uint32, skip func(n int) bool) []pair {
	out := make([]pair, 0, len(all)/c.Sample)
	from := uint32(0) // where the fingerprint begins when those that are skipped are gone
	for n := range len(starts) - 1 {
		if skip(n) {
			continue
		}
		items := all[starts[n]:starts[n+1]]
		c.postings(items, func(at int, key uint32) { out = append(out, pair(key)<<32|pair(from)+pair(at)) })
		from += uint32(len(items))
	}
	return sortPairs(out)
}

// sortPairs orders by key with two digits of 16 bits; positions stay in order as they came.
func sortPairs(v []pair) []pair {
	if len(v) < 1<<16 {
		slices.Sort(v)
		return v
	}
	spare := make([]pair, len(v))
	const digit = 16
	counts := make([]int, 1<<digit)
	for shift := 32; shift < 64; shift += digit {
		clear(counts)
		byDigit(spare, v, counts, shift)
		v, spare = spare, v
	}
	return v
}

// writeParts writes fingerprints that are in memory.
func writeParts(file *os.File, c Config, m *memoryPart) error {
	w, err := newSegmentWriter(file, c)
	if err != nil {
		return err
	}
	for n, id := range m.ids {
		if !m.dead[n] {
			if err := w.track(id, m.all[m.starts[n]:m.starts[n+1]]); err != nil {
				return err
			}
		}
	}
	sorted := pairs(c, m.all, m.starts, func(n int) bool { return m.dead[n] })
	if err := w.tracksDone(uint64(len(sorted))); err != nil {
		return err
	}
	for _, p := range sorted {
		if err := w.posting(uint32(p>>32), uint32(p)); err != nil {
			return err
		}
	}
	return w.close()
}
