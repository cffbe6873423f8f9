package loudness

import (
	"math"

	"github.com/segue-music/segue/audio/dsp"
)

// biquad is a second order section in transposed direct form II; its state is the
// caller's.
type biquad struct{ b0, b1, b2, a1, a2 float64 }

// kWeight is the K weighting of BS.1770-4, annex 1: a shelf for the head, then a
// high pass.
type kWeight struct{ shelf, highPass biquad }

// kState is the past of one channel in both sections.
type kState struct{ s1, s2, h1, h2 float64 }

// flushed is the state without what has decayed to less than any sample could show:
// numbers so small that they are denormal make silence slower than music.
func (k kState) flushed() kState {
	const least = 1e-30
	for _, v := range [...]*float64{&k.s1, &k.s2, &k.h1, &k.h2} {
		if math.Abs(*v) < least {
			*v = 0
		}
	}
	return k
}

// energy returns the sum of the squares of both channels after the weighting. left and
// right are of one length. The channels run in one loop, since each alone waits for its
// own last result.
func (k *kWeight) energy(state *[channels]kState, left, right []float64) float64 {
	s, h := k.shelf, k.highPass
	l, r := state[0].flushed(), state[1].flushed()
	right = right[:len(left)]
	sum := 0.0
	for i, x := range left {
		u := right[i]
		y := s.b0*x + l.s1
		v := s.b0*u + r.s1
		l.s1 = s.b1*x - s.a1*y + l.s2
		r.s1 = s.b1*u - s.a1*v + r.s2
		l.s2 = s.b2*x - s.a2*y
		r.s2 = s.b2*u - s.a2*v
		// The high pass has b = 1, -2, 1.
		z := y + l.h1
		w := v + r.h1
		l.h1 = l.h2 - 2*y - h.a1*z
		r.h1 = r.h2 - 2*v - h.a1*w
		l.h2 = y - h.a2*z
		r.h2 = v - h.a2*w
		sum += z*z + w*w
	}
	state[0], state[1] = l, r
	return sum
}

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
	// history is how many samples before the present one a phase reaches back to.
	history = tapsPerPhase - 1
	// peakBlock is how many samples share one answer to "can a peak lie here?".
	peakBlock = 16
)

// interpolator is a low pass for fourfold oversampling: a Kaiser-windowed sinc of 48
// taps, of which each phase sums to 1. Phase 0 is the sample itself and is not needed.
// Phase 2 is symmetric and phase 3 is phase 1 backwards, so that the sums and differences
// of mirrored samples serve all three.
type interpolator struct {
	even, odd, middle [tapsPerPhase / 2]float64
	// gain is the most by which a phase can exceed the highest of its samples: the
	// largest sum of the magnitudes of its taps.
	gain float64
}

func newInterpolator() *interpolator {
	const beta = 6.0
	var h [phases][tapsPerPhase]float64
	const half = phases * tapsPerPhase / 2
	for i := range phases * tapsPerPhase {
		x := float64(i-half) / phases
		s := 1.0
		if x != 0 {
			s = math.Sin(math.Pi*x) / (math.Pi * x)
		}
		h[i%phases][i/phases] = s * dsp.Kaiser(float64(i-half)/half, beta)
	}
	f := &interpolator{}
	for p := range h {
		sum, size := 0.0, 0.0
		for _, v := range h[p] {
			sum += v
			size += math.Abs(v)
		}
		for i := range h[p] {
			h[p][i] /= sum
		}
		f.gain = max(f.gain, size/math.Abs(sum))
	}
	for i := range f.even {
		a, b := h[1][i], h[1][history-i]
		f.even[i], f.odd[i], f.middle[i] = (a+b)/2, (a-b)/2, h[2][i]
	}
	return f
}

// peak returns the highest magnitude between the samples of x from position history on,
// or floor where none is higher. tops are the highest magnitudes of each peakBlock of
// them, before that of the samples up to history. What cannot exceed the floor is not
// computed: a bound that holds for every signal decides.
func (f *interpolator) peak(x []float64, before float64, tops []float64, floor float64) float64 {
	for _, top := range tops {
		n := min(peakBlock, len(x)-history)
		if top*f.gain > floor || before*f.gain > floor {
			for block := x[:history+n]; len(block) >= tapsPerPhase; block = block[1:] {
				if v := f.between((*[tapsPerPhase]float64)(block)); v > floor {
					floor = v
				}
			}
		}
		x, before = x[n:], top
	}
	return floor
}

// between is the highest magnitude of the three phases at one place, written out: it is
// most of the work.
func (f *interpolator) between(w *[tapsPerPhase]float64) float64 {
	e0, o0 := w[0]+w[11], w[0]-w[11]
	e1, o1 := w[1]+w[10], w[1]-w[10]
	e2, o2 := w[2]+w[9], w[2]-w[9]
	e3, o3 := w[3]+w[8], w[3]-w[8]
	e4, o4 := w[4]+w[7], w[4]-w[7]
	e5, o5 := w[5]+w[6], w[5]-w[6]
	e, o, m := &f.even, &f.odd, &f.middle
	middle := m[0]*e0 + m[1]*e1 + m[2]*e2 + m[3]*e3 + m[4]*e4 + m[5]*e5
	even := e[0]*e0 + e[1]*e1 + e[2]*e2 + e[3]*e3 + e[4]*e4 + e[5]*e5
	odd := o[0]*o0 + o[1]*o1 + o[2]*o2 + o[3]*o3 + o[4]*o4 + o[5]*o5
	a, b := math.Abs(middle), math.Abs(even)+math.Abs(odd)
	if a > b {
		return a
	}
	return b
}
