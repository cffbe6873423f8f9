// Package glance is the first look at a file: enough to tell whether it is one that is
// known, and what it says about itself.
package glance

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/segue-music/segue/audio/tag"
)

// pieceSize is how much is hashed in one place, and read at once.
const pieceSize = 16 << 10

// Quick hashes three pieces of the bytes. Equal files have equal ones; whether two
// with equal ones are equal takes all their bytes to tell.
func Quick(r io.ReaderAt, size int64) (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "%d\n", size)
	piece := pieces.Get().(*[pieceSize]byte)
	defer pieces.Put(piece)
	for _, at := range []int64{0, size/2 - pieceSize/2, size - pieceSize} {
		n, err := r.ReadAt(piece[:], max(at, 0))
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read source: %w", err)
		}
		_, _ = sum.Write(piece[:n]) // a hash never fails
	}
	return hex.EncodeToString(sum.Sum(nil)[:16]), nil
}

// pieces are buffers: a scan reads many small files.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }} //nolint:gochecknoglobals // holds nothing

// Head is a file whose first bytes are in memory: tags and the quick hash both begin
// there.
type Head struct {
	r     io.ReaderAt
	buf   *[pieceSize]byte
	first []byte
}

// NewHead reads the first bytes of a file.
func NewHead(r io.ReaderAt, size int64) *Head {
	h := &Head{r: r, buf: pieces.Get().(*[pieceSize]byte)}
	n, _ := r.ReadAt(h.buf[:min(size, pieceSize)], 0) // what is missing is read, or fails, when it is asked for
	h.first = h.buf[:n]
	return h
}

// Free ends the use of the Head.
func (h *Head) Free() {
	pieces.Put(h.buf)
	h.buf, h.first = nil, nil
}

// ReadAt implements io.ReaderAt.
func (h *Head) ReadAt(p []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(p)) <= int64(len(h.first)) {
		return copy(p, h.first[off:]), nil
	}
	return h.r.ReadAt(p, off)
}

// Audio tells whether the file, of size bytes, is to be taken in, and its tags: nil where
// they could not be read.
func (h *Head) Audio(size int64) (tags *tag.Tags, audio bool) {
	tags, err := tag.Read(h, size)
	if err == nil || errors.Is(err, tag.ErrCorrupt) {
		return tags, true
	}
	var first [16]byte
	n, _ := h.ReadAt(first[:], 0) // a short file gives fewer
	return nil, recognised(first[:n])
}

// recognised tells audio from anything else by its first bytes, for formats that
// audio/tag does not know and the decoder does.
func recognised(head []byte) bool {
	for _, magic := range []string{
		"wvpk", "MAC ", "TTA1", "TTA2", "caff", "DSD ", "MPCK", "MP+", "riff\x2e\x91\xcf\x11",
		"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c",
	} {
		if len(head) >= len(magic) && string(head[:len(magic)]) == magic {
			return true
		}
	}
	return false
}
