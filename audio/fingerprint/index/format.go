package index

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A segment is one file, little endian:
//
//	header      128 bytes: what and how much is in the file, and the checksums of its sections
//	items       4 bytes each, all fingerprints one behind the other
//	starts      4 bytes each, the position where each fingerprint begins, and the end
//	ids         16 bytes each
//	blocks      the postings, ordered by the key of their item; as many blocks as the directory has entries
//	directory   8 bytes each: the length of the block, and how many postings it has
//
// A block has the postings whose keys begin with the same bits: the distance of each key to the one before (uvarint, the
// first from the least that the block can have), then the position of each, then the CRC-32C of the block.
const (
	magic       = "sgfpidx1"
	headerSize  = 128
	entrySize   = 8
	idSize      = len(ID{})
	blockTail   = 4
	perBlock    = 256 // postings, on average
	maxBits     = 24
	minPosting  = 1 + 4
	maxPosting  = binary.MaxVarintLen32 + 4
	maxBlockLen = 1 << 28
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// header is what a segment begins with.
type header struct {
	sample, bits, tracks, items                       uint32
	postings, blocks                                  uint64 // blocks in bytes
	itemsSum, startsSum, idsSum, blocksSum, directory uint32
}

func (h *header) append(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, magic...)
	for _, v := range []uint32{h.sample, h.bits, h.tracks, h.items} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	dst = binary.LittleEndian.AppendUint64(dst, h.postings)
	dst = binary.LittleEndian.AppendUint64(dst, h.blocks)
	for _, v := range []uint32{h.itemsSum, h.startsSum, h.idsSum, h.blocksSum, h.directory} {
		dst = binary.LittleEndian.AppendUint32(dst, v)
	}
	dst = append(dst, make([]byte, from+headerSize-4-len(dst))...)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

// parse reads a header, and holds it to the size of its file.
func (h *header) parse(b []byte, size int64) error {
	if len(b) != headerSize || string(b[:len(magic)]) != magic ||
		crc32.Checksum(b[:headerSize-4], castagnoli) != binary.LittleEndian.Uint32(b[headerSize-4:]) {
		return ErrCorrupt
	}
	at := len(magic)
	for _, v := range []*uint32{&h.sample, &h.bits, &h.tracks, &h.items} {
		*v = binary.LittleEndian.Uint32(b[at:])
		at += 4
	}
	for _, v := range []*uint64{&h.postings, &h.blocks} {
		*v = binary.LittleEndian.Uint64(b[at:])
		at += 8
	}
	for _, v := range []*uint32{&h.itemsSum, &h.startsSum, &h.idsSum, &h.blocksSum, &h.directory} {
		*v = binary.LittleEndian.Uint32(b[at:])
		at += 4
	}
	if h.bits > maxBits || h.items > maxPositions || h.tracks > h.items || h.postings > uint64(h.items) ||
		h.blocks > h.postings*maxPosting+blockTail<<h.bits || h.directoryAt()+entrySize<<h.bits != size {
		return ErrCorrupt
	}
	return nil
}

func (h *header) startsAt() int64    { return headerSize + 4*int64(h.items) }
func (h *header) idsAt() int64       { return h.startsAt() + 4*(int64(h.tracks)+1) }
func (h *header) blocksAt() int64    { return h.idsAt() + int64(idSize)*int64(h.tracks) }
func (h *header) directoryAt() int64 { return h.blocksAt() + int64(h.blocks) }

// least is the first key of block n.
func (h *header) least(n uint32) uint32 { return uint32(uint64(n) << (32 - h.bits)) }

// block is the number of the block that has a key.
func (h *header) block(key uint32) uint32 { return uint32(uint64(key) >> (32 - h.bits)) }

// directoryBits is how many bits of a key choose the block.
func directoryBits(postings uint64) uint32 {
	return min(maxBits, uint32(bits.Len64(postings/perBlock)))
}
