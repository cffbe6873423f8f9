package wire

import "encoding/binary"

// MaxVarint is the largest number that a varint holds.
const MaxVarint = 1<<62 - 1

// AppendVarint appends v in the shortest form (RFC 9000, section 16). A v over
// MaxVarint cannot be written; it is cut to MaxVarint.
func AppendVarint(b []byte, v uint64) []byte {
	switch {
	case v < 1<<6:
		return append(b, byte(v))
	case v < 1<<14:
		return binary.BigEndian.AppendUint16(b, uint16(v)|1<<14)
	case v < 1<<30:
		return binary.BigEndian.AppendUint32(b, uint32(v)|2<<30)
	default:
		return binary.BigEndian.AppendUint64(b, min(v, MaxVarint)|3<<62)
	}
}

// Varint reads a varint from the front of b and tells how many bytes it took,
// 0 when b ends inside it. Forms that are longer than needed are taken.
func Varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}

// VarintLen is the number of bytes that AppendVarint adds for v.
func VarintLen(v uint64) int {
	switch {
	case v < 1<<6:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<30:
		return 4
	default:
		return 8
	}
}

// Zigzag folds a signed difference into an unsigned number, small ones first.
func Zigzag(d int64) uint64 { return uint64(d<<1) ^ uint64(d>>63) }

// Unzigzag undoes Zigzag.
func Unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }
