package blob

import (
	"fmt"
	"io"
)

// SizedReader passes r on and turns any other number of bytes than size into ErrSize at
// the end. Engines use it; a size of 0 or less checks nothing.
func SizedReader(r io.Reader, size int64) io.Reader {
	if size <= 0 {
		return r
	}
	return &sizedReader{r: r, left: size}
}

type sizedReader struct {
	r    io.Reader
	left int64
}

func (s *sizedReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.left -= int64(n)
	if s.left < 0 {
		return 0, fmt.Errorf("%w: %d bytes or more too many", ErrSize, -s.left)
	}
	if err == io.EOF && s.left > 0 {
		return n, fmt.Errorf("%w: %d bytes missing", ErrSize, s.left)
	}
	return n, err
}

// CheckRange clips a range of an object of size bytes; ErrRange.
func CheckRange(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size {
		return 0, fmt.Errorf("%w: offset %d of %d bytes", ErrRange, offset, size)
	}
	if length < 0 || length > size-offset {
		length = size - offset
	}
	return length, nil
}
