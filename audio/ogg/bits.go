package ogg

import (
	"fmt"
	"math/bits"
)

// bitReader reads Vorbis bit fields: least significant bit first (Vorbis I,
// section 2). Past the end it returns zeros and remembers the fault.
type bitReader struct {
	data []byte
	pos  int
	past bool
}

func (b *bitReader) read(n int) uint32 {
	if n < 0 || n > 32 || b.pos+n > len(b.data)*8 {
		b.past = true
		b.pos = len(b.data) * 8
		return 0
	}
	var v uint32
	for got := 0; got < n; {
		at := b.pos & 7
		take := min(8-at, n-got)
		piece := uint32(b.data[b.pos>>3]>>at) & (1<<take - 1)
		v |= piece << got
		got += take
		b.pos += take
	}
	return v
}

func (b *bitReader) flag() bool { return b.read(1) == 1 }

func (b *bitReader) skip(n int) {
	if n < 0 || b.pos+n > len(b.data)*8 {
		b.past = true
		b.pos = len(b.data) * 8
		return
	}
	b.pos += n
}

func (b *bitReader) err(where string) error {
	if b.past {
		return fmt.Errorf("%w: %s ends early", ErrCorrupt, where)
	}
	return nil
}

// ilog is the function of Vorbis I, section 9.2.1: bits needed for v.
func ilog(v uint32) int { return bits.Len32(v) }
