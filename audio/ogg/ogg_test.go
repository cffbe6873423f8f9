package ogg_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segue-music/segue/audio/ogg"
)

// quality is one of the four renditions that Segue makes.
type quality struct {
	name     string
	rate     int
	channels int
	args     []string
}

func qualities() []quality {
	stereo := func(kbit string) quality {
		return quality{kbit, 44100, 2, []string{"-ac", "2", "-ar", "44100", "-b:a", kbit + "k"}}
	}
	return []quality{
		{"24", 22050, 1, []string{"-ac", "1", "-ar", "22050", "-b:a", "24k", "-minrate", "24k", "-maxrate", "24k"}},
		stereo("96"), stereo("160"), stereo("320"),
	}
}

// pcm makes stereo sound with attacks, so that short blocks occur too.
func pcm(seconds float64) []byte {
	n := int(seconds * 44100)
	out := make([]byte, 0, n*4)
	seed := uint32(1)
	for i := range n {
		t := float64(i) / 44100
		click := math.Exp(-math.Mod(t, 0.37) * 60)
		seed = seed*1664525 + 1013904223
		noise := float64(int32(seed)) / (1 << 31)
		l := 0.4*math.Sin(2*math.Pi*440*t) + 0.5*click*noise
		r := 0.4*math.Sin(2*math.Pi*(300+50*t)*t) + 0.5*click*noise
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(l*32000)))
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(r*32000)))
	}
	return out
}

func ffmpeg(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v\n%s", err, &stderr)
	}
	return out
}

func encode(t testing.TB, q quality, in []byte) []byte {
	args := []string{"-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", "-map", "0:a", "-map_metadata", "-1",
		"-fflags", "+bitexact", "-flags:a", "+bitexact", "-c:a", "libvorbis"}
	args = append(args, q.args...)
	return ffmpeg(t, in, append(args, "-page_duration", "250000", "-f", "ogg", "pipe:1")...)
}

func decode(t testing.TB, in []byte) []byte {
	return ffmpeg(t, in, "-f", "ogg", "-i", "pipe:0", "-f", "s16le", "-c:a", "pcm_s16le", "pipe:1")
}

func TestSplit_Real(t *testing.T) {
	for _, q := range qualities() {
		for _, seconds := range []float64{6.1, 5.01, 0.3, 0.05} {
			t.Run(q.name+"/"+strconv.FormatFloat(seconds, 'g', -1, 64)+"s", func(t *testing.T) {
				t.Parallel()
				file := encode(t, q, pcm(seconds))
				s, err := ogg.Split(bytes.NewReader(file))
				if err != nil {
					t.Fatal(err)
				}
				checkStream(t, s, file)
				if s.Vorbis.Rate != q.rate || s.Vorbis.Channels != q.channels {
					t.Errorf("%d Hz, %d channels", s.Vorbis.Rate, s.Vorbis.Channels)
				}
				// The resampler rounds up.
				if want := uint64(int(seconds*44100)*q.rate+44099) / 44100; s.TotalSamples != want {
					t.Errorf("total samples %d, want %d", s.TotalSamples, want)
				}
				checkJoins(t, s, decode(t, file))
			})
		}
	}
}

// checkStream holds s against the promises of Split.
func checkStream(t *testing.T, s *ogg.Stream, file []byte) {
	t.Helper()
	all := bytes.Clone(s.Setup)
	sum := uint64(0)
	for i, r := range s.Records {
		all = append(all, r.Pages...)
		if r.FirstSample != sum {
			t.Errorf("record %d begins at %d, want %d", i, r.FirstSample, sum)
		}
		if len(s.Records) > 1 && int(r.Samples) < s.Vorbis.Rate/5 {
			t.Errorf("record %d has %d samples", i, r.Samples)
		}
		if int(r.Samples) > s.Vorbis.Rate {
			t.Errorf("record %d has %d samples", i, r.Samples)
		}
		sum += uint64(r.Samples)
	}
	if !bytes.Equal(all, file) {
		t.Error("setup and records are not the file")
	}
	if sum != s.TotalSamples {
		t.Errorf("records hold %d samples, stream %d", sum, s.TotalSamples)
	}
}

// checkJoins proves by ffmpeg's decoder that decoding from a record gives the
// samples of the whole decode from JoinSample on, bit for bit.
func checkJoins(t *testing.T, s *ogg.Stream, whole []byte) {
	t.Helper()
	frame := 2 * s.Vorbis.Channels
	// ffmpeg does not cut the end of a stream of one audio page; players cut at
	// TotalSamples themselves.
	if got := uint64(len(whole) / frame); got != s.TotalSamples && (len(s.Records) != 1 || got <= s.TotalSamples) {
		t.Errorf("ffmpeg decodes %d samples, stream has %d", got, s.TotalSamples)
	}
	joins := []int{1, 2, len(s.Records) / 2, len(s.Records) - 2, len(s.Records) - 1}
	for _, n := range joins {
		if n < 1 || n >= len(s.Records) {
			continue
		}
		from := bytes.Clone(s.Setup)
		for _, r := range s.Records[n:] {
			from = append(from, r.Pages...)
		}
		rec := s.Records[n]
		client, err := s.Vorbis.JoinSample(rec.Pages)
		if err != nil || client != rec.JoinSample {
			t.Errorf("record %d: client finds %d (%v), splitter %d", n, client, err, rec.JoinSample)
		}
		if rec.JoinSample <= rec.FirstSample || rec.JoinSample > rec.FirstSample+4096 {
			t.Errorf("record %d at %d joins at %d", n, rec.FirstSample, rec.JoinSample)
		}
		want := whole[rec.JoinSample*uint64(frame):]
		got := decode(t, from)
		if !bytes.Equal(got, want) {
			t.Errorf("record %d of %d: %d bytes of PCM, want %d, or other samples", n, len(s.Records), len(got), len(want))
		}
	}
}

func TestStream_RecordAt(t *testing.T) {
	s, err := ogg.Split(bytes.NewReader(encode(t, qualities()[1], pcm(3))))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range s.Records {
		if got := s.RecordAt(r.JoinSample); got != i {
			t.Errorf("RecordAt(%d) = %d, want %d", r.JoinSample, got, i)
		}
		if i > 0 && s.RecordAt(r.JoinSample-1) != i-1 {
			t.Errorf("RecordAt(%d) is not the record before %d", r.JoinSample-1, i)
		}
	}
	if got := s.RecordAt(math.MaxUint64); got != len(s.Records)-1 {
		t.Errorf("past the end: %d", got)
	}
}

func TestSplit_SameSetup(t *testing.T) {
	q := qualities()[2]
	a, err := ogg.Split(bytes.NewReader(encode(t, q, pcm(1))))
	if err != nil {
		t.Fatal(err)
	}
	b, err := ogg.Split(bytes.NewReader(encode(t, q, pcm(2))))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Setup, b.Setup) {
		t.Error("setup pages of one quality differ between tracks")
	}
}

func TestSplit_Bad(t *testing.T) {
	good := encode(t, qualities()[1], pcm(2))
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	opus := ffmpeg(t, pcm(0.5), "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0", "-c:a", "flac", "-f", "ogg", "pipe:1")
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"empty", nil, ogg.ErrTruncated},
		{"text", []byte(strings.Repeat("not ogg ", 20)), ogg.ErrCorrupt},
		{"other_codec", opus, ogg.ErrUnsupported},
		{"cut_in_page", good[:len(good)/2], ogg.ErrTruncated},
		{"cut_in_header", good[:20], ogg.ErrTruncated},
		{"bit_flip", edit(func(b []byte) []byte { b[len(b)/2] ^= 4; return b }), ogg.ErrCorrupt},
		{"chained", append(bytes.Clone(good), good...), ogg.ErrUnsupported},
		{"trailing_junk", append(bytes.Clone(good), bytes.Repeat([]byte("x"), 99)...), ogg.ErrCorrupt},
		{"page_left_out", edit(dropPage), ogg.ErrCorrupt},
		{"last_page_left_out", edit(dropLast), ogg.ErrTruncated},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ogg.Split(bytes.NewReader(tt.in))
			if !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// pagesOf returns the offsets of all pages and the length of the file.
func pagesOf(b []byte) []int {
	var at []int
	r := ogg.NewReader(bytes.NewReader(b))
	off := 0
	for {
		p, err := r.Next()
		if err != nil {
			return append(at, off)
		}
		at = append(at, off)
		off += len(p.Raw)
	}
}

func dropPage(b []byte) []byte {
	at := pagesOf(b)
	return append(bytes.Clone(b[:at[4]]), b[at[5]:]...)
}

func dropLast(b []byte) []byte {
	at := pagesOf(b)
	return b[:at[len(at)-2]]
}

func TestReader_Pages(t *testing.T) {
	good := encode(t, qualities()[1], pcm(1))
	r := ogg.NewReader(bytes.NewReader(good))
	var all []byte
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Raw...)
	}
	if diff := cmp.Diff(len(good), len(all)); diff != "" {
		t.Error(diff)
	}
}
