package tag

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxPictureSize bounds what Picture.Read takes into memory, in bytes.
const MaxPictureSize = 32 << 20

const maxPictures = 32

// ErrPicture means that a located picture cannot be read.
var ErrPicture = errors.New("tag: unreadable picture")

// Picture is an embedded picture: where it lies, not what it shows. Its type is
// to be told from its content again.
type Picture struct {
	// MIME is what the tag claims, cleaned.
	MIME string
	// Kind is the picture type of ID3v2 (APIC) and FLAC: 3 is the front cover.
	Kind int
	// Description is cleaned text.
	Description string
	// Size is its length in bytes, before decoding.
	Size int64

	offset int64
	unsync bool   // ID3v2 unsynchronisation is to be undone
	data   []byte // of tags that are no plain part of the file
}

// FrontCover is the Kind of a front cover.
const FrontCover = 3

// Read returns the picture's bytes. r is the file that the tags are of.
func (p *Picture) Read(r io.ReaderAt) ([]byte, error) {
	if p.data != nil {
		return p.data, nil
	}
	if p.Size <= 0 || p.Size > MaxPictureSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrPicture, p.Size)
	}
	b := make([]byte, p.Size)
	if n, err := r.ReadAt(b, p.offset); n < len(b) {
		return nil, fmt.Errorf("%w: %w", ErrPicture, err)
	}
	if p.unsync {
		b = synchronise(b)
	}
	return b, nil
}

// Cover returns the front cover, else the first picture, else nil.
func (t *Tags) Cover() *Picture {
	for i := range t.Pictures {
		if t.Pictures[i].Kind == FrontCover {
			return &t.Pictures[i]
		}
	}
	if len(t.Pictures) > 0 {
		return &t.Pictures[0]
	}
	return nil
}

func (t *Tags) addPicture(p Picture) {
	if p.Size <= 0 || len(t.Pictures) >= maxPictures {
		return
	}
	p.MIME, p.Description = line(p.MIME), line(p.Description)
	t.Pictures = append(t.Pictures, p)
}

// flacPicture reads the head of a METADATA_BLOCK_PICTURE (RFC 9639, section
// 8.8) and returns the offset of its data within the block.
func flacPicture(b []byte, block int64) (Picture, int64, bool) {
	var p Picture
	if len(b) < 8 {
		return p, 0, false
	}
	p.Kind = int(min(binary.BigEndian.Uint32(b), 255))
	off := 4
	text := func() (string, bool) {
		if len(b)-off < 4 {
			return "", false
		}
		n := binary.BigEndian.Uint32(b[off:])
		off += 4
		if uint64(n) > uint64(len(b)-off) {
			return "", false
		}
		s := string(b[off:][:n])
		off += int(n)
		return s, true
	}
	var ok bool
	if p.MIME, ok = text(); !ok {
		return p, 0, false
	}
	if p.Description, ok = text(); !ok || len(b)-off < 20 {
		return p, 0, false
	}
	p.Size = int64(binary.BigEndian.Uint32(b[off+16:]))
	off += 20
	return p, int64(off), int64(off)+p.Size <= block
}

// commentPicture takes the picture of a METADATA_BLOCK_PICTURE comment.
func (t *Tags) commentPicture(value string) {
	if len(value) > base64.StdEncoding.EncodedLen(MaxPictureSize) {
		return
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return
	}
	p, off, ok := flacPicture(b, int64(len(b)))
	if !ok {
		return
	}
	p.data = b[off:][:p.Size]
	t.addPicture(p)
}
