package sframe

import "math/bits"

// MaxHeader is the longest header in bytes.
const MaxHeader = 17

// AppendHeader appends the header (RFC 9605, section 4.3) in its shortest form.
func AppendHeader(b []byte, kid, ctr uint64) []byte {
	at := len(b)
	b = append(b, 0)
	if kid < 8 {
		b[at] |= byte(kid) << 4
	} else {
		n := width(kid)
		b[at] |= 1<<7 | byte(n-1)<<4
		b = appendUint(b, kid, n)
	}
	if ctr < 8 {
		b[at] |= byte(ctr)
	} else {
		n := width(ctr)
		b[at] |= 1<<3 | byte(n-1)
		b = appendUint(b, ctr, n)
	}
	return b
}

// HeaderLen is the number of bytes that AppendHeader adds.
func HeaderLen(kid, ctr uint64) int {
	n := 1
	if kid >= 8 {
		n += width(kid)
	}
	if ctr >= 8 {
		n += width(ctr)
	}
	return n
}

// ParseHeader reads a header from the front of b; n is its length.
func ParseHeader(b []byte) (kid, ctr uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, 0, ErrCorrupt
	}
	config := b[0]
	n = 1
	field := func(v byte) (uint64, bool) {
		if v&8 == 0 {
			return uint64(v & 7), true
		}
		size := int(v&7) + 1
		if len(b) < n+size {
			return 0, false
		}
		var x uint64
		for _, c := range b[n : n+size] {
			x = x<<8 | uint64(c)
		}
		n += size
		return x, true
	}
	kid, ok := field(config >> 4)
	if ok {
		ctr, ok = field(config & 15)
	}
	if !ok {
		return 0, 0, 0, ErrCorrupt
	}
	return kid, ctr, n, nil
}

func width(v uint64) int { return max((bits.Len64(v)+7)/8, 1) }

func appendUint(b []byte, v uint64, n int) []byte {
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}
