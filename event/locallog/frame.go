package locallog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"time"

	"github.com/segue-music/segue/event"
)

// A frame is one record on disk, little-endian:
//
//	length uint32  of what follows the checksum
//	crc    uint32  CRC-32C (RFC 3720 B.4) of the length and of what follows
//	offset uint64
//	time   int64   nanoseconds of Unix time
//	key    uvarint length, bytes
//	count  uvarint of headers; each: uvarint length, name, uvarint length, value
//	value  the rest
const (
	frameHead = 8
	frameMin  = 16 + 2
	// frameMax holds every record within the bounds of package event.
	frameMax = frameHead + 16 + event.MaxValue + (event.MaxKey+4)*(2*event.MaxHeaders+2)
)

// errTorn says that no whole frame begins here.
var errTorn = errors.New("torn frame")

// frameSize is the length of what appendFrame adds for rec.
func frameSize(rec *event.Record) int {
	n := frameHead + 16 + bytesSize(len(rec.Key)) + uvarintSize(len(rec.Headers)) + len(rec.Value)
	for _, h := range rec.Headers {
		n += bytesSize(len(h.Name)) + bytesSize(len(h.Value))
	}
	return n
}

func bytesSize(n int) int { return uvarintSize(n) + n }

// uvarintSize is for lengths, which are at most event.MaxKey.
func uvarintSize(n int) int {
	if n < 0x80 {
		return 1
	}
	return 2
}

func appendFrame(b []byte, table *crc32.Table, rec *event.Record, offset, nanos int64) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(nanos))
	b = appendBytes(b, rec.Key)
	b = binary.AppendUvarint(b, uint64(len(rec.Headers)))
	for _, h := range rec.Headers {
		b = appendBytes(b, []byte(h.Name))
		b = appendBytes(b, h.Value)
	}
	b = append(b, rec.Value...)
	f := b[start:]
	binary.LittleEndian.PutUint32(f, uint32(len(f)-frameHead))
	sum := crc32.Update(crc32.Update(0, table, f[:4]), table, f[frameHead:])
	binary.LittleEndian.PutUint32(f[4:], sum)
	return b
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

// frame is a checked frame; body is what follows the fixed fields.
type frame struct {
	offset, nanos int64
	body          []byte
	size          int64 // of the whole frame
}

// parseFrame checks the frame at the start of b; errTorn where b does not begin with one.
func parseFrame(b []byte, table *crc32.Table) (frame, error) {
	if len(b) < frameHead {
		return frame{}, errTorn
	}
	n := binary.LittleEndian.Uint32(b)
	if n < frameMin || n > frameMax-frameHead || int(n) > len(b)-frameHead {
		return frame{}, errTorn
	}
	data := b[frameHead : frameHead+n]
	if crc32.Update(crc32.Update(0, table, b[:4]), table, data) != binary.LittleEndian.Uint32(b[4:]) {
		return frame{}, errTorn
	}
	f := frame{
		offset: int64(binary.LittleEndian.Uint64(data)), nanos: int64(binary.LittleEndian.Uint64(data[8:])),
		body: data[16:], size: frameHead + int64(n),
	}
	if f.offset < 0 || f.offset == math.MaxInt64 { // there is one after it
		return frame{}, errTorn
	}
	return f, nil
}

// record copies the frame into a record; event.ErrCorrupt when a checksum lied.
func (f frame) record(topic string) (event.Record, error) {
	r := event.Record{Topic: topic, Offset: f.offset, Time: time.Unix(0, f.nanos).UTC()}
	b := append([]byte(nil), f.body...) // one allocation for key, headers and value
	var ok bool
	if r.Key, b, ok = cutBytes(b); !ok {
		return r, event.ErrCorrupt
	}
	n, w := binary.Uvarint(b)
	if w <= 0 || n > event.MaxHeaders {
		return r, event.ErrCorrupt
	}
	b = b[w:]
	for range n {
		var name, value []byte
		if name, b, ok = cutBytes(b); !ok {
			return r, event.ErrCorrupt
		}
		if value, b, ok = cutBytes(b); !ok {
			return r, event.ErrCorrupt
		}
		r.Headers = append(r.Headers, event.Header{Name: string(name), Value: value})
	}
	r.Value = b
	return r, nil
}

func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > event.MaxKey || int(n) > len(b)-w {
		return nil, nil, false
	}
	return b[w : w+int(n) : w+int(n)], b[w+int(n):], true
}

// scanner walks the frames of one segment through a buffer.
type scanner struct {
	r     io.ReaderAt
	table *crc32.Table
	pos   int64 // of the next frame
	buf   []byte
	have  []byte // read but not walked, begins at pos
}

const scanBuffer = 4 * frameMax

// next returns the frame at pos, io.EOF at limit, errTorn where there is none. The frame
// is valid until the next call.
func (s *scanner) next(limit int64) (frame, error) {
	if s.pos >= limit {
		return frame{}, io.EOF
	}
	if left := limit - s.pos; int64(len(s.have)) < min(left, frameMax) && !s.holdsFrame() {
		if s.buf == nil {
			s.buf = make([]byte, scanBuffer)
		}
		n, err := s.r.ReadAt(s.buf[:min(left, scanBuffer)], s.pos)
		if err != nil && !errors.Is(err, io.EOF) {
			return frame{}, err
		}
		s.have = s.buf[:n]
	}
	f, err := parseFrame(s.have, s.table)
	if err != nil {
		return f, err
	}
	s.have = s.have[f.size:]
	s.pos += f.size
	return f, nil
}

func (s *scanner) holdsFrame() bool {
	return len(s.have) >= frameHead && int64(len(s.have)) >= frameHead+int64(binary.LittleEndian.Uint32(s.have))
}
