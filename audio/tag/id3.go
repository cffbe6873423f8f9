package tag

import (
	"bytes"
	"encoding/binary"
	"strings"
)

const (
	// maxTagInMemory bounds a tag that has to be read whole, since it is
	// unsynchronised as a whole (ID3v2.2 and 2.3).
	maxTagInMemory = 8 << 20
	maxFrames      = 1024
	maxTextFrame   = 256 << 10
	maxPictureHead = 2 << 10
)

// id3 is one ID3v2 tag: its frames lie in a source, at offsets from base.
type id3 struct {
	s       *source
	version byte
	copied  bool // the source is a copy in memory, not the file
	t       *Tags
	raw     fields
}

// readID3v2 reads the tag at off and returns where it ends: off when there is
// none. The tag may not reach past limit.
func readID3v2(s *source, off, limit int64, t *Tags, raw fields) int64 {
	h := s.peek(off, 10)
	if len(h) < 10 || string(h[:3]) != "ID3" || h[3] < 2 || h[3] > 4 || h[4] == 0xff {
		return off
	}
	version, flags := h[3], h[5]
	n, ok := syncsafe(h[6:])
	if !ok {
		return off
	}
	start, end := off+10, min(off+10+int64(n), limit)
	after := end
	if version == 4 && flags&0x10 != 0 {
		after += 10 // the footer
	}
	if version == 2 && flags&0x40 != 0 {
		return after // compressed, by no known method
	}
	d := &id3{s: s, version: version, t: t, raw: raw}
	if flags&0x80 != 0 && version < 4 {
		b := synchronise(s.copy(start, int(min(end-start, maxTagInMemory))))
		d.s, d.copied = &source{r: bytes.NewReader(b), size: int64(len(b))}, true
		start, end = 0, int64(len(b))
	}
	if flags&0x40 != 0 {
		start += d.extendedHeader(start)
	}
	d.frames(start, end)
	return after
}

func (d *id3) extendedHeader(at int64) int64 {
	h := d.s.peek(at, 4)
	if len(h) < 4 {
		return 0
	}
	if d.version == 4 { // its size counts itself
		n, _ := syncsafe(h)
		return int64(n)
	}
	return int64(binary.BigEndian.Uint32(h)) + 4
}

// syncsafe reads 28 bits in four bytes.
func syncsafe(b []byte) (uint32, bool) {
	if len(b) < 4 || (b[0]|b[1]|b[2]|b[3])&0x80 != 0 {
		return 0, false
	}
	return uint32(b[0])<<21 | uint32(b[1])<<14 | uint32(b[2])<<7 | uint32(b[3]), true
}

// synchronise undoes unsynchronisation: FF 00 stands for FF.
func synchronise(b []byte) []byte {
	return bytes.ReplaceAll(b, []byte{0xff, 0}, []byte{0xff})
}

func (d *id3) frames(at, end int64) {
	for range maxFrames {
		id, n, flags, head := d.frameHeader(at, end)
		body := at + head
		if id == "" || n < 0 || body+n > end {
			return
		}
		at = body + n
		d.frame(id, body, n, flags)
	}
}

// frameHeader returns the id and the flags in ID3v2.4's order.
func (d *id3) frameHeader(at, end int64) (id string, n int64, flags uint16, head int64) {
	letters := 4
	head = 10
	if d.version == 2 {
		letters, head = 3, 6
	}
	h := d.s.peek(at, int(head))
	if int64(len(h)) < head || at+head > end || !isFrameID(h[:letters]) {
		return "", 0, 0, head
	}
	if d.version == 2 {
		return string(h[:3]), int64(h[3])<<16 | int64(h[4])<<8 | int64(h[5]), 0, head
	}
	id = string(h[:4])
	plain := int64(binary.BigEndian.Uint32(h[4:]))
	n = plain
	flags = binary.BigEndian.Uint16(h[8:])
	if d.version == 3 {
		return id, n, flags&0xe0>>4&0x0c | flags&0x20<<1, head
	}
	safe, ok := syncsafe(h[4:])
	if ok {
		n = int64(safe)
	}
	// Old iTunes wrote plain sizes into ID3v2.4: believe them where only they
	// lead to a next frame.
	if plain != n && !d.frameAt(at+head+n, end) && d.frameAt(at+head+plain, end) {
		n = plain
	}
	return id, n, flags, head
}

// frameAt reports whether a frame, padding or the end is at off.
func (d *id3) frameAt(off, end int64) bool {
	if off == end {
		return true
	}
	b := d.s.peek(off, 4)
	return off < end && len(b) == 4 && (isFrameID(b) || b[0]|b[1]|b[2]|b[3] == 0)
}

func isFrameID(b []byte) bool {
	for _, c := range b {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(b) > 0
}

// Frame flags of ID3v2.4, section 4.1.2.
const (
	frameGrouped    = 0x40
	frameCompressed = 0x08
	frameEncrypted  = 0x04
	frameUnsync     = 0x02
	frameLength     = 0x01
)

func (d *id3) frame(id string, at, n int64, flags uint16) {
	if flags&(frameCompressed|frameEncrypted) != 0 {
		return
	}
	if flags&frameGrouped != 0 {
		at, n = at+1, n-1
	}
	if d.version == 4 && flags&frameLength != 0 {
		at, n = at+4, n-4
	}
	if n < 2 {
		return
	}
	unsync := d.version == 4 && flags&frameUnsync != 0
	if id == "APIC" || id == "PIC" {
		d.picture(id, at, n, unsync)
		return
	}
	if n > maxTextFrame {
		return
	}
	b := d.s.copy(at, int(n))
	if unsync {
		b = synchronise(b)
	}
	if len(b) < 2 {
		return
	}
	switch {
	case id == "TXXX" || id == "TXX":
		if v := textValues(b[0], b[1:]); len(v) > 1 {
			for _, s := range v[1:] {
				d.raw.add(v[0], s)
			}
		}
	case id == "COMM" || id == "COM":
		d.language("COMMENT", b)
	case id == "USLT" || id == "ULT":
		d.language("LYRICS", b)
	case id == "UFID" || id == "UFI":
		if owner, value, ok := strings.Cut(string(b), "\x00"); ok && owner == "http://musicbrainz.org" {
			d.raw.add("MUSICBRAINZTRACKID", value)
		}
	case id == "WCOP" || id == "WCP":
		d.raw.add("LICENSE", latin1(bytes.TrimRight(b, "\x00")))
	case id[0] == 'T':
		d.textFrame(id, textValues(b[0], b[1:]))
	}
}

// language reads COMM and USLT: encoding, language, description, text.
func (d *id3) language(key string, b []byte) {
	if len(b) < 5 {
		return
	}
	v := textValues(b[0], b[4:])
	if len(v) < 2 {
		return
	}
	// iTunes keeps numbers of its own under descriptions of its own.
	if strings.HasPrefix(v[0], "iTun") {
		return
	}
	if v[0] == "" {
		d.raw[key] = append([]string{v[1]}, d.raw[key]...)
		return
	}
	d.raw.add(key, v[1])
}

func (d *id3) textFrame(id string, values []string) {
	key, ok := frameKey(id)
	if !ok {
		return
	}
	for _, v := range values {
		if key == "GENRE" {
			for _, g := range genreNames(v) {
				d.raw.add(key, g)
			}
			continue
		}
		if key == "DATE" && id != "TDRC" {
			d.raw.missing(key, v)
			continue
		}
		d.raw.add(key, v)
	}
}

// frameKey gives the fields key of a text frame of ID3v2.2, 2.3 or 2.4.
func frameKey(id string) (string, bool) {
	switch id {
	case "TIT2", "TT2":
		return "TITLE", true
	case "TPE1", "TP1":
		return "ARTIST", true
	case "TPE2", "TP2":
		return "ALBUMARTIST", true
	case "TALB", "TAL":
		return "ALBUM", true
	case "TCOM", "TCM":
		return "COMPOSER", true
	case "TCON", "TCO":
		return "GENRE", true
	case "TRCK", "TRK":
		return "TRACKNUMBER", true
	case "TPOS", "TPA":
		return "DISCNUMBER", true
	case "TDRC", "TYER", "TYE", "TDRL":
		return "DATE", true
	case "TDOR", "TORY", "TOR":
		return "ORIGINALDATE", true
	case "TCMP", "TCP":
		return "COMPILATION", true
	case "TSRC", "TRC":
		return "ISRC", true
	case "TPUB", "TPB":
		return "LABEL", true
	case "TCOP", "TCR":
		return "COPYRIGHT", true
	}
	return "", false
}

// textValues decodes a text of ID3v2 and splits it at its NULs.
func textValues(encoding byte, b []byte) []string {
	var out []string
	switch encoding {
	case 1, 2:
		big := encoding == 2
		for len(b) > 0 {
			end := len(b)
			for i := 0; i+1 < len(b); i += 2 {
				if b[i] == 0 && b[i+1] == 0 {
					end = i
					break
				}
			}
			// A byte order mark holds for the values after it that have none.
			if end >= 2 && b[0] == 0xfe && b[1] == 0xff {
				big = true
			} else if end >= 2 && b[0] == 0xff && b[1] == 0xfe {
				big = false
			}
			out = append(out, utf16Text(b[:end], big))
			if end == len(b) {
				return out
			}
			b = b[min(end+2, len(b)):]
		}
	default:
		for part := range bytes.SplitSeq(b, []byte{0}) {
			if encoding == 3 {
				out = append(out, string(part))
			} else {
				out = append(out, latin1(part))
			}
		}
		if len(out) > 1 && out[len(out)-1] == "" {
			out = out[:len(out)-1]
		}
	}
	return out[:min(len(out), maxValues)]
}

// picture locates the data of APIC (encoding, MIME, kind, description) or PIC
// (encoding, three letters, kind, description).
func (d *id3) picture(id string, at, n int64, unsync bool) {
	b := d.s.peek(at, int(min(n, maxPictureHead)))
	if len(b) < 6 {
		return
	}
	p := Picture{unsync: unsync}
	encoding, off := b[0], 4
	if id == "PIC" {
		p.MIME = "image/" + strings.ToLower(latin1(b[1:4]))
	} else {
		end := bytes.IndexByte(b[1:], 0)
		if end < 0 {
			return
		}
		p.MIME = latin1(b[1 : 1+end])
		off = end + 2
	}
	if off >= len(b) {
		return
	}
	p.Kind = int(b[off])
	off++
	text, ok := terminated(b[off:], encoding)
	if !ok {
		return
	}
	if v := textValues(encoding, b[off:off+text]); len(v) > 0 {
		p.Description = v[0]
	}
	p.offset, p.Size = at+int64(off+text), n-int64(off+text)
	if d.copied {
		p.data = d.s.copy(p.offset, int(p.Size))
	}
	d.t.addPicture(p)
}

// terminated returns the length of a NUL-terminated text with its NUL.
func terminated(b []byte, encoding byte) (int, bool) {
	if encoding != 1 && encoding != 2 {
		i := bytes.IndexByte(b, 0)
		return i + 1, i >= 0
	}
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			return i + 2, true
		}
	}
	return 0, false
}

// readID3v1 fills what stronger tags left empty, and returns the size of the
// tag: 128 or 0.
func readID3v1(s *source, raw fields) int64 {
	b := s.peek(s.size-128, 128)
	if len(b) < 128 || string(b[:3]) != "TAG" {
		return 0
	}
	text := func(from, to int) string {
		v, _, _ := bytes.Cut(b[from:to], []byte{0})
		return strings.TrimSpace(latin1(v))
	}
	raw.missing("TITLE", text(3, 33))
	raw.missing("ARTIST", text(33, 63))
	raw.missing("ALBUM", text(63, 93))
	raw.missing("DATE", text(93, 97))
	raw.missing("COMMENT", text(97, 127))
	if b[125] == 0 && b[126] != 0 { // ID3v1.1
		raw.missing("TRACKNUMBER", decimalText(int(b[126])))
	}
	if names := genres(); int(b[127]) < len(names) {
		raw.missing("GENRE", names[b[127]])
	}
	return 128
}
