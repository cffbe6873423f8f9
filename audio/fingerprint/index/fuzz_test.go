package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"
)

// FuzzSegment opens any bytes as a segment, and asks it for what is in it. Their checksums are put right, so that what is
// behind them is reached.
func FuzzSegment(f *testing.F) {
	part := newMemoryPart()
	for n := range 3 {
		fp := make([]uint32, 100)
		for i := range fp {
			fp[i] = uint32(i * (n + 1) * 0x01234567)
		}
		if err := part.insert(Clips(), ID{byte(n)}, fp); err != nil {
			f.Fatal(err)
		}
	}
	file, err := os.Create(filepath.Join(f.TempDir(), "seg"))
	if err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(writeParts(file, Clips(), &part), file.Close()); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(file.Name())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:headerSize])
	f.Fuzz(func(t *testing.T, raw []byte) {
		mend(raw)
		s, err := openSegment(bytes.NewReader(raw), int64(len(raw)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		fp := make([]uint32, 60)
		copy(fp, part.all[20:])
		q := search{config: Clips(), fp: fp, part: s, found: map[ID]Match{}}
		if err := q.run(); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
		for _, m := range q.found {
			if m.Overlap < Clips().MinOverlap || m.ErrorRate > Clips().MaxErrorRate {
				t.Fatalf("%+v", m)
			}
		}
		if err := s.verify(); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

// mend puts the checksums right.
func mend(raw []byte) {
	if len(raw) < headerSize {
		return
	}
	head := raw[:headerSize]
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(head[at:], v) }
	sum := func(at, n int64) uint32 {
		if at < 0 || n < 0 || at > int64(len(raw)) || n > int64(len(raw))-at {
			return 0
		}
		return crc32.Checksum(raw[at:at+n], castagnoli)
	}
	seal := func() { put(headerSize-4, crc32.Checksum(head[:headerSize-4], castagnoli)) }
	seal()
	var h header
	if h.parse(head, int64(len(raw))) != nil {
		return
	}
	directory := raw[h.directoryAt():]
	at := h.blocksAt()
	for len(directory) >= entrySize {
		n := int64(binary.LittleEndian.Uint32(directory))
		if n >= blockTail && at+n <= h.directoryAt() {
			binary.LittleEndian.PutUint32(raw[at+n-blockTail:], sum(at, n-blockTail))
		}
		at, directory = at+n, directory[entrySize:]
	}
	const sums = 8 + 4*4 + 2*8
	put(sums, sum(headerSize, 4*int64(h.items)))
	put(sums+4, sum(h.startsAt(), h.idsAt()-h.startsAt()))
	put(sums+8, sum(h.idsAt(), h.blocksAt()-h.idsAt()))
	put(sums+12, sum(h.blocksAt(), int64(h.blocks)))
	put(sums+16, sum(h.directoryAt(), entrySize<<h.bits))
	seal()
}

// FuzzManifest reads any bytes as a manifest: what is taken names files of this folder only.
func FuzzManifest(f *testing.F) {
	f.Add([]byte("00000000\n{}"))
	f.Add([]byte(`{"sample":1,"next":3,"journal":"1.log","segments":[{"name":"2.seg","dead":[1]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		sealed := append([]byte(hex32(crc32.Checksum(raw, castagnoli))+"\n"), raw...)
		var m manifest
		if m.parse(sealed) != nil {
			return
		}
		for _, s := range m.Segments {
			if filepath.Dir(filepath.Join("x", s.Name)) != "x" {
				t.Fatal(s.Name)
			}
		}
	})
}

func hex32(v uint32) string {
	const digits = "0123456789abcdef"
	var out [8]byte
	for i := range out {
		out[i] = digits[v>>(28-4*i)&15]
	}
	return string(out[:])
}
