package ogg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Errors of the page and header readers. They are wrapped with the place.
var (
	// ErrCorrupt means that the bytes are no valid Ogg or Vorbis: lost sync, a
	// wrong CRC, a page out of order, a header that breaks the specification.
	ErrCorrupt = errors.New("ogg: corrupt stream")
	// ErrTruncated means that the input ended inside a page, inside the
	// headers, or before the page that is marked as the last.
	ErrTruncated = errors.New("ogg: truncated stream")
	// ErrUnsupported means valid Ogg that this package does not cut: no Vorbis,
	// several logical streams, or chained streams.
	ErrUnsupported = errors.New("ogg: unsupported stream")
	// ErrTooLarge means that a bound of this package was passed.
	ErrTooLarge = errors.New("ogg: stream too large")
)

// Flags of the header type byte, RFC 3533 section 6.
const (
	flagContinued = 1 << 0
	flagFirst     = 1 << 1
	flagLast      = 1 << 2
)

const (
	pageHeaderSize = 27
	// MaxPageSize is the largest page that the format allows, in bytes.
	MaxPageSize = pageHeaderSize + 255 + 255*255
	// NoGranule is the granule position of a page on which no packet ends.
	NoGranule = -1
)

// Page is one Ogg page. Its slices are valid until the next read.
type Page struct {
	// Raw is the whole page, header and body, as it was read.
	Raw []byte
	// Lacing is the segment table.
	Lacing []byte
	// Body is the payload: the sum of Lacing in bytes.
	Body []byte
	// Granule is the position after the last packet that ends on this page, in
	// samples per channel, or NoGranule.
	Granule  int64
	Serial   uint32
	Sequence uint32
	// Continued says that the first segment goes on with a packet of the page
	// before; First and Last mark the ends of the logical stream.
	Continued, First, Last bool
}

// EndsOnPacket reports whether the last packet of the page is complete.
func (p *Page) EndsOnPacket() bool {
	return len(p.Lacing) == 0 || p.Lacing[len(p.Lacing)-1] < 255
}

// Packets calls yield for every packet piece of the page in order. whole says
// that the piece ends a packet on this page.
func (p *Page) Packets(yield func(piece []byte, whole bool) error) error {
	start, end := 0, 0
	for i, l := range p.Lacing {
		end += int(l)
		if l == 255 && i < len(p.Lacing)-1 {
			continue
		}
		if err := yield(p.Body[start:end], l < 255); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// Reader reads pages one after the other. It allows nothing between pages.
type Reader struct {
	r   io.Reader
	buf []byte
	crc *crcTables
	off int64
}

// NewReader reads pages from r, which should be buffered.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, crc: crcTable()}
}

// Next returns the next page. It returns io.EOF between pages, ErrTruncated
// inside one and ErrCorrupt for lost sync or a wrong CRC.
func (d *Reader) Next() (*Page, error) {
	head := d.room(0, pageHeaderSize)
	if n, err := io.ReadFull(d.r, head); err != nil {
		if err == io.EOF && n == 0 {
			return nil, io.EOF
		}
		return nil, d.readError(err)
	}
	if string(head[:4]) != "OggS" {
		return nil, fmt.Errorf("%w: no page at byte %d", ErrCorrupt, d.off)
	}
	if head[4] != 0 {
		return nil, fmt.Errorf("%w: page version %d at byte %d", ErrUnsupported, head[4], d.off)
	}
	segments := int(head[26])
	lacing := d.room(pageHeaderSize, segments)
	if _, err := io.ReadFull(d.r, lacing); err != nil {
		return nil, d.readError(err)
	}
	size := 0
	for _, l := range lacing {
		size += int(l)
	}
	total := pageHeaderSize + segments + size
	body := d.room(pageHeaderSize+segments, size)
	lacing = d.buf[pageHeaderSize : pageHeaderSize+segments] // it may lie elsewhere now
	if _, err := io.ReadFull(d.r, body); err != nil {
		return nil, d.readError(err)
	}
	raw := d.buf[:total]
	if want, got := binary.LittleEndian.Uint32(raw[22:]), d.checksum(raw); want != got {
		return nil, fmt.Errorf("%w: page CRC %08x, expected %08x, at byte %d", ErrCorrupt, got, want, d.off)
	}
	d.off += int64(total)
	return &Page{
		Raw: raw, Lacing: lacing, Body: body,
		Granule:   int64(binary.LittleEndian.Uint64(raw[6:])),
		Serial:    binary.LittleEndian.Uint32(raw[14:]),
		Sequence:  binary.LittleEndian.Uint32(raw[18:]),
		Continued: raw[5]&flagContinued != 0,
		First:     raw[5]&flagFirst != 0,
		Last:      raw[5]&flagLast != 0,
	}, nil
}

// room returns n bytes of the buffer at off, and keeps what lies before.
func (d *Reader) room(off, n int) []byte {
	if need := off + n; need > len(d.buf) {
		// Most pages have some kilobytes; no page is larger than MaxPageSize.
		bigger := make([]byte, min(max(2*need, 8<<10), MaxPageSize))
		copy(bigger, d.buf[:off])
		d.buf = bigger
	}
	return d.buf[off : off+n]
}

func (d *Reader) readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: page at byte %d is cut off", ErrTruncated, d.off)
	}
	return fmt.Errorf("read page at byte %d: %w", d.off, err)
}

// checksum is the CRC of RFC 3533 section 6: polynomial 0x04c11db7, not
// reflected, start 0, the checksum's own four bytes taken as zero.
func (d *Reader) checksum(page []byte) uint32 {
	crc := d.crc.update(0, page[:22])
	crc = d.crc.update(crc, make([]byte, 4))
	return d.crc.update(crc, page[26:])
}

// crcTables serve eight bytes at a time: table k is what a byte does that k more follow.
type crcTables [8][256]uint32

func (t *crcTables) update(crc uint32, b []byte) uint32 {
	for ; len(b) >= 8; b = b[8:] {
		v := crc ^ binary.BigEndian.Uint32(b)
		crc = t[7][v>>24] ^ t[6][v>>16&0xff] ^ t[5][v>>8&0xff] ^ t[4][v&0xff] ^
			t[3][b[4]] ^ t[2][b[5]] ^ t[1][b[6]] ^ t[0][b[7]]
	}
	for _, v := range b {
		crc = crc<<8 ^ t[0][byte(crc>>24)^v]
	}
	return crc
}

// crcTable is the same for all readers.
var crcTable = sync.OnceValue(newCRCTables) //nolint:gochecknoglobals // a constant

func newCRCTables() *crcTables {
	var t crcTables
	for i := range t[0] {
		r := uint32(i) << 24
		for range 8 {
			if r&0x80000000 != 0 {
				r = r<<1 ^ 0x04c11db7
			} else {
				r <<= 1
			}
		}
		t[0][i] = r
	}
	for k := 1; k < len(t); k++ {
		for i, v := range t[k-1] {
			t[k][i] = v<<8 ^ t[0][byte(v>>24)]
		}
	}
	return &t
}
