package tag

import (
	"io"
	"sync"
)

// blockSize is what one read takes: tags mostly fit into one.
const blockSize = 16 << 10

// source reads small pieces of a file through one cached block.
type source struct {
	r     io.ReaderAt
	size  int64
	block []byte
	at    int64
	buf   []byte
	own   *[blockSize]byte // behind buf
	err   error            // of the reader; the end of the file is none
}

// blocks are buffers: a scan reads many small files.
var blocks = sync.Pool{New: func() any { return new([blockSize]byte) }} //nolint:gochecknoglobals // holds nothing

// free ends the use of the source: what peek returned is no longer valid.
func (s *source) free() {
	if s.own != nil {
		blocks.Put(s.own)
	}
	s.own, s.buf, s.block = nil, nil, nil
}

// peek returns up to n bytes at off: fewer at the end of the file, none past it
// or after a read error. They are valid until the next call.
func (s *source) peek(off int64, n int) []byte {
	if off < 0 || off >= s.size || n <= 0 || s.err != nil {
		return nil
	}
	n = int(min(int64(n), s.size-off))
	if off >= s.at && off+int64(n) <= s.at+int64(len(s.block)) {
		return s.block[off-s.at:][:n]
	}
	if n > blockSize {
		return s.read(make([]byte, n), off)
	}
	if s.buf == nil {
		s.own = blocks.Get().(*[blockSize]byte)
		s.buf = s.own[:min(blockSize, s.size)]
	}
	s.block = s.read(s.buf[:min(int64(len(s.buf)), s.size-off)], off)
	s.at = off
	return s.block[:min(n, len(s.block))]
}

func (s *source) read(b []byte, off int64) []byte {
	n, err := s.r.ReadAt(b, off)
	if err != nil && err != io.EOF {
		s.err = err
		return nil
	}
	return b[:n]
}

// copy is peek with bytes of the caller's own, and nil unless all n are there.
func (s *source) copy(off int64, n int) []byte {
	b := s.peek(off, n)
	if len(b) != n {
		return nil
	}
	return append([]byte(nil), b...)
}
