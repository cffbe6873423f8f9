package tag

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/segue-music/segue/audio/ogg"
)

// maxCommentBlock bounds a Vorbis comment block, with pictures in base64.
const maxCommentBlock = 8 << 20

// readComments parses a Vorbis comment block (Vorbis I, section 5.2.1). One that
// breaks off gives what came before.
func readComments(b []byte, t *Tags, raw fields) {
	next := func() ([]byte, bool) {
		if len(b) < 4 {
			return nil, false
		}
		n := binary.LittleEndian.Uint32(b)
		if uint64(n) > uint64(len(b)-4) {
			return nil, false
		}
		f := b[4 : 4+n]
		b = b[4+n:]
		return f, true
	}
	if _, ok := next(); !ok || len(b) < 4 { // the vendor
		return
	}
	count := binary.LittleEndian.Uint32(b)
	b = b[4:]
	for range count {
		f, ok := next()
		if !ok {
			return
		}
		key, value, ok := strings.Cut(string(f[:min(len(f), 4*maxLyrics)]), "=")
		if !ok {
			continue
		}
		if strings.EqualFold(key, "METADATA_BLOCK_PICTURE") {
			t.commentPicture(string(f[len(key)+1:]))
			continue
		}
		raw.add(key, value)
	}
}

// readFLAC: RFC 9639, section 8.
func readFLAC(s *source, off int64, t *Tags, raw fields) error {
	t.Container, t.Codec = FLAC, "flac"
	at := off + 4
	for i := range 128 {
		h := s.peek(at, 4)
		if len(h) < 4 {
			break
		}
		last, kind := h[0]&0x80 != 0, h[0]&0x7f
		n := int64(h[1])<<16 | int64(h[2])<<8 | int64(h[3])
		body := at + 4
		if i == 0 && (kind != 0 || !t.streamInfo(s.peek(body, 34))) {
			return fmt.Errorf("%w: FLAC without stream info", ErrCorrupt)
		}
		switch kind {
		case 4:
			if n <= maxCommentBlock {
				readComments(s.copy(body, int(n)), t, raw)
			}
		case 6:
			if p, data, ok := flacPicture(s.peek(body, int(min(n, 2048))), n); ok {
				p.offset = body + data
				t.addPicture(p)
			}
		}
		at = body + n
		if last {
			break
		}
	}
	if t.Rate == 0 {
		return fmt.Errorf("%w: FLAC without stream info", ErrCorrupt)
	}
	t.BitRate = perSecond(s.size-at, t.Duration)
	return nil
}

// streamInfo: RFC 9639, section 8.2.
func (t *Tags) streamInfo(b []byte) bool {
	if len(b) < 18 {
		return false
	}
	v := binary.BigEndian.Uint64(b[10:])
	t.Rate = int(v >> 44)
	t.Channels = int(v>>41&7) + 1
	t.BitDepth = int(v>>36&31) + 1
	t.Duration = seconds(v&(1<<36-1), t.Rate)
	return t.Rate > 0
}

// readOgg reads the first logical stream: Vorbis, Opus (RFC 7845) or FLAC (RFC
// 9639, section 10.1).
func readOgg(s *source, t *Tags, raw fields) error {
	t.Container = Ogg
	pages := ogg.NewReader(&section{s: s})
	var packets [][]byte
	var part []byte
	var serial uint32
	size := 0
	for len(packets) < 2 {
		p, err := pages.Next()
		if err != nil {
			// A comment packet that breaks off may hold tags before that.
			if len(packets) == 1 && len(part) > 0 {
				packets = append(packets, part)
				break
			}
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		if packets == nil {
			serial = p.Serial
		} else if p.Serial != serial {
			continue
		}
		if size += len(p.Raw); size > maxCommentBlock {
			packets = append(packets, part)
			break
		}
		err = p.Packets(func(piece []byte, whole bool) error {
			part = append(part, piece...)
			if whole {
				packets, part = append(packets, part), nil
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	head, comment := packets[0], packets[1]
	var skip uint64
	var clock int
	switch {
	case len(head) >= 30 && string(head[:7]) == "\x01vorbis":
		t.Codec, t.Channels = "vorbis", int(head[11])
		t.Rate = int(binary.LittleEndian.Uint32(head[12:]))
		clock = t.Rate
		comment = trimPrefix(comment, "\x03vorbis")
	case len(head) >= 19 && string(head[:8]) == "OpusHead":
		t.Codec, t.Channels, t.Rate, clock = "opus", int(head[9]), 48000, 48000
		skip = uint64(binary.LittleEndian.Uint16(head[10:]))
		comment = trimPrefix(comment, "OpusTags")
	case len(head) >= 9+42 && string(head[:5]) == "\x7fFLAC":
		t.Codec = "flac"
		t.streamInfo(head[17:])
		clock = t.Rate
		comment = comment[min(4, len(comment)):]
	default:
		return fmt.Errorf("%w: Ogg codec", ErrUnknown)
	}
	readComments(comment, t, raw)
	if end := lastGranule(s, serial); end > skip {
		t.Duration = seconds(end-skip, clock)
	}
	return nil
}

func trimPrefix(b []byte, prefix string) []byte {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil
	}
	return b[len(prefix):]
}

// lastGranule looks for the last page of the stream in the last pages' reach.
func lastGranule(s *source, serial uint32) uint64 {
	for _, reach := range []int{blockSize, ogg.MaxPageSize + blockSize} {
		from := max(s.size-int64(reach), 0)
		b := s.peek(from, reach)
		for i := len(b) - 27; i >= 0; i-- {
			if b[i] != 'O' || string(b[i:i+4]) != "OggS" || binary.LittleEndian.Uint32(b[i+14:]) != serial {
				continue
			}
			if g := binary.LittleEndian.Uint64(b[i+6:]); g < 1<<62 {
				return g
			}
		}
	}
	return 0
}

// section reads a source from the start.
type section struct {
	s   *source
	off int64
}

func (r *section) Read(p []byte) (int, error) {
	n := copy(p, r.s.peek(r.off, len(p)))
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	r.off += int64(n)
	return n, nil
}
