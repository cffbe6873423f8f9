package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Bounds of a frame's payload, in bytes.
const (
	// MaxFirst bounds all that is read of a stream before its ticket is verified.
	MaxFirst = 1 << 10
	// MaxClient bounds a frame from a client, MaxServer one from a server.
	MaxClient = 64 << 10
	MaxServer = 1 << 20
)

// Type is the type of a frame.
type Type uint64

// The types of frames.
const (
	TypePlay   Type = 0x01
	TypeCredit Type = 0x02
	TypeWatch  Type = 0x03
	TypeHead   Type = 0x10
	TypeRec    Type = 0x11
	TypeIndex  Type = 0x12
	TypeEnd    Type = 0x13
	TypeErr    Type = 0x1f
	TypeState  Type = 0x20
)

func (t Type) known() bool {
	switch t {
	case TypePlay, TypeCredit, TypeWatch, TypeHead, TypeRec, TypeIndex, TypeEnd, TypeErr, TypeState:
		return true
	default:
		return false
	}
}

// critical frames must not be skipped by those who do not know them.
func (t Type) critical() bool { return t >= 0x41 && t&1 == 1 }

// Frame is one frame. Payload is valid until the next call of Next.
type Frame struct {
	Type    Type
	Payload []byte
}

// Reader reads frames.
type Reader struct {
	r     *bufio.Reader
	max   uint64
	left  uint64 // what may be read in all; only when bound is set
	bound bool
	buf   []byte
	bytes uint64
}

// NewReader reads frames of at most limit bytes of payload from r.
func NewReader(r io.Reader, limit int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 4<<10), max: uint64(limit)}
}

// Bound lets the reader take at most n more bytes, skipped frames included.
// A negative n takes the bound away.
func (r *Reader) Bound(n int) {
	r.bound = n >= 0
	r.left = uint64(max(n, 0))
}

// Bytes is how many bytes of frames were read so far.
func (r *Reader) Bytes() uint64 { return r.bytes }

// Next returns the next frame of a known type and skips the others. It returns
// io.EOF between frames, io.ErrUnexpectedEOF inside one, and an Error with BadFrame
// for a frame that is too large or of an unknown critical type.
func (r *Reader) Next() (Frame, error) {
	for {
		typ, err := r.varint()
		if err != nil {
			return Frame{}, err
		}
		size, err := r.varint()
		if err != nil {
			return Frame{}, noEOF(err)
		}
		t := Type(typ)
		if t.critical() {
			return Frame{}, Errorf(BadFrame, "unknown critical frame %#x", typ)
		}
		if size > r.max {
			return Frame{}, Errorf(BadFrame, "frame %#x of %d bytes", typ, size)
		}
		if err := r.take(size); err != nil {
			return Frame{}, err
		}
		if !t.known() {
			if _, err := r.r.Discard(int(size)); err != nil {
				return Frame{}, noEOF(fmt.Errorf("skip frame: %w", err))
			}
			continue
		}
		if err := r.fill(int(size)); err != nil {
			return Frame{}, err
		}
		return Frame{Type: t, Payload: r.buf}, nil
	}
}

// fill reads size bytes into buf. The buffer grows with what has arrived, so that a
// length alone allocates no more than a first step.
func (r *Reader) fill(size int) error {
	const step = 64 << 10
	r.buf = r.buf[:0]
	for len(r.buf) < size {
		at := len(r.buf)
		n := min(size-at, step)
		if cap(r.buf) < at+n {
			grown := make([]byte, at, min(size, max(2*at, step)))
			copy(grown, r.buf)
			r.buf = grown
		}
		n = min(cap(r.buf), size) - at
		r.buf = r.buf[:at+n]
		if _, err := io.ReadFull(r.r, r.buf[at:]); err != nil {
			return noEOF(fmt.Errorf("read frame: %w", err))
		}
	}
	return nil
}

func (r *Reader) take(n uint64) error {
	if r.bound {
		if n > r.left {
			return Errorf(BadFrame, "too many bytes before a valid ticket")
		}
		r.left -= n
	}
	r.bytes += n
	return nil
}

func (r *Reader) varint() (uint64, error) {
	first, err := r.r.ReadByte()
	if err != nil {
		return 0, err
	}
	b := [8]byte{first}
	n := 1 << (first >> 6)
	if _, err := io.ReadFull(r.r, b[1:n]); err != nil {
		return 0, noEOF(err)
	}
	if err := r.take(uint64(n)); err != nil {
		return 0, err
	}
	v, _ := Varint(b[:n])
	return v, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
