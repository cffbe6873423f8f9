package tonal

import (
	"cmp"
	"math"
	"slices"
)

// Guess is a key and its probability among the 24.
type Guess struct {
	Key         Key
	Probability float64
}

// Result is what a Finder found.
type Result struct {
	// Keys are all 24, most probable first, and none where there is no pitch.
	Keys []Guess
	// Tuning is what is added to 440 Hz, in cents from -50 to 50, and TuningConfidence from
	// 0 to 1 how much the pitches agree on it.
	Tuning, TuningConfidence float64
	// Chroma is the mean share of each pitch class, C first; they sum to 1.
	Chroma [12]float64
	// Chords is the share of time of each triad, major from C on, then minor.
	Chords [chords]float64
	// Fit is how well triads explain what sounds, 0 to 1.
	Fit float64
}

// fewest frames tell a key: 3 s.
const fewest = 3 * 5512 / Hop

// Result is what is known of the frames so far.
func (f *Finder) Result() Result {
	d, ok := f.describe()
	if !ok {
		return Result{}
	}
	out := Result{Tuning: d.tuning, TuningConfidence: d.sure, Chords: d.chords, Fit: d.fit}
	for i := range out.Chroma {
		out.Chroma[i] = (d.tune[i] + d.bass[i]) / 2
	}
	top := math.Inf(-1)
	for _, minor := range []bool{false, true} {
		weights := weightsOf(minor)
		for tonic := range 12 {
			score := 0.0
			for i, v := range d.features(Key{tonic, minor}) {
				score += v * weights[i]
			}
			out.Keys = append(out.Keys, Guess{Key{tonic, minor}, score})
			top = max(top, score)
		}
	}
	sum := 0.0
	for i := range out.Keys {
		out.Keys[i].Probability = math.Exp(out.Keys[i].Probability - top)
		sum += out.Keys[i].Probability
	}
	for i := range out.Keys {
		out.Keys[i].Probability /= sum
	}
	slices.SortStableFunc(out.Keys, func(a, b Guess) int { return cmp.Compare(b.Probability, a.Probability) })
	return out
}

// description is a piece of music as a whole.
type description struct {
	tuning, sure, fit float64
	bass, tune        chroma // shares that sum to 1
	chords            [chords]float64
	first, last       [chords]float64 // of the first and the last moments that sound
}

func (f *Finder) describe() (d description, ok bool) {
	if len(f.moments) < fewest {
		return d, false
	}
	d.tuning, d.sure = f.tuning()
	bass, tune := make([]chroma, 0, len(f.moments)), make([]chroma, 0, len(f.moments))
	for i := range f.moments {
		b, t := fold(&f.moments[i].bass, d.tuning), fold(&f.moments[i].tune, d.tuning)
		if b.sum()+t.sum() > 0 {
			bass, tune = append(bass, b), append(tune, t)
		}
	}
	if len(tune) < fewest {
		return d, false
	}
	d.bass, d.tune = mean(bass), mean(tune)
	path, fits := sequence(bass, tune)
	for i, c := range path {
		d.chords[c] += 1 / float64(len(path))
		d.fit += fits[i] / float64(len(path))
	}
	const end = 16 // 3 s
	for _, c := range path[:min(end, len(path))] {
		d.first[c] += 1.0 / end
	}
	for _, c := range path[max(0, len(path)-end):] {
		d.last[c] += 1.0 / end
	}
	return d, true
}

// mean is the mean share of each pitch class; what is loud counts no more than its root.
func mean(all []chroma) chroma {
	var out chroma
	for i := range all {
		s := all[i].sum()
		if s == 0 {
			continue
		}
		for k, v := range all[i] {
			out[k] += v / math.Sqrt(s)
		}
	}
	total := out.sum()
	for k := range out {
		out[k] /= max(total, 1e-12)
	}
	return out
}

// featureCount is how many features a key has.
const featureCount = 1 + 12 + 12 + 3*chords

// features describe the piece as heard from a key: degrees in the tune and the bass, and the
// chords on each degree.
func (d *description) features(k Key) []float64 {
	out := make([]float64, 0, featureCount)
	out = append(out, 1)
	for _, c := range []*chroma{&d.tune, &d.bass} {
		for degree := range 12 {
			out = append(out, 12*c[(k.Tonic+degree)%12]-1)
		}
	}
	for _, of := range []*[chords]float64{&d.chords, &d.first, &d.last} {
		for quality := 0; quality < chords; quality += 12 {
			for degree := range 12 {
				out = append(out, math.Sqrt(of[quality+(k.Tonic+degree)%12]))
			}
		}
	}
	return out
}

// Candidate is a key as the model sees it.
type Candidate struct {
	Key      Key
	Features []float64
}

// Candidates are the keys with their features, for who fits the model's weights.
func (f *Finder) Candidates() []Candidate {
	d, ok := f.describe()
	if !ok {
		return nil
	}
	var out []Candidate
	for _, minor := range []bool{false, true} {
		for tonic := range 12 {
			k := Key{tonic, minor}
			out = append(out, Candidate{k, d.features(k)})
		}
	}
	return out
}

// Seconds are the pitch classes of each second so far, C first; they sum to 1 where there
// are any.
func (f *Finder) Seconds() [][12]float64 {
	cents, _ := f.tuning()
	const perSecond = Rate / Hop
	out := make([][12]float64, int(float64(len(f.moments))/perSecond))
	for i := range out {
		var of []chroma
		for j := int(float64(i) * perSecond); j < int(float64(i+1)*perSecond); j++ {
			b, t := fold(&f.moments[j].bass, cents), fold(&f.moments[j].tune, cents)
			for k := range t {
				t[k] += b[k]
			}
			of = append(of, t)
		}
		out[i] = mean(of)
	}
	return out
}
