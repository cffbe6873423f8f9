package loudness

import (
	"math"
	"slices"
)

const (
	// rangeGate is relative, in LU, and the percentiles bound the range: EBU Tech 3342.
	rangeGate = -20.0
	rangeLow  = 0.10
	rangeHigh = 0.95
)

// loudnessRange is the range of the short-term loudness of a programme in LU, between the
// 10th and the 95th percentile of what passes both gates.
func loudnessRange(shorts []float64) float64 {
	mean, ok := meanAbove(shorts, absoluteGate)
	if !ok {
		return 0
	}
	gate := max(lufs(mean)+rangeGate, absoluteGate)
	var levels []float64
	for _, s := range shorts {
		if s > 0 && lufs(s) > gate {
			levels = append(levels, lufs(s))
		}
	}
	if len(levels) == 0 {
		return 0
	}
	slices.Sort(levels)
	at := func(share float64) float64 { return levels[int(math.Round(share*float64(len(levels)-1)))] }
	return at(rangeHigh) - at(rangeLow)
}

func highest(windows []float64) float64 {
	top := 0.0
	for _, w := range windows {
		top = max(top, w)
	}
	return top
}

func atLeastSilence(meanSquare float64) float64 {
	if !(meanSquare > 0) {
		return Silence
	}
	return max(lufs(meanSquare), Silence)
}
