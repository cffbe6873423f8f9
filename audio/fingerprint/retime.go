package fingerprint

import "math"

// MaxRetime bounds by how much ComputeAt undoes a change: a tenth faster or slower, higher or lower.
const MaxRetime = 1.1

// ComputeAt returns the fingerprint that samples would have had before they were changed: played tempo times as fast, and
// pitch times as high. A record that turns faster changes both alike; a stretched one changes tempo alone. Both are taken to
// be between 1/MaxRetime and MaxRetime.
//
// A copy whose pitch has changed by a hundredth has other items: notes move by a sixth of a semitone. One whose tempo alone
// has changed keeps many, and drifts apart by an item in 12 s at a hundredth. So whoever looks for such copies
// tries changes one by one, on some 30 s of sound (Speeds).
func ComputeAt(samples []int16, tempo, pitch float64) Fingerprint {
	tempo, pitch = min(max(tempo, 1/MaxRetime), MaxRetime), min(max(pitch, 1/MaxRetime), MaxRetime)
	var fp Fingerprint
	e := NewExtractor(func(item uint32) { fp = append(fp, item) })
	// Slowed down by pitch, the samples have the pitch of before; what is left of the change of tempo is in the step.
	e.step = hop * pitch / tempo
	if pitch == 1 {
		e.Feed(samples)
		return fp
	}
	out := make([]int16, 0, 4096)
	for i := 0; ; i++ {
		at := float64(i) / pitch
		if int(at) >= len(samples) {
			break
		}
		if out = append(out, between(samples, at)); len(out) == cap(out) {
			e.Feed(out)
			out = out[:0]
		}
	}
	e.Feed(out)
	return fp
}

// between is the sample at a place between others: the cubic through the four around it (Catmull and Rom). What it bends is
// high, and the chroma ends at a third of the band.
func between(samples []int16, at float64) int16 {
	i := int(at)
	t := at - float64(i)
	get := func(i int) float64 { return float64(samples[min(max(i, 0), len(samples)-1)]) }
	a, b, c, d := get(i-1), get(i), get(i+1), get(i+2)
	v := b + t/2*(c-a+t*(2*a-5*b+4*c-d+t*(3*(b-c)+d-a)))
	return int16(math.Round(min(max(v, math.MinInt16), math.MaxInt16)))
}

// Speed is a change to be undone.
type Speed struct{ Tempo, Pitch float64 }

// Speeds are the changes of up to share (0.03 is 3 %) in steps that are close enough for 30 s of sound: of tempo and pitch
// together, and of tempo alone. No change is not among them.
func Speeds(share float64) []Speed {
	const step = 0.005
	var out []Speed
	for i := 1; float64(i)*step < share+step/2; i++ {
		for _, v := range []float64{1 + float64(i)*step, 1 - float64(i)*step} {
			out = append(out, Speed{v, v}, Speed{v, 1})
		}
	}
	return out
}
