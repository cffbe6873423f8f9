package tonal

import "math"

// A chord is a triad: 0 to 11 are major from C on, 12 to 23 minor.
const chords = 24

// stay is the log of how much likelier a chord is to go on than to become one other.
const stay = 2.2

// triads are unit vectors of bass and tune together.
func triads() (t [chords]chroma) {
	for c := range t {
		root, third := c%12, 4
		if c >= 12 {
			third = 3
		}
		for _, n := range []struct {
			step   int
			weight float64
		}{{0, 1}, {third, 0.9}, {7, 0.9}} {
			t[c][(root+n.step)%12] = n.weight
		}
		norm := 0.0
		for _, v := range t[c] {
			norm += v * v
		}
		for i := range t[c] {
			t[c][i] /= math.Sqrt(norm)
		}
	}
	return t
}

// sequence is the likeliest chord of each moment (Viterbi), and how well it fits, 0 to 1.
func sequence(bass, tune []chroma) (path []int8, fits []float64) {
	n := len(tune)
	if n == 0 {
		return nil, nil
	}
	templates := triads()
	scores := make([][chords]float64, n)
	from := make([][chords]int8, n)
	fits = make([]float64, n)
	like := make([][chords]float64, n)
	for i := range n {
		both := smoothed(bass, tune, i)
		norm := 0.0
		for _, v := range both {
			norm += v * v
		}
		norm = math.Sqrt(norm) + 1e-9
		for c := range templates {
			dot := 0.0
			for k, v := range both {
				dot += v * templates[c][k]
			}
			like[i][c] = dot / norm
			scores[i][c] = 12 * like[i][c]
		}
		if i == 0 {
			continue
		}
		best := 0
		for c := range chords {
			if scores[i-1][c] > scores[i-1][best] {
				best = c
			}
		}
		for c := range chords {
			if scores[i-1][c]+stay >= scores[i-1][best] {
				scores[i][c] += scores[i-1][c] + stay
				from[i][c] = int8(c)
			} else {
				scores[i][c] += scores[i-1][best]
				from[i][c] = int8(best)
			}
		}
	}
	path = make([]int8, n)
	last := n - 1
	for c := range chords {
		if scores[last][c] > scores[last][path[last]] {
			path[last] = int8(c)
		}
	}
	for i := last; i > 0; i-- {
		path[i-1] = from[i][path[i]]
	}
	for i, c := range path {
		fits[i] = like[i][c]
	}
	return path, fits
}

// smoothed is a moment with its neighbours, bass and tune together.
func smoothed(bass, tune []chroma, i int) chroma {
	var out chroma
	for j := max(0, i-1); j <= min(len(tune)-1, i+1); j++ {
		for k := range out {
			out[k] += tune[j][k] + 0.7*bass[j][k]
		}
	}
	for k := range out {
		out[k] = math.Sqrt(out[k])
	}
	return out
}
