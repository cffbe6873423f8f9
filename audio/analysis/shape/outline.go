package shape

import "math"

const (
	// stepsPerSecond are the steps in which level and peak are kept.
	stepsPerSecond = 20
	// silent is the level of a step, root mean square in dB under full scale, that is no sound.
	silent = -60.0
	// fadeDepth is how far under its usual level music is where a fade begins, in dB.
	fadeDepth = 3.0
	// shortest is how long a fade is at least, in seconds.
	shortest = 1.0
	// fadeBottom is how far a fade goes down at least, in dB.
	fadeBottom = 15.0
)

// Zooms is how many outlines there are.
const Zooms = 3

// zooms are how many points each has. They fit into 4 KB together.
var zooms = [Zooms]int{256, 1024, 2560}

// Outline takes mono samples at a rate. It keeps 8 bytes of each 50 ms.
type Outline struct {
	rate, left, n int
	peak, square  float64
	peaks, levels []float32
}

// NewOutline returns an Outline for samples at rate.
func NewOutline(rate int) *Outline {
	o := &Outline{rate: rate}
	o.left = o.to(1)
	return o
}

// to is how many samples the first n steps have.
func (o *Outline) to(n int) int { return n * o.rate / stepsPerSecond }

// Write takes samples in pieces of any length.
func (o *Outline) Write(samples []float64) {
	for len(samples) > 0 {
		k := min(o.left, len(samples))
		peak, square := o.peak, o.square
		for _, v := range samples[:k] {
			square += v * v
			if v < 0 {
				v = -v
			}
			if v > peak {
				peak = v
			}
		}
		o.peak, o.square = peak, square
		samples = samples[k:]
		if o.left -= k; o.left == 0 {
			o.step(o.to(o.n+1) - o.to(o.n))
		}
	}
}

func (o *Outline) step(samples int) {
	o.peaks = append(o.peaks, float32(o.peak))
	o.levels = append(o.levels, float32(decibels(o.square/float64(samples))))
	o.n++
	o.peak, o.square, o.left = 0, 0, o.to(o.n+1)-o.to(o.n)
}

func decibels(square float64) float64 { return max(-120, 10*math.Log10(square+1e-13)) }

// Waveform is the highest sample of equal parts of a track, 255 for full scale, as 256, 1,024 and
// 2,560 parts.
type Waveform [Zooms][]byte

// Waveform is the outline so far: parts that are shorter than 50 ms repeat.
func (o *Outline) Waveform() Waveform {
	var out Waveform
	if o.n == 0 {
		return out
	}
	for z, points := range zooms {
		out[z] = make([]byte, points)
		for i := range out[z] {
			from := i * o.n / points
			to := max(from+1, (i+1)*o.n/points)
			top := float32(0)
			for _, p := range o.peaks[from:to] {
				top = max(top, p)
			}
			out[z][i] = byte(math.Round(255 * min(1, float64(top))))
		}
	}
	return out
}

// Ends are where sound begins and ends in a track and fades, in seconds. A track of silence
// has all 0.
type Ends struct {
	// Start and End are the first and the last sound.
	Start, End float64
	// FadeInEnd and FadeOutStart are where music is at its level; they are Start and End
	// where it does not fade.
	FadeInEnd, FadeOutStart float64
	// Usual is the median level of what sounds, root mean square in dB under full scale.
	Usual float64
}

// Ends are those of what has been written.
func (o *Outline) Ends() Ends {
	first, last := -1, -1
	for i, l := range o.levels {
		if l > silent {
			if first < 0 {
				first = i
			}
			last = i
		}
	}
	if first < 0 {
		return Ends{}
	}
	sound := o.levels[first : last+1]
	at := func(i int) float64 { return float64(first+i) / stepsPerSecond }
	out := Ends{Start: at(0), End: at(len(sound)), Usual: median(sound)}
	smooth := smoothed(sound)
	out.FadeInEnd, out.FadeOutStart = out.Start, out.End
	if n := rise(smooth, out.Usual, false); n > 0 {
		out.FadeInEnd = at(n)
	}
	if n := rise(smooth, out.Usual, true); n > 0 {
		out.FadeOutStart = at(len(sound) - n)
	}
	return out
}

// rise is how many steps from one end it takes to the usual level, 0 where that is no fade:
// too short, too shallow, or not steadily up.
func rise(levels []float64, usual float64, backwards bool) int {
	n := len(levels)
	get := func(i int) float64 {
		if backwards {
			return levels[n-1-i]
		}
		return levels[i]
	}
	i := 0
	for i < n && get(i) < usual-fadeDepth {
		i++
	}
	if i == n || float64(i) < shortest*stepsPerSecond || get(0) > usual-fadeBottom {
		return 0
	}
	// A fade goes one way: what it falls back by is little against what it rises by.
	up, down := 0.0, 0.0
	for j := stepsPerSecond / 2; j <= i; j += stepsPerSecond / 2 {
		if d := get(j) - get(j-stepsPerSecond/2); d > 0 {
			up += d
		} else {
			down -= d
		}
	}
	if down > 0.35*up {
		return 0
	}
	return i
}

// smoothed is the mean energy of half a second around each step, in dB.
func smoothed(levels []float32) []float64 {
	const reach = stepsPerSecond / 4
	out := make([]float64, len(levels))
	for i := range levels {
		sum, n := 0.0, 0.0
		for j := max(0, i-reach); j <= min(len(levels)-1, i+reach); j++ {
			sum += math.Pow(10, float64(levels[j])/10)
			n++
		}
		out[i] = decibels(sum / n)
	}
	return out
}
