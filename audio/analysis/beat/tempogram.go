package beat

import (
	"math"

	"github.com/segue-music/segue/audio/dsp"
)

const (
	// Novelty is looked at in windows of 12 s that overlap by three quarters.
	windowFrames = 1024
	windowHop    = windowFrames / 4
	padded       = 2 * windowFrames
)

// periodicity is how much of a novelty repeats after a time, and how often in a second.
type periodicity struct {
	lags  []float64 // autocorrelation at each lag in frames, 1 at 0
	freqs []float64 // magnitude at each multiple of FrameRate/padded, the mean of 1 to 20 Hz is 1
}

// period finds the periodicity of a novelty, the mean of that of its windows. It is all 0
// where nothing happens.
func period(novelty []float64) periodicity {
	fft, err := dsp.NewRFFT(padded)
	if err != nil {
		panic(err) // the size is a constant
	}
	p := periodicity{lags: make([]float64, windowFrames), freqs: make([]float64, fft.Bins())}
	frame, power := make([]float64, padded), make([]float64, fft.Bins())
	back, im := make([]float64, fft.Bins()), make([]float64, fft.Bins())
	windows := 0.0
	for from := 0; from == 0 || from+windowFrames <= len(novelty); from += windowHop {
		part := novelty[from:min(from+windowFrames, len(novelty))]
		if !level(frame, part) {
			continue
		}
		fft.Power(power, frame)
		mean := 0.0
		const first, last = padded * Hop / SampleRate, 20 * padded * Hop / SampleRate
		for k := first; k <= last; k++ {
			mean += math.Sqrt(power[k]) / float64(last-first+1)
		}
		for k, v := range power {
			p.freqs[k] += math.Sqrt(v) / mean
		}
		// The spectrum is even, so that its transform is the autocorrelation.
		copy(frame, power)
		for k := 1; k < padded/2; k++ {
			frame[padded-k] = power[k]
		}
		fft.Transform(back, im, frame)
		for l := range p.lags {
			if l < len(part)*3/4 {
				p.lags[l] += back[l] / back[0] * float64(len(part)) / float64(len(part)-l)
			}
		}
		windows++
	}
	for _, v := range [][]float64{p.lags, p.freqs} {
		for i := range v {
			v[i] /= max(windows, 1)
		}
	}
	return p
}

// level fills frame with part around 0, and with zeros behind it. It tells whether there is
// anything.
func level(frame, part []float64) bool {
	mean, square := 0.0, 0.0
	for _, v := range part {
		mean += v / float64(len(part))
	}
	for i, v := range part {
		frame[i] = v - mean
		square += frame[i] * frame[i]
	}
	clear(frame[len(part):])
	return square > 1e-6
}

// at reads between two values.
func at(values []float64, place float64) float64 {
	i := int(place)
	if place < 0 || i+1 >= len(values) {
		return 0
	}
	share := place - float64(i)
	return values[i]*(1-share) + values[i+1]*share
}

// lag is the autocorrelation after so many frames.
func (p *periodicity) lag(frames float64) float64 {
	// A beat is not placed to the frame: the best within 2 %.
	return max(at(p.lags, frames), at(p.lags, frames*0.985), at(p.lags, frames*1.015))
}

// freq is the magnitude at a frequency.
func (p *periodicity) freq(hz float64) float64 {
	k := hz / FrameRate * padded
	return max(at(p.freqs, k), at(p.freqs, k-0.5), at(p.freqs, k+0.5))
}
