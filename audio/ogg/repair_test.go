package ogg_test

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"testing"

	"github.com/segue-music/segue/audio/ogg"
)

// overcount makes the comment header claim more comments than it has.
func overcount(t testing.TB, file []byte) []byte {
	t.Helper()
	b := bytes.Clone(file)
	at := bytes.Index(b, []byte("\x03vorbis"))
	if at < 0 {
		t.Fatal("no comment header")
	}
	vendor := int(b[at+7])
	b[at+11+vendor] = 11
	seal(b)
	return b
}

// doubled puts the three headers before the first audio packet again, as a
// tagger was seen to do.
func doubled(t testing.TB, file []byte) []byte {
	t.Helper()
	at := pagesOf(file)
	parts := func(i int) (head, lacing, body []byte) {
		page := file[at[i]:at[i+1]]
		n := int(page[26])
		return page[:26], page[27 : 27+n], page[27+n:]
	}
	_, identLacing, ident := parts(0)
	_, restLacing, rest := parts(1)
	head, lacing, body := parts(2)
	lacing = slices.Concat(identLacing, restLacing, lacing)
	b := slices.Concat(file[:at[2]], head, []byte{byte(len(lacing))}, lacing, ident, rest, body, file[at[3]:])
	seal(b)
	return b
}

func refused(t testing.TB, b []byte) bool {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-v", "error", "-xerror", "-f", "ogg", "-i", "pipe:0", "-f", "s16le", "pipe:1")
	cmd.Stdin = bytes.NewReader(b)
	return cmd.Run() != nil
}

func TestRepair(t *testing.T) {
	good := encode(t, qualities()[1], pcm(1.5))
	if _, err := ogg.Split(bytes.NewReader(overcount(t, good))); !errors.Is(err, ogg.ErrCorrupt) {
		t.Fatalf("the broken file splits: %v", err)
	}
	if !refused(t, doubled(t, good)) {
		t.Error("ffmpeg decodes the doubled header: there is nothing to repair")
	}
	for name, in := range map[string][]byte{"overcount": overcount(t, good), "doubled": doubled(t, good), "whole": good} {
		var out bytes.Buffer
		if err := ogg.Repair(&out, bytes.NewReader(in)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		s, err := ogg.Split(bytes.NewReader(out.Bytes()))
		if err != nil || s.Vorbis.Comments != 0 {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(decode(t, out.Bytes()), decode(t, good)) {
			t.Errorf("%s: other sound", name)
		}
	}
}

func TestRepair_bad(t *testing.T) {
	good := encode(t, qualities()[1], pcm(0.5))
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"empty":     {nil, ogg.ErrTruncated},
		"cut_off":   {good[:len(good)-5], ogg.ErrTruncated},
		"text":      {bytes.Repeat([]byte("x"), 100), ogg.ErrCorrupt},
		"chained":   {append(bytes.Clone(good), good...), ogg.ErrUnsupported},
		"no_vorbis": {ffmpeg(t, pcm(0.5), "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", "-c:a", "flac", "-f", "ogg", "pipe:1"), ogg.ErrUnsupported},
	} {
		if err := ogg.Repair(&bytes.Buffer{}, bytes.NewReader(tt.in)); !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
}

func FuzzRepair(f *testing.F) {
	good := encode(f, qualities()[1], pcm(0.3))
	f.Add(good)
	f.Add(overcount(f, good))
	f.Add(doubled(f, good))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		seal(b)
		var out bytes.Buffer
		if err := ogg.Repair(&out, bytes.NewReader(b)); err != nil {
			return
		}
		if err := ogg.Repair(&bytes.Buffer{}, bytes.NewReader(out.Bytes())); err != nil {
			t.Errorf("a repaired stream is refused: %v", err)
		}
	})
}
