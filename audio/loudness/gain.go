package loudness

import "math"

// Q8 is a decibel value as signed 8.8 fixed point: 256 is 1 dB.
type Q8 int16

// ToQ8 rounds dB to Q8, and keeps it within the type.
func ToQ8(dB float64) Q8 {
	if math.IsNaN(dB) {
		return 0
	}
	return Q8(math.Round(min(max(dB*256, math.MinInt16), math.MaxInt16)))
}

// DB is the value in decibels.
func (q Q8) DB() float64 { return float64(q) / 256 }

// Gain is what brings a loudness to Target, in dB; 0 for silence.
func Gain(integrated float64) float64 {
	if integrated <= Silence || math.IsNaN(integrated) {
		return 0
	}
	return Target - integrated
}

// PeakDB is a peak (a share of full scale) in dBFS, at least -96.
func PeakDB(peak float64) float64 {
	if !(peak > 0) {
		return -96
	}
	return max(20*math.Log10(peak), -96)
}

// SafeGain lowers gain (dB) so that peak (a share of full scale) stays at or
// under ceiling (dBFS). It never raises it.
func SafeGain(gain, peak, ceiling float64) float64 {
	return min(gain, ceiling-PeakDB(peak))
}
