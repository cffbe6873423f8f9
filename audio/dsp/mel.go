package dsp

import "math"

// MelBank sums power spectra into bands of equal width in mel, as triangles of equal area
// (Slaney's Auditory Toolbox, technical report 1998-010, as librosa and musicnn use it).
type MelBank struct {
	first   []int
	weights [][]float64
}

// NewMelBank makes bands between low and high Hz for spectra of size/2+1 bins at rate.
func NewMelBank(bands, size, rate int, low, high float64) *MelBank {
	edges := make([]float64, bands+2)
	from, to := mel(low), mel(high)
	for i := range edges {
		edges[i] = hertz(from + (to-from)*float64(i)/float64(bands+1))
	}
	m := &MelBank{first: make([]int, bands), weights: make([][]float64, bands)}
	for b := range bands {
		l, c, r := edges[b], edges[b+1], edges[b+2]
		for k := range size/2 + 1 {
			hz := float64(k) * float64(rate) / float64(size)
			w := min((hz-l)/(c-l), (r-hz)/(r-c)) * 2 / (r - l)
			if w <= 0 {
				continue
			}
			if m.weights[b] == nil {
				m.first[b] = k
			}
			m.weights[b] = append(m.weights[b], w)
		}
	}
	return m
}

// Sum writes the energy of each band of a power spectrum to dst, which has one place for
// each. A band that lies between two bins is 0.
func (m *MelBank) Sum(dst, power []float64) {
	for b, ws := range m.weights {
		sum := 0.0
		for i, p := range power[m.first[b] : m.first[b]+len(ws)] {
			sum += ws[i] * p
		}
		dst[b] = sum
	}
}

// Slaney's mel scale is linear to 1 kHz and logarithmic above.
const (
	melLinear = 200.0 / 3
	melKnee   = 1000.0
)

var melStep = math.Log(6.4) / 27

func mel(hz float64) float64 {
	if hz < melKnee {
		return hz / melLinear
	}
	return melKnee/melLinear + math.Log(hz/melKnee)/melStep
}

func hertz(m float64) float64 {
	if m < melKnee/melLinear {
		return m * melLinear
	}
	return melKnee * math.Exp(melStep*(m-melKnee/melLinear))
}
