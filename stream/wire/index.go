package wire

import "math"

// Span is one record in an index.
type Span struct {
	Length  uint64 // bytes of its SFrame ciphertext in the object
	Samples uint32 // samples per channel
}

// Index tells where each record lies in the object and in the track.
type Index struct {
	// Offset is where record 0 begins in the object, in bytes.
	Offset  uint64
	Records []Span
}

// Append appends the frame to b. A payload over MaxServer cannot be sent: the
// caller asks for Size first.
func (x *Index) Append(b []byte) []byte {
	m := AppendVarint(nil, x.Offset)
	m = AppendVarint(m, uint64(len(x.Records)))
	var last int64
	for _, r := range x.Records {
		m = AppendVarint(m, r.Length)
		m = AppendVarint(m, Zigzag(int64(r.Samples)-last))
		last = int64(r.Samples)
	}
	return appendFrame(b, TypeIndex, m)
}

// Size is the number of bytes of the payload.
func (x *Index) Size() int {
	n := VarintLen(x.Offset) + VarintLen(uint64(len(x.Records)))
	var last int64
	for _, r := range x.Records {
		n += VarintLen(r.Length) + VarintLen(Zigzag(int64(r.Samples)-last))
		last = int64(r.Samples)
	}
	return n
}

// ParseIndex parses a payload.
func ParseIndex(payload []byte) (*Index, error) {
	f := fields{b: payload, what: "INDEX"}
	x := &Index{Offset: f.varint()}
	n := f.varint()
	// Each record takes two bytes at least, so that the count cannot lie far.
	if f.err == nil && n > uint64(len(f.b)/2) {
		f.fail("%d records in %d bytes", n, len(f.b))
	}
	if f.err != nil {
		return nil, f.err
	}
	x.Records = make([]Span, 0, n)
	samples, end := int64(0), x.Offset
	for range n {
		length := f.varint()
		samples += Unzigzag(f.varint())
		if f.err != nil {
			return nil, f.err
		}
		if length == 0 || length > MaxServer || samples < 0 || samples > math.MaxUint32 || end > MaxVarint-length {
			return nil, Errorf(BadFrame, "INDEX: record of %d bytes and %d samples", length, samples)
		}
		end += length
		x.Records = append(x.Records, Span{Length: length, Samples: uint32(samples)})
	}
	return x, f.done()
}
