package ogg_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
)

// seal puts the right CRC on every page of b, so that the fuzzer gets past it.
func seal(b []byte) {
	for off := 0; off+27 <= len(b); {
		n := int(b[off+26])
		end := off + 27 + n
		if end > len(b) {
			return
		}
		for _, l := range b[off+27 : end] {
			end += int(l)
		}
		if end > len(b) {
			return
		}
		page := b[off:end]
		copy(page[22:], []byte{0, 0, 0, 0})
		crc := uint32(0)
		for _, c := range page {
			crc ^= uint32(c) << 24
			for range 8 {
				if crc>>31 != 0 {
					crc = crc<<1 ^ 0x04c11db7
				} else {
					crc <<= 1
				}
			}
		}
		binary.LittleEndian.PutUint32(page[22:], crc)
		off = end
	}
}

func FuzzSplit(f *testing.F) {
	for _, q := range qualities()[:2] {
		f.Add(encode(f, q, pcm(0.6)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		seal(b)
		s, err := ogg.Split(bytes.NewReader(b))
		if err != nil {
			return
		}
		all := bytes.Clone(s.Setup)
		sum := uint64(0)
		for i, r := range s.Records {
			all = append(all, r.Pages...)
			sum += uint64(r.Samples)
			if i == 0 {
				continue
			}
			if at, err := s.Vorbis.JoinSample(r.Pages); err != nil || at != r.JoinSample {
				t.Errorf("record %d joins at %d (%v), want %d", i, at, err, r.JoinSample)
			}
		}
		if !bytes.Equal(all, b) || sum != s.TotalSamples {
			t.Error("records are not the stream")
		}
	})
}
