package fingerprint

import (
	"encoding/base64"
	"errors"
	"math/bits"
	"strings"
)

// MaxPacked bounds the text that Unpack reads, in bytes.
const MaxPacked = 1 << 20

// ErrPacked means that a text is no packed fingerprint of algorithm 2.
var ErrPacked = errors.New("fingerprint: packed form is malformed")

const (
	packedHeader    = 4
	packedAlgorithm = 1 // counted from 0
	maxPackedItems  = 1<<24 - 1
	smallBits       = 3
	escape          = 1<<smallBits - 1 // and what is over it, in largeBits
	largeBits       = 5
)

// base64Form is that of URLs, without padding and with no stray bits at its end.
var base64Form = base64.RawURLEncoding.Strict()

// Pack returns the form that AcoustID's web service takes and fpcalc prints without -raw: base64 of the algorithm, the
// number of items, and for each item the distances of the bits in which it differs from the one before it. It fails with
// ErrPacked where there are more than 16,777,215 items.
func Pack(fp Fingerprint) (string, error) {
	if len(fp) > maxPackedItems {
		return "", ErrPacked
	}
	out := bitWriter{bytes: []byte{packedAlgorithm, byte(len(fp) >> 16), byte(len(fp) >> 8), byte(len(fp))}}
	var large []uint32
	before := uint32(0)
	for _, item := range fp {
		last := 0
		for diff := item ^ before; diff != 0; diff &= diff - 1 {
			at := bits.TrailingZeros32(diff) + 1
			if gap := uint32(at - last); gap < escape {
				out.put(gap, smallBits)
			} else {
				out.put(escape, smallBits)
				large = append(large, gap-escape)
			}
			last = at
		}
		out.put(0, smallBits)
		before = item
	}
	out.align()
	for _, v := range large {
		out.put(v, largeBits)
	}
	out.align()
	return base64Form.EncodeToString(out.bytes), nil
}

// Unpack reads what Pack makes. It fails with ErrPacked on anything else: another algorithm, a text that ends too soon or
// too late, distances that lead past the 32nd bit, and texts longer than MaxPacked.
func Unpack(packed string) (Fingerprint, error) {
	if len(packed) > MaxPacked || strings.ContainsAny(packed, "\r\n") { // which base64 passes over
		return nil, ErrPacked
	}
	data, err := base64Form.DecodeString(packed)
	if err != nil || len(data) < packedHeader || data[0] != packedAlgorithm {
		return nil, ErrPacked
	}
	n := int(data[1])<<16 | int(data[2])<<8 | int(data[3])
	in := bitReader{bytes: data[packedHeader:]}
	if n*smallBits > len(in.bytes)*8 {
		return nil, ErrPacked
	}
	small := make([]uint8, 0, len(in.bytes)*8/smallBits)
	escapes := 0
	for items := 0; items < n; {
		v, ok := in.take(smallBits)
		if !ok {
			return nil, ErrPacked
		}
		switch v {
		case 0:
			items++
		case escape:
			escapes++
		}
		small = append(small, uint8(v))
	}
	if !in.align() || (len(in.bytes)*8-in.at)/8 != (escapes*largeBits+7)/8 {
		return nil, ErrPacked
	}
	fp := make(Fingerprint, 0, n)
	item, last := uint32(0), uint32(0)
	for _, gap := range small {
		if gap == 0 {
			fp = append(fp, item)
			last = 0
			continue
		}
		last += uint32(gap)
		if gap == escape {
			more, _ := in.take(largeBits) // their number was checked
			last += more
		}
		if last > 32 {
			return nil, ErrPacked
		}
		item ^= 1 << (last - 1)
	}
	if !in.align() {
		return nil, ErrPacked
	}
	return fp, nil
}

// bitWriter fills bytes from their lowest bits.
type bitWriter struct {
	bytes []byte
	rest  uint32
	n     int
}

func (w *bitWriter) put(v uint32, n int) {
	w.rest |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.bytes = append(w.bytes, byte(w.rest))
		w.rest >>= 8
	}
}

func (w *bitWriter) align() {
	if w.n > 0 {
		w.bytes = append(w.bytes, byte(w.rest))
		w.rest, w.n = 0, 0
	}
}

// bitReader reads what a bitWriter writes.
type bitReader struct {
	bytes []byte
	at    int // in bits
}

func (r *bitReader) take(n int) (v uint32, ok bool) {
	if r.at+n > len(r.bytes)*8 {
		return 0, false
	}
	for i := range n {
		v |= uint32(r.bytes[r.at/8]>>(r.at%8)&1) << i
		r.at++
	}
	return v, true
}

// align goes on at the next byte, and tells whether what it leaves out is empty.
func (r *bitReader) align() bool {
	empty := true
	for r.at%8 != 0 {
		v, _ := r.take(1)
		empty = empty && v == 0
	}
	return empty
}
