package beat

import (
	"cmp"
	"math"
	"slices"
)

const (
	slowest, fastest = 40.0, 250.0
	// perOctave is how many tempi are looked at from one to its double.
	perOctave = 96
	maxPeaks  = 10
)

// ratioCount is how many ratios there are.
const ratioCount = 9

// ratios are the parts and multiples of a period whose own strength tells whether the period
// is the beat.
var ratios = [ratioCount]float64{1.0 / 4, 1.0 / 3, 1.0 / 2, 2.0 / 3, 1, 3.0 / 2, 2, 3, 4}

// Candidate is a tempo that may be the beat, as the model sees it.
type Candidate struct {
	BPM      float64
	Features []float64
}

// Candidates are the tempi that the model decides between, for who fits its weights.
func (t *Tracker) Candidates() []Candidate {
	if t.onsets.n < least {
		return nil
	}
	_, all := t.periods()
	return candidates(all)
}

// candidates are the tempi that have a peak, and their halves and doubles, thirds and triples.
func candidates(all *[ranges]periodicity) []Candidate {
	n := int(math.Log2(fastest/slowest)*perOctave) + 1
	curve := make([]float64, n)
	bpm := func(i float64) float64 { return slowest * math.Exp2(i/perOctave) }
	for i := range curve {
		curve[i] = salience(all, bpm(float64(i)))
	}
	type peak struct{ bpm, height float64 }
	var peaks []peak
	for i := 1; i+1 < n; i++ {
		a, b, c := curve[i-1], curve[i], curve[i+1]
		if b > a && b >= c && b > 0 {
			// The top of the parabola through the three.
			peaks = append(peaks, peak{bpm(float64(i) + (a-c)/(2*(a-2*b+c))), b})
		}
	}
	slices.SortFunc(peaks, func(a, b peak) int { return cmp.Compare(b.height, a.height) })
	if len(peaks) > maxPeaks {
		peaks = peaks[:maxPeaks]
	}
	var tempi []float64
	add := func(t float64) {
		if t >= slowest && t <= fastest && !slices.ContainsFunc(tempi, func(o float64) bool { return math.Abs(o/t-1) < 0.03 }) {
			tempi = append(tempi, t)
		}
	}
	for _, p := range peaks {
		add(p.bpm)
	}
	for _, p := range peaks {
		for _, r := range []float64{2, 0.5, 3, 1.0 / 3} {
			add(p.bpm * r)
		}
	}
	var out []Candidate
	for _, t := range tempi {
		out = append(out, Candidate{t, features(all, t)})
	}
	return out
}

// salience is high where a tempo has both its period and its frequency.
func salience(all *[ranges]periodicity, bpm float64) float64 {
	frames, hz := FrameRate*60/bpm, bpm/60
	p := &all[full]
	l := max(0, at(p.lags, frames)) + 0.5*max(0, at(p.lags, 2*frames))
	return l * math.Sqrt(at(p.freqs, hz/FrameRate*padded))
}

// features describe a tempo to the model.
func features(all *[ranges]periodicity, bpm float64) []float64 {
	frames, hz := FrameRate*60/bpm, bpm/60
	octaves := math.Log2(bpm / 110)
	out := []float64{octaves, octaves * octaves, octaves * octaves * octaves, octaves * octaves * octaves * octaves}
	for r := range all {
		for _, ratio := range ratios {
			out = append(out, all[r].lag(frames*ratio))
		}
		for _, ratio := range ratios {
			out = append(out, math.Log1p(all[r].freq(hz*ratio)))
		}
	}
	return out
}

// weigh gives the candidates their probabilities, which sum to 1, best first.
func weigh(cs []Candidate, weights []float64) []Tempo {
	out := make([]Tempo, len(cs))
	top := math.Inf(-1)
	for i, c := range cs {
		score := 0.0
		for j, f := range c.Features {
			score += weights[j] * f
		}
		out[i] = Tempo{BPM: c.BPM, Probability: score}
		top = max(top, score)
	}
	sum := 0.0
	for i := range out {
		out[i].Probability = math.Exp(out[i].Probability - top)
		sum += out[i].Probability
	}
	for i := range out {
		out[i].Probability /= sum
	}
	slices.SortFunc(out, func(a, b Tempo) int { return cmp.Compare(b.Probability, a.Probability) })
	return out
}
