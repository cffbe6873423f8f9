package loudness

import "math"

// biquad is a second order section in transposed direct form II.
type biquad struct {
	b0, b1, b2, a1, a2 float64
	z1, z2             float64
}

func (f *biquad) push(x float64) float64 {
	y := f.b0*x + f.z1
	f.z1 = f.b1*x - f.a1*y + f.z2
	f.z2 = f.b2*x - f.a2*y
	return y
}

// kWeight is the K weighting of BS.1770-4, annex 1: a shelf for the head, then a
// high pass.
type kWeight struct{ shelf, highPass biquad }

func (k *kWeight) push(x float64) float64 { return k.highPass.push(k.shelf.push(x)) }

// newKWeight makes the filters for any rate, by the bilinear transform from
// the analogue prototypes whose values at 48 kHz are the tables of BS.1770-4.
func newKWeight(rate float64) kWeight {
	var k kWeight
	{
		const f0, gain, q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
		t := math.Tan(math.Pi * f0 / rate)
		vh := math.Pow(10, gain/20)
		vb := math.Pow(vh, 0.4996667741545416)
		a0 := 1 + t/q + t*t
		k.shelf = biquad{
			b0: (vh + vb*t/q + t*t) / a0, b1: 2 * (t*t - vh) / a0, b2: (vh - vb*t/q + t*t) / a0,
			a1: 2 * (t*t - 1) / a0, a2: (1 - t/q + t*t) / a0,
		}
	}
	{
		const f0, q = 38.13547087602444, 0.5003270373238773
		t := math.Tan(math.Pi * f0 / rate)
		a0 := 1 + t/q + t*t
		k.highPass = biquad{b0: 1, b1: -2, b2: 1, a1: 2 * (t*t - 1) / a0, a2: (1 - t/q + t*t) / a0}
	}
	return k
}

const (
	phases       = 4
	tapsPerPhase = 12
)

// interpolator returns the phases of a low pass for fourfold oversampling: a
// Kaiser-windowed sinc of 48 taps. Each phase sums to 1. Phase 0 is the sample
// itself and is not needed.
func interpolator() *[phases][tapsPerPhase]float64 {
	const beta = 6.0
	var h [phases][tapsPerPhase]float64
	const half = phases * tapsPerPhase / 2
	for i := range phases * tapsPerPhase {
		x := float64(i-half) / phases
		s := 1.0
		if x != 0 {
			s = math.Sin(math.Pi*x) / (math.Pi * x)
		}
		r := float64(i-half) / half
		h[i%phases][i/phases] = s * bessel0(beta*math.Sqrt(max(1-r*r, 0))) / bessel0(beta)
	}
	for p := range h {
		sum := 0.0
		for _, v := range h[p] {
			sum += v
		}
		for i := range h[p] {
			h[p][i] /= sum
		}
	}
	return &h
}

// bessel0 is the modified Bessel function of the first kind, order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= x * x / (4 * k * k)
		sum += term
	}
	return sum
}

// oversampler keeps the last samples, twice over so that they lie in a row.
type oversampler struct {
	taps *[phases][tapsPerPhase]float64
	past [2 * tapsPerPhase]float64
	at   int
}

// push returns the highest absolute value between the samples.
func (o *oversampler) push(x float64) float64 {
	o.at--
	if o.at < 0 {
		o.at = tapsPerPhase - 1
	}
	o.past[o.at], o.past[o.at+tapsPerPhase] = x, x
	window := o.past[o.at : o.at+tapsPerPhase]
	top := 0.0
	for p := 1; p < phases; p++ {
		y := 0.0
		for i, h := range o.taps[p] {
			y += h * window[i]
		}
		top = max(top, math.Abs(y))
	}
	return top
}
