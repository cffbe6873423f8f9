package analysis

import (
	"github.com/segue-music/segue/audio/analysis/beat"
	"github.com/segue-music/segue/audio/analysis/shape"
	"github.com/segue-music/segue/audio/analysis/timbre"
	"github.com/segue-music/segue/audio/analysis/tonal"
	"github.com/segue-music/segue/audio/dsp"
)

// Version is that of the algorithms: it changes when their results do.
const Version = 1

// Rate is the rate of the PCM that an Analyser takes.
const Rate = 44100

// Result is what an Analyser found.
type Result struct {
	Beat     beat.Result
	Tonal    tonal.Result
	Timbre   timbre.Result
	Ends     shape.Ends
	Sections []shape.Section
	Waveform shape.Waveform
	Feel     Feel
}

// Analyser takes interleaved signed 16 bit little endian stereo PCM at Rate. It implements
// io.Writer. It is not safe for concurrent use.
type Analyser struct {
	odd     []byte // less than a frame
	beat    *beat.Tracker
	tonal   *tonal.Finder
	timbre  *timbre.Meter
	outline *shape.Outline

	mono, half, quarter, eighth []float64
	halvers                     [3]dsp.Halver
	fast, slow                  *front
}

// front makes spectra of a stream of samples.
type front struct {
	frames           *dsp.Frames
	fft              *dsp.RFFT
	window           []float64
	windowed, powers []float64
}

func newFront(size, hop int) *front {
	fft, err := dsp.NewRFFT(size)
	if err != nil {
		panic(err) // sizes are constants
	}
	return &front{
		frames: dsp.NewFrames(size, hop), fft: fft, window: dsp.Hann(size),
		windowed: make([]float64, size), powers: make([]float64, fft.Bins()),
	}
}

func (f *front) write(samples []float64, each func(power []float64)) {
	f.frames.Write(samples, func(frame []float64) {
		for i, w := range f.window {
			f.windowed[i] = w * frame[i]
		}
		f.fft.Power(f.powers, f.windowed)
		each(f.powers)
	})
}

// New returns an Analyser.
func New() *Analyser {
	return &Analyser{
		beat: beat.New(), tonal: tonal.New(), timbre: timbre.New(), outline: shape.NewOutline(Rate),
		fast: newFront(beat.Size, beat.Hop), slow: newFront(tonal.Size, tonal.Hop),
	}
}

// pieceBytes is how much is worked on at a time.
const pieceBytes = 4 * 8192

// Write takes PCM in pieces of any length. It never fails.
func (a *Analyser) Write(p []byte) (int, error) {
	n := len(p)
	if len(a.odd) > 0 {
		k := min(4-len(a.odd), len(p))
		a.odd = append(a.odd, p[:k]...)
		p = p[k:]
		if len(a.odd) < 4 {
			return n, nil
		}
		a.piece(a.odd)
		a.odd = a.odd[:0]
	}
	for len(p) >= 4 {
		k := min(len(p)/4*4, pieceBytes)
		a.piece(p[:k])
		p = p[k:]
	}
	a.odd = append(a.odd, p...)
	return n, nil
}

func (a *Analyser) piece(p []byte) {
	a.mono = dsp.Mono(a.mono[:0], p)
	a.outline.Write(a.mono)
	a.half = a.halvers[0].Append(a.half[:0], a.mono)
	a.quarter = a.halvers[1].Append(a.quarter[:0], a.half)
	a.eighth = a.halvers[2].Append(a.eighth[:0], a.quarter)
	a.fast.write(a.half, func(power []float64) {
		a.beat.Add(power)
		a.timbre.Add(power)
	})
	a.slow.write(a.eighth, a.tonal.Add)
}

// Result is what is known of what has been written.
func (a *Analyser) Result() Result {
	r := Result{
		Beat: a.beat.Result(), Tonal: a.tonal.Result(), Timbre: a.timbre.Result(),
		Ends: a.outline.Ends(), Waveform: a.outline.Waveform(), Sections: shape.Sections(a.seconds()),
	}
	r.Feel = feel(&r)
	return r
}

// seconds is what each second is like: its colour and its pitches, which count the same.
func (a *Analyser) seconds() [][]float64 {
	colours, pitches := a.timbre.Seconds(), a.tonal.Seconds()
	out := make([][]float64, min(len(colours), len(pitches)))
	for i := range out {
		for _, c := range colours[i].Cepstrum[1:] {
			out[i] = append(out[i], float64(c))
		}
		out[i] = append(out[i], pitches[i][:]...)
	}
	return out
}

// Tempi and Keys are what models of tempo and key are fitted to: see test/audiobench.
func (a *Analyser) Tempi() []beat.Candidate { return a.beat.Candidates() }

// Keys are the features of each key.
func (a *Analyser) Keys() []tonal.Candidate { return a.tonal.Candidates() }
