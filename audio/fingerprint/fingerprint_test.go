package fingerprint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os/exec"
	"testing"
	"time"

	"github.com/segue-music/segue/audio/fingerprint"
)

// music makes a melody of chords, another one for each seed.
func music(seed uint32, seconds, offset float64) []byte {
	tone := func(n int) float64 {
		x := seed*2654435761 + uint32(n)*40503
		x ^= x >> 13
		x *= 2246822519
		x ^= x >> 16
		return 220 * math.Pow(2, float64(x%24)/12)
	}
	n := int(seconds * 44100)
	out := make([]byte, 0, n*4)
	for i := range n {
		t := float64(i)/44100 + offset
		at := int(t / 0.4)
		v := 0.0
		for voice := range 3 {
			f := tone(at*3 + voice)
			v += math.Sin(2*math.Pi*f*t)/3 + math.Sin(4*math.Pi*f*t)/9
		}
		s := uint16(int16(v * 14000))
		out = binary.LittleEndian.AppendUint16(out, s)
		out = binary.LittleEndian.AppendUint16(out, s)
	}
	return out
}

func calculate(t testing.TB, pcm []byte) fingerprint.Fingerprint {
	t.Helper()
	fp, err := fingerprint.Calculator{}.Calculate(context.Background(), bytes.NewReader(pcm))
	if err != nil {
		t.Fatalf("fpcalc (a requirement of Segue): %v", err)
	}
	return fp
}

func ffmpeg(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("ffmpeg", append([]string{"-v", "error", "-nostdin"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v", err)
	}
	return out
}

func TestCompare(t *testing.T) {
	raw := []string{"-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0"}
	pcm := music(1, 30, 0)
	base := calculate(t, pcm)
	if n := float64(len(base)); math.Abs(n/30-fingerprint.ItemsPerSecond) > 1 {
		t.Errorf("%v items in 30 s", n)
	}
	mp3 := ffmpeg(t, ffmpeg(t, pcm, append(raw, "-b:a", "64k", "-f", "mp3", "pipe:1")...), "-i", "pipe:0", "-f", "s16le", "pipe:1")
	tests := []struct {
		name      string
		other     []byte
		low, high float64
	}{
		{"itself", pcm, 1, 1},
		{"worse_copy", mp3, fingerprint.SameRecording, 1},
		{"quieter", ffmpeg(t, pcm, append(raw, "-af", "volume=-9dB", "-f", "s16le", "pipe:1")...), fingerprint.SameRecording, 1},
		{"starts_3_s_later", music(1, 27, 3), fingerprint.SameRecording, 1},
		{"another_tune", music(2, 30, 0), 0, fingerprint.Similar},
		{"yet_another_tune", music(3, 25, 0), 0, fingerprint.Similar},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			fp := calculate(t, tt.other)
			m := fingerprint.Compare(base, fp)
			if m.Score < tt.low || m.Score > tt.high {
				t.Errorf("%+v, want %v to %v", m, tt.low, tt.high)
			}
			if back := fingerprint.Compare(fp, base); back.Score != m.Score {
				t.Errorf("not symmetric: %+v, %+v", m, back)
			}
			if tt.name == "starts_3_s_later" && (m.Shift < 22 || m.Shift > 26) {
				t.Errorf("shift %d items, want about 24", m.Shift)
			}
		})
	}
	for name, b := range map[string]fingerprint.Fingerprint{"nothing": nil, "short": base[:50]} {
		if m := fingerprint.Compare(base, b); m.Score != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestCalculator_Calculate_bad(t *testing.T) {
	ctx := context.Background()
	boom := errors.New("decoder died")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		calc fingerprint.Calculator
		in   io.Reader
		want error
	}{
		{"empty", ctx, fingerprint.Calculator{}, bytes.NewReader(nil), fingerprint.ErrTooShort},
		{"one_second", ctx, fingerprint.Calculator{}, bytes.NewReader(music(1, 1, 0)), fingerprint.ErrTooShort},
		{"reader_fails", ctx, fingerprint.Calculator{}, io.MultiReader(bytes.NewReader(music(1, 5, 0)), failing{boom}), boom},
		{"cancelled", gone, fingerprint.Calculator{}, bytes.NewReader(music(1, 5, 0)), context.Canceled},
		{"no_program", ctx, fingerprint.Calculator{Path: "/nonexistent/fpcalc"}, bytes.NewReader(nil), fingerprint.ErrFpcalc},
		{"wrong_program", ctx, fingerprint.Calculator{Path: "/bin/true"}, bytes.NewReader(music(1, 5, 0)), fingerprint.ErrFpcalc},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.calc.Calculate(tt.ctx, tt.in); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestCalculator_Calculate_long feeds more than is used: all of it is read, so
// that the decoder on the other side is not held up.
func TestCalculator_Calculate_long(t *testing.T) {
	in := &counter{left: 150 * 44100 * 4, tune: music(1, 10, 0)}
	fp, err := fingerprint.Calculator{Timeout: time.Minute}.Calculate(context.Background(), in)
	if err != nil || in.left != 0 {
		t.Fatalf("%v, %d bytes left", err, in.left)
	}
	if n := len(fp); n > 1000 || n < 900 {
		t.Errorf("%d items", n)
	}
}

type counter struct {
	left, at int
	tune     []byte
}

func (c *counter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.left)], c.tune[c.at%len(c.tune):])
	c.at += n
	c.left -= n
	return n, nil
}
