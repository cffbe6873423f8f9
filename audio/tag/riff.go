package tag

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

const maxChunks = 256

// chunks visits the chunks of RIFF or IFF from at on. Sizes are padded to even.
func chunks(s *source, at, end int64, order binary.ByteOrder, visit func(kind string, at, size int64)) {
	for range maxChunks {
		h := s.peek(at, 8)
		if len(h) < 8 || at+8 > end {
			return
		}
		size := int64(order.Uint32(h[4:]))
		kind := string(h[:4])
		at += 8
		// Files over 4 GiB and streams have a wrong size of the last chunk.
		visit(kind, at, min(size, end-at))
		at += size + size&1
	}
}

// readWAV reads fmt, data, LIST INFO and id3 chunks.
func readWAV(s *source, t *Tags, raw fields) error {
	t.Container = WAV
	perSec, data := 0, int64(0)
	info := fields{}
	chunks(s, 12, s.size, binary.LittleEndian, func(kind string, at, size int64) {
		switch kind {
		case "fmt ":
			b := s.peek(at, 16)
			if len(b) < 16 || size < 16 {
				return
			}
			t.Codec = "pcm"
			if f := binary.LittleEndian.Uint16(b); f != 1 && f != 3 && f != 0xfffe {
				t.Codec = fmt.Sprintf("wav-%d", f)
			}
			t.Channels = int(binary.LittleEndian.Uint16(b[2:]))
			t.Rate = int(binary.LittleEndian.Uint32(b[4:]))
			perSec = int(binary.LittleEndian.Uint32(b[8:]))
			t.BitDepth = int(binary.LittleEndian.Uint16(b[14:]))
		case "data":
			data = size
		case "LIST":
			if string(s.peek(at, 4)) == "INFO" {
				chunks(s, at+4, at+size, binary.LittleEndian, func(kind string, at, size int64) {
					if key := infoKey(kind); key != "" && size <= maxText {
						v, _, _ := bytes.Cut(s.copy(at, int(size)), []byte{0})
						info.add(key, string(v))
					}
				})
			}
		case "id3 ", "ID3 ":
			readID3v2(s, at, at+size, t, raw)
		}
	})
	for key, values := range info {
		for _, v := range values {
			raw.missing(key, v)
		}
	}
	if t.Rate <= 0 || t.Channels == 0 {
		return fmt.Errorf("%w: WAVE without format", ErrCorrupt)
	}
	t.Duration = seconds(uint64(data), perSec)
	t.BitRate = perSec * 8
	return nil
}

func infoKey(kind string) string {
	switch kind {
	case "INAM":
		return "TITLE"
	case "IART":
		return "ARTIST"
	case "IPRD":
		return "ALBUM"
	case "ICRD":
		return "DATE"
	case "IGNR":
		return "GENRE"
	case "ICMT":
		return "COMMENT"
	case "ICOP":
		return "COPYRIGHT"
	case "ITRK", "IPRT":
		return "TRACKNUMBER"
	}
	return ""
}

// readAIFF reads COMM, the text chunks and ID3 chunks.
func readAIFF(s *source, t *Tags, raw fields) error {
	t.Container, t.Codec = AIFF, "pcm"
	chunks(s, 12, s.size, binary.BigEndian, func(kind string, at, size int64) {
		switch kind {
		case "COMM":
			b := s.peek(at, 22)
			if len(b) < 18 || size < 18 {
				return
			}
			t.Channels = int(binary.BigEndian.Uint16(b))
			t.BitDepth = int(binary.BigEndian.Uint16(b[6:]))
			t.Rate = extended(b[8:18])
			t.Duration = seconds(uint64(binary.BigEndian.Uint32(b[2:])), t.Rate)
		case "NAME", "AUTH", "(c) ", "ANNO":
			key := map[string]string{"NAME": "TITLE", "AUTH": "ARTIST", "(c) ": "COPYRIGHT", "ANNO": "COMMENT"}[kind]
			if size <= maxText {
				raw.missing(key, string(s.copy(at, int(size))))
			}
		case "ID3 ", "id3 ":
			readID3v2(s, at, at+size, t, raw)
		}
	})
	if t.Rate <= 0 || t.Channels == 0 {
		return fmt.Errorf("%w: AIFF without format", ErrCorrupt)
	}
	return nil
}

// extended reads an 80 bit float as a sample rate, 0 when it is none.
func extended(b []byte) int {
	exponent := int(binary.BigEndian.Uint16(b)&0x7fff) - 16383 - 63
	f := math.Ldexp(float64(binary.BigEndian.Uint64(b[2:])), exponent)
	if !(f >= 1 && f <= 1<<22) {
		return 0
	}
	return int(f)
}
