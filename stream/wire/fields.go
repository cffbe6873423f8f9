package wire

import "encoding/binary"

// fields reads the fields of a payload; the first shortage sticks.
type fields struct {
	b    []byte
	what string
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = Errorf(BadFrame, f.what+": "+format, args...)
	}
}

func (f *fields) bytes(n int) []byte {
	if f.err != nil {
		return nil
	}
	if n < 0 || n > len(f.b) {
		f.fail("ends early")
		return nil
	}
	v := f.b[:n:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) byte() byte {
	if b := f.bytes(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (f *fields) int16() int16 {
	if b := f.bytes(2); len(b) == 2 {
		return int16(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (f *fields) id() (id [16]byte) {
	copy(id[:], f.bytes(16))
	return id
}

func (f *fields) setup() (id [8]byte) {
	copy(id[:], f.bytes(8))
	return id
}

func (f *fields) varint() uint64 {
	if f.err != nil {
		return 0
	}
	v, n := Varint(f.b)
	if n == 0 {
		f.fail("ends early")
		return 0
	}
	f.b = f.b[n:]
	return v
}

// prefixed reads a length and that many bytes, at most limit.
func (f *fields) prefixed(limit int) []byte {
	n := f.varint()
	if f.err == nil && n > uint64(limit) {
		f.fail("field of %d bytes", n)
		return nil
	}
	return f.bytes(int(n))
}

func (f *fields) rest() []byte { return f.bytes(len(f.b)) }

// done demands that nothing is left.
func (f *fields) done() error {
	if f.err == nil && len(f.b) > 0 {
		f.fail("%d bytes left over", len(f.b))
	}
	return f.err
}

// appendFrame puts type and length in front of a payload.
func appendFrame(b []byte, t Type, payload []byte) []byte {
	b = AppendVarint(b, uint64(t))
	b = AppendVarint(b, uint64(len(payload)))
	return append(b, payload...)
}

func appendPrefixed(b, field []byte) []byte {
	b = AppendVarint(b, uint64(len(field)))
	return append(b, field...)
}
