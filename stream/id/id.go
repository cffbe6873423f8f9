// Package id makes and reads the ids of Segue: 128 bits, ordered by the time they were
// made, written as 22 characters of base62. The text is strictly alphanumeric and sorts
// as the bytes do.
package id

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"
	"time"
)

// Len is the length of an id as text.
const Len = 22

// ErrMalformed says that a text is no id.
var ErrMalformed = errors.New("id is not 22 characters of base62")

const (
	alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	base     = uint64(len(alphabet))
)

// ID is 16 bytes: for an id made by [New], the Unix time in milliseconds as 48 bits big
// endian, then 80 random bits.
type ID [16]byte

// New makes an id of a time and of 10 bytes from random, which must not fail
// (crypto/rand.Reader does not).
func New(now time.Time, random io.Reader) ID {
	var i ID
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(i[:6], ms[2:])
	if _, err := io.ReadFull(random, i[6:]); err != nil {
		panic("id: the random source failed: " + err.Error())
	}
	return i
}

// Derive makes the same id of the same parts: the first 16 bytes of the SHA-256 of each
// part after its length (8 bytes, big endian).
func Derive(parts ...string) ID {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		_, _ = h.Write(n[:]) // a hash never fails
		_, _ = io.WriteString(h, p)
	}
	var i ID
	copy(i[:], h.Sum(nil))
	return i
}

// Time is when an id of [New] was made, to the millisecond.
func (i ID) Time() time.Time {
	var ms [8]byte
	copy(ms[2:], i[:6])
	return time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).UTC()
}

// IsZero reports whether it is the id of nothing.
func (i ID) IsZero() bool { return i == ID{} }

// String writes 22 characters.
func (i ID) String() string {
	hi, lo := binary.BigEndian.Uint64(i[:8]), binary.BigEndian.Uint64(i[8:])
	var out [Len]byte
	for p := Len - 1; p >= 0; p-- {
		var rem uint64
		hi, rem = hi/base, hi%base
		lo, rem = bits.Div64(rem, lo, base)
		out[p] = alphabet[rem]
	}
	return string(out[:])
}

// Parse reads what String writes, and nothing else: [ErrMalformed].
func Parse(s string) (ID, error) {
	if len(s) != Len {
		return ID{}, ErrMalformed
	}
	var hi, lo uint64
	for k := range len(s) {
		d, ok := digit(s[k])
		if !ok {
			return ID{}, ErrMalformed
		}
		over, high := bits.Mul64(hi, base)
		carry, low := bits.Mul64(lo, base)
		low, c := bits.Add64(low, d, 0)
		high, c = bits.Add64(high, carry, c)
		if over != 0 || c != 0 {
			return ID{}, ErrMalformed // over 128 bits
		}
		hi, lo = high, low
	}
	var i ID
	binary.BigEndian.PutUint64(i[:8], hi)
	binary.BigEndian.PutUint64(i[8:], lo)
	return i, nil
}

func digit(c byte) (uint64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0'), true
	case c >= 'A' && c <= 'Z':
		return uint64(c-'A') + 10, true
	case c >= 'a' && c <= 'z':
		return uint64(c-'a') + 36, true
	}
	return 0, false
}
