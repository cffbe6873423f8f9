package ogg

import "fmt"

// parseSetup walks the setup header (Vorbis I, section 4.2.4) up to the mode
// table. Everything before it has to be walked, since the fields have no
// lengths of their own.
func (v *Vorbis) parseSetup(p []byte) error {
	if !isHeader(p, 5) {
		return fmt.Errorf("%w: no Vorbis setup header", ErrCorrupt)
	}
	b := &bitReader{data: p, pos: 7 * 8}
	books := int(b.read(8)) + 1
	for i := range books {
		if err := skipCodebook(b); err != nil {
			return fmt.Errorf("codebook %d: %w", i, err)
		}
	}
	for range b.read(6) + 1 {
		if b.read(16) != 0 {
			return fmt.Errorf("%w: time domain transform", ErrCorrupt)
		}
	}
	floors := int(b.read(6)) + 1
	for i := range floors {
		if err := skipFloor(b); err != nil {
			return fmt.Errorf("floor %d: %w", i, err)
		}
	}
	residues := int(b.read(6)) + 1
	for i := range residues {
		if err := skipResidue(b); err != nil {
			return fmt.Errorf("residue %d: %w", i, err)
		}
	}
	mappings := int(b.read(6)) + 1
	for i := range mappings {
		if err := v.skipMapping(b); err != nil {
			return fmt.Errorf("mapping %d: %w", i, err)
		}
	}
	modes := int(b.read(6)) + 1
	v.modes = make([]uint8, modes)
	for i := range v.modes {
		v.modes[i] = uint8(b.read(1))
		window, transform, mapping := b.read(16), b.read(16), int(b.read(8))
		if window != 0 || transform != 0 || mapping >= mappings {
			return fmt.Errorf("%w: mode %d", ErrCorrupt, i)
		}
	}
	framed := b.flag()
	if err := b.err("setup header"); err != nil {
		return err
	}
	if !framed {
		return fmt.Errorf("%w: setup header without framing bit", ErrCorrupt)
	}
	v.modeBits = ilog(uint32(modes - 1))
	return nil
}

// skipCodebook: Vorbis I, section 3.2.1.
func skipCodebook(b *bitReader) error {
	if b.read(24) != 0x564342 {
		return fmt.Errorf("%w: no sync pattern", ErrCorrupt)
	}
	dimensions := b.read(16)
	entries := b.read(24)
	if b.flag() { // ordered
		b.skip(5)
		for at := uint32(0); at < entries; {
			n := b.read(ilog(entries - at))
			if err := b.err("codeword lengths"); err != nil {
				return err
			}
			if n > entries-at {
				return fmt.Errorf("%w: codeword lengths", ErrCorrupt)
			}
			at += n
			if n == 0 && b.pos >= len(b.data)*8 {
				return b.err("codeword lengths")
			}
		}
	} else {
		sparse := b.flag()
		for range entries {
			if !sparse || b.flag() {
				b.skip(5)
			}
			if b.past {
				return b.err("codeword lengths")
			}
		}
	}
	switch lookup := b.read(4); lookup {
	case 0:
	case 1, 2:
		b.skip(64)
		width := int(b.read(4)) + 1
		b.skip(1)
		values := uint64(entries) * uint64(dimensions)
		if lookup == 1 {
			values = lookup1Values(uint64(entries), uint64(dimensions))
		}
		if values > uint64(len(b.data))*8 {
			b.past = true
			break
		}
		b.skip(int(values) * width)
	default:
		return fmt.Errorf("%w: lookup type %d", ErrCorrupt, lookup)
	}
	return b.err("codebook")
}

// lookup1Values is the greatest n with n^dimensions <= entries (section 9.2.3).
func lookup1Values(entries, dimensions uint64) uint64 {
	if dimensions == 0 || entries == 0 {
		return 0
	}
	fits := func(n uint64) bool {
		product := uint64(1)
		for range dimensions {
			if product *= n; product > entries {
				return false
			}
			if n <= 1 {
				break
			}
		}
		return product <= entries
	}
	lo, hi := uint64(1), entries+1
	for hi-lo > 1 {
		if mid := lo + (hi-lo)/2; fits(mid) {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// skipFloor: Vorbis I, sections 6.2.1 and 7.2.2.
func skipFloor(b *bitReader) error {
	switch kind := b.read(16); kind {
	case 0:
		b.skip(8 + 16 + 16 + 6 + 8)
		b.skip((int(b.read(4)) + 1) * 8)
	case 1:
		partitions := int(b.read(5))
		classes := make([]int, partitions)
		top := -1
		for i := range classes {
			classes[i] = int(b.read(4))
			top = max(top, classes[i])
		}
		dimensions := make([]int, top+1)
		for i := range dimensions {
			dimensions[i] = int(b.read(3)) + 1
			sub := int(b.read(2))
			if sub > 0 {
				b.skip(8)
			}
			b.skip((1 << sub) * 8)
		}
		b.skip(2)
		width := int(b.read(4))
		for _, c := range classes {
			b.skip(width * dimensions[c])
		}
	default:
		return fmt.Errorf("%w: floor type %d", ErrCorrupt, kind)
	}
	return b.err("floor")
}

// skipResidue: Vorbis I, section 8.6.1.
func skipResidue(b *bitReader) error {
	if kind := b.read(16); kind > 2 {
		return fmt.Errorf("%w: residue type %d", ErrCorrupt, kind)
	}
	b.skip(24 * 3)
	classes := int(b.read(6)) + 1
	b.skip(8)
	books := 0
	for range classes {
		cascade := b.read(3)
		if b.flag() {
			cascade |= b.read(5) << 3
		}
		for ; cascade != 0; cascade &= cascade - 1 {
			books++
		}
	}
	b.skip(books * 8)
	return b.err("residue")
}

// skipMapping: Vorbis I, section 4.2.4, mappings.
func (v *Vorbis) skipMapping(b *bitReader) error {
	if b.read(16) != 0 {
		return fmt.Errorf("%w: mapping type", ErrCorrupt)
	}
	submaps := 1
	if b.flag() {
		submaps = int(b.read(4)) + 1
	}
	if b.flag() {
		steps := int(b.read(8)) + 1
		b.skip(steps * 2 * ilog(uint32(v.Channels-1)))
	}
	if b.read(2) != 0 {
		return fmt.Errorf("%w: mapping reserved bits", ErrCorrupt)
	}
	if submaps > 1 {
		b.skip(4 * v.Channels)
	}
	b.skip(submaps * 24)
	return b.err("mapping")
}
