package tonal

import "math"

// What a Finder takes.
const (
	// Rate is of the sound, and Size and Hop of the frames whose spectra a Finder takes: 44,100 Hz three
	// times halved.
	Rate = 44100.0 / 8
	Size = 4096
	Hop  = 1024

	// binsPerOctave is how finely pitches are kept until the tuning is known: 20 cents.
	binsPerOctave = 60
	perSemitone   = binsPerOctave / 12

	lowest, highest = 50.0, 2050.0
	// bassTop is where the bass ends and the tune begins; both count a little across it.
	bassTop = 230.0
	// A tone may have so many harmonics, each up to overtone of the magnitude of the one
	// before, and no more than mistuned from its place.
	mostHarmonics = 8
	overtone      = 0.85
	mistuned      = 0.012
	// standsOut is how far a peak is above its surroundings.
	standsOut = 1.6
	// faint peaks are further below the highest of the frame, as a share.
	faint = 0.003
	// least magnitude of a peak: 80 dB under that of a full sine, which is Size/4.
	least = Size / 4 * 1e-4
	// surroundings of a bin are a quarter of a third octave to each side, and this at least.
	leastReach = 12
)

// profile is how much of each pitch class there is in a frame, by 20 cents from A.
type profile [binsPerOctave]float32

// spectrum finds the peaks of spectra.
type spectrum struct {
	magnitude, sums []float64
	first, last     int
	found           []peak
}

func newSpectrum() *spectrum {
	n := Size/2 + 1
	return &spectrum{
		magnitude: make([]float64, n), sums: make([]float64, n+1),
		first: int(math.Floor(lowest * Size / Rate)), last: int(math.Ceil(highest * Size / Rate)),
	}
}

// peak is one of a spectrum.
type peak struct{ hz, magnitude, clearness float64 }

// peaks are those of a power spectrum by frequency, valid until the next call, and the
// magnitude of the highest.
func (s *spectrum) peaks(power []float64) (found []peak, top float64) {
	for k, p := range power {
		s.magnitude[k] = math.Sqrt(p)
		s.sums[k+1] = s.sums[k] + s.magnitude[k]
		if k >= s.first && k <= s.last {
			top = max(top, s.magnitude[k])
		}
	}
	s.found = s.found[:0]
	for k := s.first; k <= s.last; k++ {
		a, b, c := s.magnitude[k-1], s.magnitude[k], s.magnitude[k+1]
		if b <= a || b < c || b < faint*top || b < least {
			continue
		}
		reach := max(leastReach, k/12)
		from, to := max(1, k-reach), min(len(power)-1, k+reach+1)
		mean := (s.sums[to] - s.sums[from]) / float64(to-from)
		if b < standsOut*mean {
			continue
		}
		// The top of the parabola through the logarithms of the three.
		la, lb, lc := math.Log(a+1e-12), math.Log(b), math.Log(c+1e-12)
		shift := 0.0
		if d := la - 2*lb + lc; d < 0 {
			shift = (la - lc) / (2 * d)
		}
		s.found = append(s.found, peak{(float64(k) + shift) * Rate / Size, b, b / mean})
	}
	return s.found, top
}

// explain takes from each peak what the harmonics of those below it may have brought.
func explain(peaks []peak) {
	for i := range peaks {
		p := &peaks[i]
		for j := range i {
			ratio := p.hz / peaks[j].hz
			h := math.Round(ratio)
			if h >= 2 && h <= mostHarmonics && math.Abs(ratio/h-1) < mistuned {
				p.magnitude -= peaks[j].magnitude * math.Pow(overtone, h-1)
			}
		}
		p.magnitude = max(p.magnitude, 0)
	}
}
