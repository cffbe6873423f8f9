package dsp_test

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/segue-music/segue/audio/dsp"
)

func sine(n int, share float64) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Sin(2 * math.Pi * share * float64(i))
	}
	return x
}

func rms(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum / float64(len(x)))
}

// TestHalver: what is below a fifth of the rate passes, what is above 0.3 does not.
func TestHalver(t *testing.T) {
	for share, want := range map[float64]float64{0: 0, 0.01: 0, 0.1: 0, 0.19: -0.05, 0.3: -60, 0.35: -75, 0.45: -75, 0.499: -75} {
		in := sine(20000, share)
		if share == 0 {
			for i := range in {
				in[i] = math.Sqrt2 / 2
			}
		}
		var h dsp.Halver
		var out []float64
		for rest := in; len(rest) > 0; { // odd pieces
			n := min(len(rest), 777)
			out = h.Append(out, rest[:n])
			rest = rest[n:]
		}
		if len(out) < 9900 || len(out) > 10000 {
			t.Fatalf("%d samples", len(out))
		}
		dB := 20 * math.Log10(rms(out[100:])/math.Sqrt2*2)
		if want < -1 && dB > want || want > -1 && math.Abs(dB-want) > 0.06 {
			t.Errorf("%v of the rate: %.3f dB, want %v", share, dB, want)
		}
		var whole dsp.Halver
		if !slices.Equal(whole.Append(nil, in), out) {
			t.Errorf("%v of the rate: pieces differ from the whole", share)
		}
	}
}

func TestFrames(t *testing.T) {
	in := make([]float64, 1000)
	for i := range in {
		in[i] = float64(i)
	}
	for _, step := range []int{1, 7, 64, 999, 1000} {
		f := dsp.NewFrames(100, 30)
		n := 0
		for rest := in; len(rest) > 0; {
			k := min(step, len(rest))
			f.Write(rest[:k], func(frame []float64) {
				if len(frame) != 100 || frame[0] != float64(30*n) || frame[99] != float64(30*n+99) {
					t.Fatalf("frame %d: %d samples from %v", n, len(frame), frame[0])
				}
				n++
			})
			rest = rest[k:]
		}
		if n != 31 {
			t.Errorf("pieces of %d: %d frames", step, n)
		}
	}
}

func TestMono(t *testing.T) {
	var p []byte
	for _, v := range []int16{-32768, -32768, 32767, 32767, 16384, -16384, 100, 300} {
		p = binary.LittleEndian.AppendUint16(p, uint16(v))
	}
	got := dsp.Mono(nil, append(p, 1, 2, 3))
	if want := []float64{-1, 32767.0 / 32768, 0, 200.0 / 32768}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestMelBank: a triangle's area is 1, so that white noise is equal in all bands, and a tone
// falls into the band whose middle is nearest.
func TestMelBank(t *testing.T) {
	const size, rate, bands = 4096, 22050, 40
	m := dsp.NewMelBank(bands, size, rate, 0, rate/2)
	flat := make([]float64, size/2+1)
	for i := range flat {
		flat[i] = 1
	}
	got := make([]float64, bands)
	m.Sum(got, flat)
	for b, v := range got {
		if width := v * rate / size; math.Abs(width-1) > 0.05 {
			t.Errorf("band %d: %.3f of its area", b, width)
		}
	}
	tone := make([]float64, size/2+1)
	tone[size/8] = 1
	m.Sum(got, tone)
	at := 0
	for b := range got {
		if got[b] > got[at] {
			at = b
		}
	}
	if at < 22 || at > 25 {
		t.Errorf("2.7 kHz is in band %d", at)
	}
}
