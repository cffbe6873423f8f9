package embedding

import (
	"math"

	"github.com/segue-music/segue/audio/analysis"
)

// Version is that of the places: vectors of different versions are not to be compared.
const Version = 1

// Dimensions of a Vector: colour 43, harmony 9, rhythm 12.
const Dimensions = 64

// Vector has length 1, or is all 0 where a track has no sound.
type Vector [Dimensions]float32

// Of is the vector of what was found.
func Of(r *analysis.Result) Vector {
	raw, ok := Measured(r)
	if !ok {
		return Vector{}
	}
	var out Vector
	length := 0.0
	for i, v := range raw {
		// What is further away than all music is no further than that.
		z := min(3, max(-3, (v-usual[i].mean)/usual[i].spread)) * weightOf(i)
		out[i] = float32(z)
		length += z * z
	}
	for i := range out {
		out[i] /= float32(math.Sqrt(length) + 1e-12)
	}
	return out
}

// The kinds of places and what they count together: colour tells most, as in all studies,
// and 43 places would tell nearly all.
const (
	colours, harmonies        = 43, 9
	colourShare, harmonyShare = 0.55, 0.15
	rhythmShare               = 0.30
)

func weightOf(place int) float64 {
	switch {
	case place < colours:
		return math.Sqrt(colourShare / colours)
	case place < colours+harmonies:
		return math.Sqrt(harmonyShare / harmonies)
	}
	return math.Sqrt(rhythmShare / (Dimensions - colours - harmonies))
}

// Measured are the measurements behind a vector, in units of their own, for who finds out
// what is usual. ok is false where there is no sound.
func Measured(r *analysis.Result) (out [Dimensions]float64, ok bool) {
	t := &r.Timbre
	if t.Frames == 0 {
		return out, false
	}
	v := out[:0]
	for c := 1; c < len(t.Mean); c++ {
		v = append(v, t.Mean[c])
	}
	for c := 1; c < len(t.Spread); c++ {
		v = append(v, t.Spread[c])
	}
	for c := 1; c < len(t.Change); c++ {
		v = append(v, t.Change[c])
	}
	v = append(v, t.LevelSpread, math.Log(max(t.Brightness, 1)), math.Log(max(t.BrightnessSpread, 1)), math.Log(max(t.RollOff, 1)),
		math.Log(max(t.Flatness, 1e-4)), math.Log(max(t.FlatnessSpread, 1e-4)), t.Syllabic)
	h := &r.Tonal
	for k := 1; k <= 6; k++ {
		v = append(v, circular(h.Chroma, k))
	}
	major := 0.0
	for _, share := range h.Chords[:len(h.Chords)/2] {
		major += share
	}
	v = append(v, major, h.Fit, h.TuningConfidence)
	b := &r.Beat
	v = append(v, b.Pattern[:]...)
	v = append(v, math.Log2(max(b.Tempo.BPM, 40)), b.Onsets, b.Pulse)
	return out, len(v) == Dimensions
}

// circular is the magnitude of a coefficient of the Fourier transform of pitch classes, which
// no transposition changes: the fifth tells how diatonic music is, the third how much of it
// is augmented, and so on (Quinn, "General equal-tempered harmony", 2006).
func circular(chroma [12]float64, k int) float64 {
	var re, im float64
	for i, v := range chroma {
		sin, cos := math.Sincos(2 * math.Pi * float64(i*k) / 12)
		re += v * cos
		im += v * sin
	}
	return math.Hypot(re, im)
}
