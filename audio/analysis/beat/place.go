package beat

import (
	"math"
	"slices"
)

// tightness is what a deviation from the period costs against the strength of an onset.
const tightness = 200.0

// place finds the beats of a period in frames: those that lie on strong onsets and are a
// period apart. They are frames, with parts of them.
func place(novelty []float64, period float64) []float64 {
	n := len(novelty)
	strength := smooth(novelty, period)
	score, from := make([]float64, n), make([]int32, n)
	near, far := int(math.Round(period/2)), int(math.Round(period*2))
	cost := make([]float64, far+1)
	for d := near; d <= far; d++ {
		l := math.Log(float64(d) / period)
		cost[d] = -tightness * l * l
	}
	begun := false
	top := slices.Max(strength)
	for i := range n {
		best, at := math.Inf(-1), -1
		for d := near; d <= far && d <= i; d++ {
			if s := cost[d] + score[i-d]; s > best {
				best, at = s, i-d
			}
		}
		score[i], from[i] = strength[i], -1
		if begun && at >= 0 {
			score[i], from[i] = strength[i]+best, int32(at)
		}
		// Silence before the music has no beats.
		begun = begun || strength[i] > 0.1*top
		if !begun {
			from[i] = -1
		}
	}
	// The last beat is the best of the last period.
	last := n - 1
	for i := max(0, n-int(period)); i < n; i++ {
		if score[i] > score[last] {
			last = i
		}
	}
	var beats []float64
	for i := last; i >= 0; i = int(from[i]) {
		beats = append(beats, refined(novelty, i))
	}
	slices.Reverse(beats)
	return trim(beats, strength, top)
}

// smooth is the novelty in units of its spread, under a narrow bell.
func smooth(novelty []float64, period float64) []float64 {
	square := 0.0
	for _, v := range novelty {
		square += v * v / float64(len(novelty))
	}
	spread := math.Sqrt(square)
	if spread == 0 {
		spread = 1
	}
	reach := max(1, int(period/8))
	bell := make([]float64, reach+1)
	for i := range bell {
		x := float64(i) * 32 / period
		bell[i] = math.Exp(-x*x/2) / spread
	}
	out := make([]float64, len(novelty))
	for i := range out {
		out[i] = novelty[i] * bell[0]
		for d := 1; d <= reach; d++ {
			if i >= d {
				out[i] += novelty[i-d] * bell[d]
			}
			if i+d < len(novelty) {
				out[i] += novelty[i+d] * bell[d]
			}
		}
	}
	return out
}

// refined is the middle of the onset near a beat.
func refined(novelty []float64, i int) float64 {
	sum, moment := 0.0, 0.0
	for j := max(0, i-1); j <= min(len(novelty)-1, i+1); j++ {
		sum += novelty[j]
		moment += novelty[j] * float64(j)
	}
	if sum == 0 {
		return float64(i)
	}
	return moment / sum
}

// trim takes beats away from both ends that lie on nothing.
func trim(beats, strength []float64, top float64) []float64 {
	weak := func(b float64) bool { return strength[int(b)] < 0.05*top }
	for len(beats) > 0 && weak(beats[0]) {
		beats = beats[1:]
	}
	for len(beats) > 0 && weak(beats[len(beats)-1]) {
		beats = beats[:len(beats)-1]
	}
	return beats
}

// spacing is the period that the beats keep: the median over spans of eight, 0 for too few.
func spacing(beats []float64) float64 {
	const span = 8
	if len(beats) < 2*span {
		return 0
	}
	var all []float64
	for i := span; i < len(beats); i++ {
		all = append(all, (beats[i]-beats[i-span])/span)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
