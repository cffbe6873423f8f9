package tonal

import (
	"math"
)

// maxFrames bound memory: an hour.
const maxFrames = 3600 * 5512 / Hop

// moment is one frame: its pitches, in the bass and above.
type moment struct{ bass, tune profile }

// Finder takes power spectra of frames of Size samples at Rate under a Hann window, Hop
// apart, the first an hour long at most. It keeps 480 bytes of each.
type Finder struct {
	spectrum *spectrum
	moments  []moment
	// tuning is the sum of the peaks as vectors, whose angle is their deviation.
	tuneRe, tuneIm, tuneSum float64
}

// New returns a Finder.
func New() *Finder { return &Finder{spectrum: newSpectrum()} }

// Add takes the power spectrum of the next frame, Size/2 + 1 bins.
func (f *Finder) Add(power []float64) {
	if len(f.moments) >= maxFrames {
		return
	}
	var m moment
	peaks, top := f.spectrum.peaks(power)
	for _, p := range peaks {
		if p.hz > 100 {
			_, part := math.Modf(math.Log2(p.hz/440) * 12)
			sin, cos := math.Sincos(2 * math.Pi * part)
			strength := math.Sqrt(p.clearness * p.magnitude / top)
			f.tuneRe += strength * cos
			f.tuneIm += strength * sin
			f.tuneSum += strength
		}
	}
	explain(peaks)
	for _, p := range peaks {
		if p.magnitude == 0 {
			continue
		}
		weight := math.Sqrt(p.magnitude / top)
		// Half an octave around bassTop belongs to both.
		share := min(max(0.5-2*math.Log2(p.hz/bassTop), 0), 1)
		octaves := math.Log2(p.hz / 440)
		add(&m.bass, octaves, weight*share)
		add(&m.tune, octaves, weight*(1-share))
	}
	f.moments = append(f.moments, m)
}

// add puts weight to the two bins beside a pitch.
func add(p *profile, octaves, weight float64) {
	if weight == 0 {
		return
	}
	place := (octaves - math.Floor(octaves)) * binsPerOctave
	i := int(place)
	share := float32(place - float64(i))
	p[i%binsPerOctave] += float32(weight) * (1 - share)
	p[(i+1)%binsPerOctave] += float32(weight) * share
}

// tuning is the deviation from 440 Hz in cents, -50 to 50, and how sure it is, 0 to 1.
func (f *Finder) tuning() (cents, sure float64) {
	if f.tuneSum == 0 {
		return 0, 0
	}
	return math.Atan2(f.tuneIm, f.tuneRe) / (2 * math.Pi) * 100, math.Hypot(f.tuneRe, f.tuneIm) / f.tuneSum
}

// chroma is how much of each pitch class there is, from C on.
type chroma [12]float64

// fold sums a profile into pitch classes of a tuning in cents. What lies between two counts
// little.
func fold(p *profile, cents float64) chroma {
	var c chroma
	for i, v := range p {
		if v == 0 {
			continue
		}
		semitones := float64(i)/perSemitone - cents/100
		near := math.Round(semitones)
		away := semitones - near
		weight := math.Cos(math.Pi * away) // 0 at half a semitone
		// A is the tenth from C.
		c[(int(near)+9+12)%12] += float64(v) * weight * weight
	}
	return c
}

// sum is of all pitch classes.
func (c *chroma) sum() float64 {
	s := 0.0
	for _, v := range c {
		s += v
	}
	return s
}
