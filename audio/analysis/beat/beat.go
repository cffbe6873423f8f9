package beat

import (
	"math"
)

// Tempo is one that a listener might tap.
type Tempo struct {
	BPM float64
	// Probability is the model's, of all tempi that were looked at; they sum to 1.
	Probability float64
}

// Result is what a Tracker found. Without beats, in silence or noise, it has none of it.
type Result struct {
	// Tempo is the one that is most probable, and Alternatives the others from 1 % on. None
	// has a BPM of 0.
	Tempo        Tempo
	Alternatives []Tempo
	// Beats are in seconds. Where the tempo changes they follow it by some per cent.
	Beats []float64
	// Metre is beats per bar, 3 or 4, and 0 where it is not to be told; MetreConfidence is
	// from 0 to 1. Downbeats are positions in Beats.
	Metre           int
	MetreConfidence float64
	Downbeats       []int
	// Onsets is how many there are per second.
	Onsets float64
	// Pattern is how much repeats after a quarter, a third, a half and two thirds of a beat,
	// after one, one and a half, two, three and four, from about -1 to 1.
	Pattern [ratioCount]float64
	// Pulse is from 0, nothing repeats, to 1, all onsets repeat after a beat or a bar.
	Pulse float64
}

// Tracker takes power spectra of frames of Size samples at SampleRate under a Hann window,
// Hop apart, the first an hour long at most. It keeps 16 bytes of each.
type Tracker struct {
	onsets *onsets
}

// New returns a Tracker.
func New() *Tracker { return &Tracker{onsets: newOnsets()} }

// Add takes the power spectrum of the next frame, Size/2 + 1 bins.
func (t *Tracker) Add(power []float64) { t.onsets.add(power) }

// least is how many frames tell a tempo: 4 s.
const least = 4 * SampleRate / Hop

// Result is what is known of the frames so far.
func (t *Tracker) Result() Result {
	if t.onsets.n < least {
		return Result{}
	}
	novelty, all := t.periods()
	if all[full].lags[0] == 0 {
		return Result{}
	}
	tempi := weigh(candidates(all), weights[:])
	if len(tempi) == 0 {
		return Result{}
	}
	out := Result{Onsets: density(novelty[full])}
	frames := FrameRate * 60 / tempi[0].BPM
	p := &all[full]
	for i, ratio := range ratios {
		out.Pattern[i] = p.lag(frames * ratio)
	}
	out.Pulse = min(1, max(0, p.lag(frames), p.lag(2*frames), p.lag(4*frames)))
	beats := place(novelty[full], frames)
	if fine := spacing(beats); fine > 0 && math.Abs(fine/frames-1) < 0.03 {
		// What the beats keep is more exact than a peak of the autocorrelation.
		for i := range tempi {
			tempi[i].BPM *= frames / fine
		}
	}
	out.Tempo = tempi[0]
	for _, a := range tempi[1:] {
		if a.Probability >= 0.01 {
			out.Alternatives = append(out.Alternatives, a)
		}
	}
	for _, b := range beats {
		out.Beats = append(out.Beats, seconds(b))
	}
	out.Metre, out.MetreConfidence, out.Downbeats = bars(beats, novelty)
	return out
}

func (t *Tracker) periods() (novelty [ranges][]float64, all *[ranges]periodicity) {
	all = new([ranges]periodicity)
	for r := range novelty {
		novelty[r] = t.onsets.novelty(r)
		all[r] = period(novelty[r])
	}
	return novelty, all
}

// seconds is when the onset of a frame was: its rise is between it and the frame lag before.
func seconds(frame float64) float64 {
	return max(0, ((frame-float64(lag)/2)*Hop+Size/2)/SampleRate)
}

// density is peaks per second.
func density(novelty []float64) float64 {
	mean := 0.0
	for _, v := range novelty {
		mean += v / float64(len(novelty))
	}
	n := 0
	const reach = 3
	for i, v := range novelty {
		if v <= mean {
			continue
		}
		top := true
		for j := max(0, i-reach); j <= min(len(novelty)-1, i+reach); j++ {
			if novelty[j] > v || novelty[j] == v && j < i {
				top = false
			}
		}
		if top {
			n++
		}
	}
	return float64(n) / (float64(len(novelty)) / FrameRate)
}
