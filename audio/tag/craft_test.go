package tag_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// The files of the tests are made by hand, so that every odd byte is meant.

func be32(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func le32(n int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(n)) }

func safe32(n int) []byte {
	return []byte{byte(n >> 21 & 127), byte(n >> 14 & 127), byte(n >> 7 & 127), byte(n & 127)}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// id3tag wraps frames; flags are those of the header.
func id3tag(version, flags byte, frames ...[]byte) []byte {
	body := join(frames...)
	return join([]byte{'I', 'D', '3', version, 0, flags}, safe32(len(body)), body)
}

func frame(version byte, id string, body []byte) []byte {
	switch version {
	case 2:
		return join([]byte(id), []byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body)
	case 3:
		return join([]byte(id), be32(len(body)), []byte{0, 0}, body)
	}
	return join([]byte(id), safe32(len(body)), []byte{0, 0}, body)
}

func text(enc byte, s string) []byte {
	switch enc {
	case 1, 2:
		out := []byte{enc}
		if enc == 1 {
			out = append(out, 0xff, 0xfe)
		}
		for _, u := range utf16.Encode([]rune(s)) {
			if enc == 1 {
				out = append(out, byte(u), byte(u>>8))
			} else {
				out = append(out, byte(u>>8), byte(u))
			}
		}
		return out
	case 0:
		out := []byte{0}
		for _, r := range s {
			out = append(out, byte(r))
		}
		return out
	}
	return append([]byte{enc}, s...)
}

// mpegFrames are n silent frames of MPEG-1 layer III, 128 kbit/s, 44.1 kHz
// stereo: 417 bytes, 1152 samples each.
func mpegFrames(n int) []byte {
	one := make([]byte, 417)
	copy(one, []byte{0xff, 0xfb, 0x90, 0x00})
	return bytes.Repeat(one, n)
}

// xing makes the first frame say that n follow.
func xing(n int) []byte {
	one := mpegFrames(1)
	copy(one[36:], "Xing\x00\x00\x00\x01")
	copy(one[44:], be32(n))
	return one
}

func comments(pairs ...string) []byte {
	out := join(le32(4), []byte("test"), le32(len(pairs)))
	for _, p := range pairs {
		out = join(out, le32(len(p)), []byte(p))
	}
	return out
}

func flacBlock(last bool, kind byte, body []byte) []byte {
	if last {
		kind |= 0x80
	}
	return join([]byte{kind, byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body)
}

func streamInfo(rate, channels, bits int, samples uint64) []byte {
	b := make([]byte, 34)
	v := uint64(rate)<<44 | uint64(channels-1)<<41 | uint64(bits-1)<<36 | samples
	binary.BigEndian.PutUint64(b[10:], v)
	return b
}

func pictureBlock(kind int, mime, desc string, data []byte) []byte {
	return join(be32(kind), be32(len(mime)), []byte(mime), be32(len(desc)), []byte(desc), make([]byte, 16), be32(len(data)), data)
}

func flacFile(blocks ...[]byte) []byte {
	out := join([]byte("fLaC"), flacBlock(len(blocks) == 0, 0, streamInfo(44100, 2, 16, 441000)))
	return join(append([][]byte{out}, blocks...)...)
}

// oggPage makes a page with one packet.
func oggPage(kind byte, granule uint64, sequence int, packet []byte) []byte {
	var lacing []byte
	for n := len(packet); ; n -= 255 {
		lacing = append(lacing, byte(min(n, 255)))
		if n < 255 {
			break
		}
	}
	b := join([]byte("OggS\x00"), []byte{kind}, binary.LittleEndian.AppendUint64(nil, granule), le32(77), le32(sequence),
		make([]byte, 4), []byte{byte(len(lacing))}, lacing, packet)
	crc := uint32(0)
	for _, c := range b {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc>>31 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint32(b[22:], crc)
	return b
}

func opusFile(pairs ...string) []byte {
	head := join([]byte("OpusHead\x01\x02"), []byte{0x38, 0x01}, le32(44100), []byte{0, 0, 0})
	return join(oggPage(2, 0, 0, head), oggPage(0, 0, 1, join([]byte("OpusTags"), comments(pairs...))), oggPage(4, 48000*3+0x138, 2, make([]byte, 100)))
}

func vorbisFile(pairs ...string) []byte {
	head := join([]byte("\x01vorbis"), le32(0), []byte{1}, le32(22050), make([]byte, 12), []byte{0xb8, 1})
	return join(oggPage(2, 0, 0, head), oggPage(0, 0, 1, join([]byte("\x03vorbis"), comments(pairs...), []byte{1})), oggPage(4, 22050*2, 2, make([]byte, 100)))
}

func box(kind string, parts ...[]byte) []byte {
	body := join(parts...)
	return join(be32(8+len(body)), []byte(kind), body)
}

func data(format int, b []byte) []byte { return box("data", be32(format), be32(0), b) }

func freeform(name string, values ...string) []byte {
	parts := [][]byte{box("mean", be32(0), []byte("com.apple.iTunes")), box("name", be32(0), []byte(name))}
	for _, v := range values {
		parts = append(parts, data(1, []byte(v)))
	}
	return box("----", parts...)
}

// mp4File has moov after mdat when late.
func mp4File(late bool, items ...[]byte) []byte {
	entry := make([]byte, 28)
	binary.BigEndian.PutUint16(entry[16:], 2)
	binary.BigEndian.PutUint16(entry[18:], 16)
	binary.BigEndian.PutUint32(entry[24:], 44100<<16)
	trak := box("trak", box("mdia",
		box("mdhd", be32(0), be32(0), be32(0), be32(44100), be32(44100*4), be32(0)),
		box("hdlr", be32(0), be32(0), []byte("soun"), make([]byte, 12)),
		box("minf", box("stbl", box("stsd", be32(0), be32(1), box("mp4a", entry, make([]byte, 20))))),
	))
	moov := box("moov", trak, box("udta", box("meta", be32(0), box("hdlr", make([]byte, 25)), box("ilst", items...))))
	head, media := box("ftyp", []byte("M4A \x00\x00\x00\x00")), box("mdat", make([]byte, 64000))
	if late {
		return join(head, media, moov)
	}
	return join(head, moov, media)
}

func wavFile(chunks ...[]byte) []byte {
	body := join([]byte("WAVE"), []byte("fmt "), le32(16), []byte{1, 0, 2, 0}, le32(44100), le32(176400), []byte{4, 0, 16, 0},
		[]byte("data"), le32(176400), make([]byte, 176400), join(chunks...))
	return join([]byte("RIFF"), le32(len(body)), body)
}

func base64Picture() string {
	return "METADATA_BLOCK_PICTURE=" + base64.StdEncoding.EncodeToString(pictureBlock(3, "image/png", "front", []byte("PNGDATA")))
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
