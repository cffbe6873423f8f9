package dsp

import "math"

// halfTaps are the taps on one side of a half-band filter that are not 0.
const halfTaps = 12

// Halver halves the rate of a stream of samples. Its low pass is a half-band filter of 47
// taps (a sinc under a Kaiser window with beta 8): flat to 0.2 of the rate that comes in,
// 60 dB down from 0.3 on. What lies between folds to above 0.2, which is 0.4 of the rate
// that goes out. It delays by 23 samples, and tells as many fewer at the end.
// The zero value is ready.
type Halver struct {
	past []float64 // not yet used up, oldest first
	taps *[halfTaps]float64
}

// Append takes samples in pieces of any length and appends those of half the rate to dst.
func (h *Halver) Append(dst, in []float64) []float64 {
	if h.taps == nil {
		h.taps = halfBand()
		h.past = make([]float64, 2*halfTaps-1, 4096)
	}
	h.past = append(h.past, in...)
	const span = 4*halfTaps - 1
	t := h.taps
	x := h.past
	for ; len(x) >= span; x = x[2:] {
		w := (*[span]float64)(x)
		sum := 0.5 * w[2*halfTaps-1]
		for i, c := range t {
			sum += c * (w[2*halfTaps-2-2*i] + w[2*halfTaps+2*i])
		}
		dst = append(dst, sum)
	}
	h.past = append(h.past[:0], x...)
	return dst
}

// halfBand are the taps beside the middle one, which is 0.5: the first beside it, then every
// second, since those between are 0. They sum to a quarter, so that 0 Hz passes as it is.
func halfBand() *[halfTaps]float64 {
	const beta = 8.0
	var taps [halfTaps]float64
	sum := 0.0
	for i := range taps {
		n := float64(2*i + 1)
		taps[i] = math.Sin(math.Pi*n/2) / (math.Pi * n) * Kaiser(n/(2*halfTaps), beta)
		sum += taps[i]
	}
	for i := range taps {
		taps[i] *= 0.25 / sum
	}
	return &taps
}
