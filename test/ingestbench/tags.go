package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// song is what a file says about itself.
type song struct {
	title, album, date    string
	artists, albumArtists []string
	genres                []string
	track, tracks         int
	disc, discs           int
	cover                 []byte // JPEG, or nil
}

// fields are the song's tags by their Vorbis names.
func (s song) fields() [][2]string {
	out := [][2]string{
		{"TITLE", s.title}, {"ALBUM", s.album}, {"DATE", s.date}, {"TRACKNUMBER", fmt.Sprint(s.track)}, {"TRACKTOTAL", fmt.Sprint(s.tracks)},
		{"DISCNUMBER", fmt.Sprint(s.disc)}, {"DISCTOTAL", fmt.Sprint(s.discs)},
	}
	for name, list := range map[string][]string{"ARTIST": s.artists, "ALBUMARTIST": s.albumArtists, "GENRE": s.genres} {
		for _, v := range list {
			out = append(out, [2]string{name, v})
		}
	}
	return out
}

var errTemplate = errors.New("template file has another shape")

func be32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

// comments are a Vorbis comment header without framing (xiph.org/vorbis/doc/v-comment.html).
func (s song) comments() []byte {
	out := append(le32(5), "bench"...)
	fields := s.fields()
	out = append(out, le32(len(fields))...)
	for _, f := range fields {
		line := f[0] + "=" + f[1]
		out = append(append(out, le32(len(line))...), line...)
	}
	return out
}

// picture is the body of a FLAC PICTURE block (RFC 9639, section 8.8).
func picture(jpeg []byte) []byte {
	const mime = "image/jpeg"
	out := bytes.Join([][]byte{be32(3), be32(len(mime)), []byte(mime), be32(0), make([]byte, 16), be32(len(jpeg)), jpeg}, nil)
	return out
}

// flac puts tags into a FLAC file (RFC 9639, section 8): STREAMINFO, comments, picture, sound.
func flac(template []byte, s song) ([]byte, error) {
	if len(template) < 42 || string(template[:4]) != "fLaC" || template[4]&0x7f != 0 {
		return nil, errTemplate
	}
	at, last := 4, false
	for !last {
		if at+4 > len(template) {
			return nil, errTemplate
		}
		last = template[at]&0x80 != 0
		at += 4 + int(template[at+1])<<16 + int(template[at+2])<<8 + int(template[at+3])
	}
	if at > len(template) {
		return nil, errTemplate
	}
	block := func(kind byte, last bool, body []byte) []byte {
		if last {
			kind |= 0x80
		}
		return append([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
	}
	out := append([]byte("fLaC"), block(0, false, template[8:42])...)
	out = append(out, block(4, s.cover == nil, s.comments())...)
	if s.cover != nil {
		out = append(out, block(6, true, picture(s.cover))...)
	}
	return append(out, template[at:]...), nil
}

// mp3 puts an ID3v2.4 tag in front.
func mp3(template []byte, s song) ([]byte, error) {
	safe := func(n int) []byte {
		return []byte{byte(n >> 21 & 127), byte(n >> 14 & 127), byte(n >> 7 & 127), byte(n & 127)}
	}
	var body []byte
	frame := func(id string, content []byte) {
		body = append(body, id...)
		body = append(append(append(body, safe(len(content))...), 0, 0), content...)
	}
	text := func(id string, values ...string) {
		content := []byte{3} // UTF-8
		for i, v := range values {
			if i > 0 {
				content = append(content, 0)
			}
			content = append(content, v...)
		}
		frame(id, content)
	}
	text("TIT2", s.title)
	text("TPE1", s.artists...)
	text("TPE2", s.albumArtists...)
	text("TALB", s.album)
	text("TDRC", s.date)
	text("TRCK", fmt.Sprintf("%d/%d", s.track, s.tracks))
	text("TPOS", fmt.Sprintf("%d/%d", s.disc, s.discs))
	text("TCON", s.genres...)
	if s.cover != nil {
		frame("APIC", append([]byte("\x00image/jpeg\x00\x03\x00"), s.cover...))
	}
	body = append(body, make([]byte, 512)...) // padding, as taggers leave it
	return append(append(append([]byte("ID3\x04\x00\x00"), safe(len(body))...), body...), template...), nil
}

// mp4 appends udta/meta/ilst to the moov box at the end of the file.
func mp4(template []byte, s song) ([]byte, error) {
	at := 0
	for {
		if at+8 > len(template) {
			return nil, errTemplate
		}
		size := int(binary.BigEndian.Uint32(template[at:]))
		if string(template[at+4:at+8]) == "moov" {
			if at+size != len(template) {
				return nil, errTemplate // behind it lies what the index points to
			}
			break
		}
		if size < 8 {
			return nil, errTemplate
		}
		at += size
	}
	box := func(kind string, parts ...[]byte) []byte {
		body := bytes.Join(parts, nil)
		return append(append(be32(8+len(body)), kind...), body...)
	}
	data := func(kind int, value []byte) []byte { return box("data", be32(kind), be32(0), value) }
	text := func(kind, value string) []byte { return box(kind, data(1, []byte(value))) }
	pair := func(kind string, n, of int, more ...byte) []byte {
		return box(kind, data(0, append([]byte{0, 0, 0, byte(n), 0, byte(of)}, more...)))
	}
	items := [][]byte{text("\xa9nam", s.title), text("\xa9alb", s.album), text("\xa9day", s.date), pair("trkn", s.track, s.tracks, 0, 0), pair("disk", s.disc, s.discs)}
	for kind, list := range map[string][]string{"\xa9ART": s.artists, "aART": s.albumArtists, "\xa9gen": s.genres} {
		var values [][]byte
		for _, v := range list {
			values = append(values, data(1, []byte(v)))
		}
		items = append(items, box(kind, values...))
	}
	if s.cover != nil {
		items = append(items, box("covr", data(13, s.cover)))
	}
	handler := box("hdlr", be32(0), be32(0), []byte("mdirappl"), make([]byte, 9))
	udta := box("udta", box("meta", be32(0), handler, box("ilst", items...)))
	moov := append(append(be32(len(template)-at+len(udta)), template[at+4:]...), udta...)
	return append(bytes.Clone(template[:at]), moov...), nil
}

// vorbis replaces the comment header of an Ogg Vorbis file: its second and third packet
// are laid onto new pages, and the pages of sound behind get new numbers.
func vorbis(template []byte, s song) ([]byte, error) {
	pages, err := oggPages(template)
	if err != nil || len(pages) < 3 {
		return nil, errors.Join(err, errTemplate)
	}
	var headers [][]byte
	var part []byte
	n := 1
	for ; n < len(pages) && len(headers) < 2; n++ {
		p := pages[n]
		lacing, body := p[27:27+int(p[26])], p[27+int(p[26]):]
		for _, l := range lacing {
			part, body = append(part, body[:l]...), body[l:]
			if l < 255 {
				headers, part = append(headers, part), nil
			}
		}
	}
	if len(headers) != 2 || part != nil {
		return nil, errTemplate
	}
	comment := append([]byte("\x03vorbis"), s.comments()...)
	if s.cover != nil {
		comment = comment[:7]
		withArt := s.comments()
		line := "METADATA_BLOCK_PICTURE=" + base64.StdEncoding.EncodeToString(picture(s.cover))
		binary.LittleEndian.PutUint32(withArt[9:], binary.LittleEndian.Uint32(withArt[9:])+1)
		comment = append(append(append(comment, withArt...), le32(len(line))...), line...)
	}
	comment = append(comment, 1)
	out := bytes.Clone(pages[0])
	serial, sequence := pages[0][14:18], uint32(1)
	page := func(granule []byte, flags byte, lacing, body []byte) {
		p := append([]byte("OggS\x00"), flags)
		p = append(append(append(p, granule...), serial...), le32(int(sequence))...)
		p = append(append(append(append(p, 0, 0, 0, 0), byte(len(lacing))), lacing...), body...)
		binary.LittleEndian.PutUint32(p[22:], oggCRC(p))
		out = append(out, p...)
		sequence++
	}
	var lacing, body []byte
	for _, packet := range [][]byte{comment, headers[1]} {
		for rest := len(packet); ; rest -= 255 {
			lacing = append(lacing, byte(min(rest, 255)))
			if rest < 255 {
				break
			}
		}
		body = append(body, packet...)
	}
	flags := byte(0)
	for len(lacing) > 0 {
		k, size := min(len(lacing), 255), 0
		for _, l := range lacing[:k] {
			size += int(l)
		}
		page(make([]byte, 8), flags, lacing[:k], body[:size])
		flags = 0
		if lacing[k-1] == 255 {
			flags = 1 // the next page goes on with a packet
		}
		lacing, body = lacing[k:], body[size:]
	}
	for _, p := range pages[n:] {
		segments := int(p[26])
		page(p[6:14], p[5], p[27:27+segments], p[27+segments:])
	}
	return out, nil
}

func oggPages(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		if len(b) < 27 || string(b[:4]) != "OggS" || len(b) < 27+int(b[26]) {
			return nil, errTemplate
		}
		size := 27 + int(b[26])
		for _, l := range b[27:size] {
			size += int(l)
		}
		if size > len(b) {
			return nil, errTemplate
		}
		out, b = append(out, b[:size]), b[size:]
	}
	return out, nil
}

// oggCRC is that of RFC 3533, section 6.
func oggCRC(page []byte) uint32 {
	crc := uint32(0)
	for _, b := range page {
		crc ^= uint32(b) << 24
		for range 8 {
			if crc&0x80000000 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
