package shape

import (
	"math"
	"slices"
)

const (
	// kernel is how many seconds to each side of a border are compared.
	kernel = 12
	// apart is how many seconds borders are apart at least.
	apart = 8
	// alike is from where on two sections have one label.
	alike = 0.90
	// FeatureLimit is the greatest number of seconds that are looked at.
	FeatureLimit = 3600
)

// Section is a part of a track that is alike in itself.
type Section struct {
	// Start and End are in seconds.
	Start, End float64
	// Label is the same number for sections that are alike, from 0 on in order of appearance.
	Label int
	// Confidence is how much the music changes at Start, 0 to 1; 1 at the beginning.
	Confidence float64
}

// Sections finds the sections of a track from what each second is like: vectors of one
// length, whose places are normalised here. A track that is all alike is one section.
func Sections(seconds [][]float64) []Section {
	if len(seconds) == 0 {
		return nil
	}
	if len(seconds) > FeatureLimit {
		seconds = seconds[:FeatureLimit]
	}
	x := normalised(seconds)
	novelty := checkerboard(x)
	borders := []int{0}
	var strengths []float64
	for i, v := range novelty {
		if v < 0.15 || i < apart || i > len(x)-apart {
			continue
		}
		if v < slices.Max(novelty[max(0, i-apart):min(len(novelty), i+apart+1)]) || i-borders[len(borders)-1] < apart {
			continue
		}
		borders = append(borders, i)
		strengths = append(strengths, v)
	}
	out := make([]Section, len(borders))
	var means [][]float64
	for i, from := range borders {
		to := len(x)
		if i+1 < len(borders) {
			to = borders[i+1]
		}
		out[i] = Section{Start: float64(from), End: float64(to), Confidence: 1}
		if i > 0 {
			out[i].Confidence = min(1, strengths[i-1])
		}
		mean := middle(x[from:to])
		out[i].Label = len(means)
		for l, m := range means {
			if cosine(m, mean) > alike {
				out[i].Label = l
				break
			}
		}
		if out[i].Label == len(means) {
			means = append(means, mean)
		}
	}
	return out
}

// normalised has each place around 0 with a spread of 1, and each vector of length 1.
func normalised(in [][]float64) [][]float64 {
	n, places := float64(len(in)), len(in[0])
	mean, spread := make([]float64, places), make([]float64, places)
	for _, v := range in {
		for j, x := range v {
			mean[j] += x / n
		}
	}
	for _, v := range in {
		for j, x := range v {
			spread[j] += (x - mean[j]) * (x - mean[j]) / n
		}
	}
	out := make([][]float64, len(in))
	for i, v := range in {
		out[i] = make([]float64, places)
		length := 0.0
		for j, x := range v {
			out[i][j] = (x - mean[j]) / math.Sqrt(spread[j]+1e-9)
			length += out[i][j] * out[i][j]
		}
		for j := range out[i] {
			out[i][j] /= math.Sqrt(length) + 1e-9
		}
	}
	return out
}

// checkerboard is at each second how much what is before and what is behind are alike in
// themselves, but not to each other.
func checkerboard(x [][]float64) []float64 {
	bell := make([]float64, kernel)
	for i := range bell {
		d := (float64(i) + 0.5) / kernel
		bell[i] = math.Exp(-4 * d * d)
	}
	out := make([]float64, len(x))
	for i := range out {
		sum, weight := 0.0, 0.0
		for a := -kernel; a < kernel; a++ {
			for b := a + 1; b < kernel; b++ {
				if i+a < 0 || i+b >= len(x) {
					continue
				}
				w := bell[side(a)] * bell[side(b)]
				weight += w
				s := cosine(x[i+a], x[i+b])
				if (a < 0) != (b < 0) {
					s = -s
				}
				sum += w * s
			}
		}
		out[i] = max(0, sum/max(weight, 1e-9))
	}
	return out
}

// side is how far a place is from the border, whichever way.
func side(a int) int {
	if a < 0 {
		return -1 - a
	}
	return a
}

// cosine is of two vectors of any length.
func cosine(a, b []float64) float64 {
	dot, la, lb := 0.0, 0.0, 0.0
	for i, v := range a {
		dot += v * b[i]
		la += v * v
		lb += b[i] * b[i]
	}
	return dot / (math.Sqrt(la*lb) + 1e-9)
}

func middle(x [][]float64) []float64 {
	out := make([]float64, len(x[0]))
	for _, v := range x {
		for j, f := range v {
			out[j] += f / float64(len(x))
		}
	}
	return out
}

func median(levels []float32) float64 {
	s := slices.Clone(levels)
	slices.Sort(s)
	return float64(s[len(s)/2])
}
