package upload_test

import (
	"bytes"
	"encoding/binary"
	"os/exec"
	"slices"
	"testing"

	"github.com/segue-music/segue/services/upload"
)

// badlyTagged puts the headers of an Ogg Vorbis file before its first audio packet again,
// as a tagger was seen to do.
func badlyTagged(t *testing.T, file []byte) []byte {
	t.Helper()
	p := pages(t, file)
	first, second, audio := p[0], p[1], p[2]
	rest := file[len(first.raw)+len(second.raw)+len(audio.raw):]
	lacing := slices.Concat(first.lacing, second.lacing, audio.lacing)
	third := slices.Concat(audio.raw[:26], []byte{byte(len(lacing))}, lacing, first.body, second.body, audio.body)
	clear(third[22:26])
	crc := uint32(0) // RFC 3533, section 6
	for _, c := range third {
		crc ^= uint32(c) << 24
		for range 8 {
			if crc>>31 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint32(third[22:], crc)
	return slices.Concat(first.raw, second.raw, third, rest)
}

type page struct{ raw, lacing, body []byte }

// pages reads the first three pages of an Ogg file.
func pages(t *testing.T, b []byte) []page {
	t.Helper()
	var out []page
	for len(out) < 3 {
		if !bytes.HasPrefix(b, []byte("OggS")) {
			t.Fatal("no Ogg page")
		}
		body := 27 + int(b[26])
		end := body
		for _, l := range b[27:body] {
			end += int(l)
		}
		out = append(out, page{b[:end], b[27:body], b[body:end]})
		b = b[end:]
	}
	return out
}

func TestPipeline_MendsBadTaggers(t *testing.T) {
	w := newWorld(t)
	r := w.start(t)
	b := badlyTagged(t, makeAudio(t, "ogg", 4, 3, "-c:a", "libvorbis", "-page_duration", "20000", "-metadata", "title=Mended"))
	cmd := exec.Command("ffmpeg", "-v", "error", "-xerror", "-f", "ogg", "-i", "pipe:0", "-f", "s16le", "pipe:1")
	cmd.Stdin = bytes.NewReader(b)
	if cmd.Run() == nil {
		t.Fatal("ffmpeg decodes the file as it is: there is nothing to mend")
	}
	u := r.until(t, r.send(t, artist(), "a.ogg", b), in(upload.Complete, upload.Failed))
	if u.State != upload.Complete || u.Facts.Samples != 4*44100 {
		t.Errorf("%+v", u)
	}
}
