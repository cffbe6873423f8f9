package beat

import (
	"math"

	"github.com/segue-music/segue/audio/dsp"
)

// What a Tracker takes.
const (
	// SampleRate is of the sound, and Size and Hop of the frames whose spectra a Tracker takes.
	SampleRate = 22050
	Size       = 1024
	Hop        = 256
	// FrameRate is frames per second.
	FrameRate = float64(SampleRate) / Hop

	bands = 36
	// lows are bands of two bins from 43 Hz on, where a bank of mel bands is too coarse to
	// tell a bass drum from a bass. They count for the low range alone.
	lows, lowFirst, lowWidth = 3, 2, 2
	// lag is how far back a rise is looked for, in frames: half a window.
	lag = 2
	// floor is the energy below which little is an onset: 70 dB under a full sine.
	floor = 1e-7
	// maxFrames bound memory: an hour.
	maxFrames = 3600 * SampleRate / Hop
)

// Strengths of onsets are kept for all bands together and for three ranges: what a bass drum
// does, what carries the tune, and what cymbals do.
const (
	full = iota
	low
	middle
	high
	ranges
)

// onsets turns spectra into strengths of onsets.
type onsets struct {
	mel   *dsp.MelBank
	of    [bands + lows]int // range of each band
	past  [lag + 1][bands + lows]float64
	n     int
	scale float64
	// strength of each range, a frame each.
	strength [ranges][]float32
}

func newOnsets() *onsets {
	o := &onsets{mel: dsp.NewMelBank(bands, Size, SampleRate, 30, 10500)}
	// A full sine under a Hann window has a power of (Size/4)² in its bin; the bank divides
	// by the width of the band.
	o.scale = 1 / (float64(Size) / 4 * float64(Size) / 4)
	for b := range o.of {
		o.of[b] = middle
		if b < bands && float64(b) > bands*0.72 { // 5 kHz on
			o.of[b] = high
		}
		if b >= bands {
			o.of[b] = low
		}
	}
	return o
}

// add takes the power spectrum of a frame.
func (o *onsets) add(power []float64) {
	if o.n >= maxFrames {
		return
	}
	now := &o.past[o.n%(lag+1)]
	before := &o.past[(o.n+1)%(lag+1)]
	o.mel.Sum(now[:bands], power)
	for l := range lows {
		now[bands+l] = 0
		for _, p := range power[lowFirst+l*lowWidth:][:lowWidth] {
			now[bands+l] += p * Size / SampleRate
		}
	}
	for b, e := range now {
		now[b] = math.Log10(1 + e*o.scale/floor)
	}
	var rise [ranges]float64
	if o.n >= lag {
		for b, v := range now {
			top := before[b]
			if b > 0 && b < bands {
				top = max(top, before[b-1])
			}
			if b+1 < bands {
				top = max(top, before[b+1])
			}
			if v <= top {
				continue
			}
			rise[o.of[b]] += v - top
			if b < bands {
				rise[full] += v - top
			}
		}
	}
	for r := range o.strength {
		o.strength[r] = append(o.strength[r], float32(rise[r]))
	}
	o.n++
}

// novelty is the strength of a range where it is above its surroundings of half a second.
func (o *onsets) novelty(r int) []float64 {
	const reach = SampleRate / Hop / 4
	in := o.strength[r]
	out := make([]float64, len(in))
	sum := 0.0
	for i := range min(reach, len(in)) {
		sum += float64(in[i])
	}
	for i := range in {
		if i+reach < len(in) {
			sum += float64(in[i+reach])
		}
		if i-reach-1 >= 0 {
			sum -= float64(in[i-reach-1])
		}
		n := min(i+reach, len(in)-1) - max(i-reach, 0) + 1
		out[i] = max(0, float64(in[i])-sum/float64(n))
	}
	return out
}
