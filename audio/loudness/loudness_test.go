package loudness_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"github.com/segue-music/segue/audio/loudness"
)

const rate = 44100

// pcm makes stereo PCM from a function of time in seconds.
func pcm(seconds float64, f func(t float64) (l, r float64)) []byte {
	var out []byte
	for i := range int(seconds * rate) {
		l, r := f(float64(i) / rate)
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(math.Round(l*32767))))
		out = binary.LittleEndian.AppendUint16(out, uint16(int16(math.Round(r*32767))))
	}
	return out
}

func sine(hz, amp float64) func(float64) (float64, float64) {
	return func(t float64) (float64, float64) {
		v := amp * math.Sin(2*math.Pi*hz*t)
		return v, v
	}
}

func noise() func(float64) (float64, float64) {
	seed := uint32(3)
	next := func() float64 {
		seed = seed*1664525 + 1013904223
		return float64(int32(seed)) / (1 << 31)
	}
	return func(t float64) (float64, float64) {
		level := 0.02
		if math.Mod(t, 4) > 2 {
			level = 0.4
		}
		return level * next(), level * next() * 0.5
	}
}

// faded ramps the first and the last 100 ms.
func faded(seconds float64, f func(float64) (float64, float64)) func(float64) (float64, float64) {
	return func(t float64) (float64, float64) {
		ramp := min(t/0.1, (seconds-t)/0.1, 1)
		l, r := f(t)
		return ramp * l, ramp * r
	}
}

func measure(b []byte) loudness.Result {
	m := loudness.New(rate)
	for len(b) > 0 { // odd pieces
		n := min(len(b), 1001)
		_, _ = m.Write(b[:n])
		b = b[n:]
	}
	return m.Result()
}

// ebur128 asks ffmpeg for integrated loudness and true peak in dBFS.
func ebur128(t *testing.T, b []byte) (lufs, peak float64) {
	t.Helper()
	cmd := exec.Command("ffmpeg", "-hide_banner", "-nostdin", "-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0",
		"-af", "ebur128=peak=true", "-f", "null", "-")
	cmd.Stdin = bytes.NewReader(b)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg (a requirement of Segue): %v\n%s", err, out)
	}
	find := func(re string) float64 {
		m := regexp.MustCompile(re).FindAllSubmatch(out, -1)
		if m == nil {
			t.Fatalf("no %s in\n%s", re, out)
		}
		v, err := strconv.ParseFloat(string(m[len(m)-1][1]), 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	return find(`I:\s+(-?[\d.]+) LUFS`), find(`Peak:\s+(-?[\d.]+) dBFS`)
}

func TestMeter_ffmpeg(t *testing.T) {
	// Sound that begins at once rings in any low pass, longer ones more: the tones
	// fade in. Noise up to half the rate lies in the transition band, where the
	// 12 taps of BS.1770-4 read less than ffmpeg's longer filter.
	quiet := noise()
	tests := []struct {
		name  string
		in    []byte
		slack float64
	}{
		{"sine_1k", pcm(5, faded(5, sine(997, 0.5))), 0.1},
		{"sine_60", pcm(5, faded(5, sine(60, 0.5))), 0.1},
		{"sine_8k", pcm(5, faded(5, sine(8000, 0.3))), 0.2},
		{"gated_noise", pcm(12, noise()), 1},
		{"quiet_noise", pcm(6, func(t float64) (float64, float64) { l, _ := quiet(t); return l * 0.05, 0 }), 1},
		{"inter_sample_peak", pcm(3, faded(3, func(t float64) (float64, float64) {
			v := 0.9 * math.Sin(2*math.Pi*rate/4*t+math.Pi/4)
			return v, -v
		})), 0.2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			wantI, wantPeak := ebur128(t, tt.in)
			got := measure(tt.in)
			if math.Abs(got.Integrated-wantI) > 0.1 {
				t.Errorf("%.2f LUFS, ffmpeg %.1f", got.Integrated, wantI)
			}
			if d := loudness.PeakDB(got.TruePeak) - wantPeak; math.Abs(d) > tt.slack {
				t.Errorf("true peak %.2f dBFS, ffmpeg %.1f", loudness.PeakDB(got.TruePeak), wantPeak)
			}
		})
	}
}

// TestMeter_reference is EBU Tech 3341, test 1: a stereo sine of 1 kHz at -23
// dBFS has -23 LUFS.
func TestMeter_reference(t *testing.T) {
	got := measure(pcm(20, sine(1000, math.Pow(10, -23.0/20))))
	if math.Abs(got.Integrated+23) > 0.1 {
		t.Errorf("%.2f LUFS", got.Integrated)
	}
	if want := math.Pow(10, -23.0/20); math.Abs(got.SamplePeak-want) > 1e-3 || got.Frames != 20*rate {
		t.Errorf("%+v", got)
	}
}

func TestMeter_true_peak(t *testing.T) {
	// At a quarter of the rate, sampled off its crests: 3 dB between samples.
	got := measure(pcm(1, func(t float64) (float64, float64) {
		return 0.7 * math.Sin(2*math.Pi*rate/4*t+math.Pi/4), 0
	}))
	if math.Abs(got.SamplePeak-0.495) > 0.001 || math.Abs(loudness.PeakDB(got.TruePeak/0.7)) > 0.2 {
		t.Errorf("%+v", got)
	}
}

func TestMeter_silence(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "zeros": make([]byte, rate*4*2), "too_short": pcm(0.3, sine(1000, 1))} {
		if got := measure(b); got.Integrated != loudness.Silence {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAlbum(t *testing.T) {
	loud, soft := loudness.New(rate), loudness.New(rate)
	a, b := pcm(4, sine(1000, 0.5)), pcm(4, sine(1000, 0.25))
	_, _ = loud.Write(a)
	_, _ = soft.Write(b)
	got := loudness.Album(loud, soft).Integrated
	if got >= loud.Result().Integrated || got <= soft.Result().Integrated {
		t.Errorf("album %.2f, tracks %.2f and %.2f", got, loud.Result().Integrated, soft.Result().Integrated)
	}
}

func TestGain(t *testing.T) {
	tests := []struct{ in, want float64 }{{-14, 0}, {-23, 9}, {-8, -6}, {loudness.Silence, 0}, {math.NaN(), 0}}
	for _, tt := range tests {
		if got := loudness.Gain(tt.in); got != tt.want {
			t.Errorf("Gain(%v) = %v", tt.in, got)
		}
	}
	if got := loudness.SafeGain(9, 0.5, -1); math.Abs(got-5.02) > 0.01 {
		t.Errorf("SafeGain = %v", got)
	}
	for dB, want := range map[float64]loudness.Q8{-6.5: -1664, 0: 0, 500: math.MaxInt16, -500: math.MinInt16} {
		if got := loudness.ToQ8(dB); got != want {
			t.Errorf("ToQ8(%v) = %d", dB, got)
		}
	}
	if got := loudness.Q8(-1664).DB(); got != -6.5 {
		t.Errorf("DB = %v", got)
	}
}

func BenchmarkMeter(b *testing.B) {
	in := pcm(10, sine(1000, 0.5))
	for b.Loop() {
		m := loudness.New(rate)
		_, _ = m.Write(in)
	}
}
