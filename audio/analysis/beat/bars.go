package beat

// metres are the beats per bar that are told apart.
var metres = [...]int{3, 4}

// bars finds the metre and the first beats of the bars: where the bass drum and the bass
// fall, and not those of the other beats.
func bars(beats []float64, novelty [ranges][]float64) (metre int, confidence float64, downbeats []int) {
	const fewest = 12
	if len(beats) < fewest {
		return 0, 0, nil
	}
	accents := accent(beats, novelty)
	best, second, phase := 0.0, 0.0, 0
	for _, m := range metres {
		top, where := contrast(accents, m)
		if top > best {
			best, second, metre, phase = top, best, m, where
		} else {
			second = max(second, top)
		}
	}
	if best <= 0 {
		return 0, 0, nil
	}
	for i := phase; i < len(beats); i += metre {
		downbeats = append(downbeats, i)
	}
	return metre, (best - second) / best, downbeats
}

// accent is how strong each beat is in the low range, against the beats around it.
func accent(beats []float64, novelty [ranges][]float64) []float64 {
	out := make([]float64, len(beats))
	for i, b := range beats {
		for j := max(0, int(b)-2); j <= min(len(novelty[low])-1, int(b)+3); j++ {
			out[i] = max(out[i], novelty[low][j])
		}
	}
	return out
}

// contrast is by how many spreads the accents of one phase of a metre are above the others,
// for the best phase.
func contrast(accents []float64, metre int) (top float64, phase int) {
	mean, square := 0.0, 0.0
	for _, a := range accents {
		mean += a / float64(len(accents))
	}
	for _, a := range accents {
		square += (a - mean) * (a - mean)
	}
	if square == 0 {
		return 0, 0
	}
	for p := range metre {
		sum, n := 0.0, 0
		for i := p; i < len(accents); i += metre {
			sum += accents[i] - mean
			n++
		}
		// The share of the spread that this phase explains.
		if share := sum * sum / float64(n) / square; sum > 0 && share > top {
			top, phase = share, p
		}
	}
	return top, phase
}
