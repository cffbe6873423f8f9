package fingerprint

import (
	"math"

	"github.com/segue-music/segue/audio/dsp"
)

// What defines the format: other values give other items.
const (
	// SampleRate is that of the samples that an Extractor takes, in Hz.
	SampleRate = 11025

	frameSize = 4096
	// hop is by how much frames are apart: two thirds of each are in the next one, too.
	hop = frameSize / 3
	// lowest and highest bound the frequencies that are folded into the twelve notes of an octave, in Hz.
	lowest, highest = 28, 3520
	// quiet is the length of a chroma vector below which it counts as silence.
	quiet = 0.01
	notes = 12
	// window is how many rows of chroma an item is made of, about 2 s of sound.
	window = 16
)

// smoothing weighs five frames to one row.
var smoothing = [...]float64{0.25, 0.75, 1, 0.75, 0.25}

// An item is made of SamplesPerItem·(ItemFrames-1)+4096 samples, 2.7 s.
const (
	// ItemFrames is how many frames of sound an item looks at.
	ItemFrames = window + len(smoothing) - 1
	// SamplesPerItem is by how many samples items are apart: 123.8 ms.
	SamplesPerItem = hop
)

// Extractor makes the items of mono sound at SampleRate while it streams by. It keeps 200 kB, however long the sound is.
// It is not safe for concurrent use.
type Extractor struct {
	emit    func(item uint32)
	fft     *dsp.RFFT
	hamming []float64 // the window of a frame, and the scale of samples
	note    []uint8   // of each bin from first on
	first   int
	frame   []float64
	filled  int
	shaped  []float64
	power   []float64
	// chroma has the last frames', rows the last smoothed ones; both turn.
	chroma  [len(smoothing)][notes]float64
	chromaN int
	rows    [window][notes]float64
	rowN    int
	odd     [2]byte
	oddN    int
	buffer  []int16
	// step is by how much frames are apart, not always a whole number; frames counts them.
	step   float64
	frames int
}

// NewExtractor returns an extractor that calls emit with each item as soon as its last sample is known.
func NewExtractor(emit func(item uint32)) *Extractor {
	fft, err := dsp.NewRFFT(frameSize)
	if err != nil {
		panic(err) // the size is a constant
	}
	e := &Extractor{
		emit: emit, fft: fft, step: hop, hamming: make([]float64, frameSize), frame: make([]float64, frameSize),
		shaped: make([]float64, frameSize), power: make([]float64, fft.Bins()), buffer: make([]int16, 1024),
	}
	for i := range e.hamming {
		e.hamming[i] = (0.54 - 0.46*math.Cos(2*math.Pi*float64(i)/(frameSize-1))) / math.MaxInt16
	}
	bin := func(hertz float64) int { return int(math.Round(frameSize * hertz / SampleRate)) }
	e.first = max(1, bin(lowest))
	for i := e.first; i < min(frameSize/2, bin(highest)); i++ {
		octaves := math.Log2(float64(i) * SampleRate / frameSize / (440.0 / 16))
		e.note = append(e.note, uint8(notes*(octaves-math.Floor(octaves))))
	}
	return e
}

// Compute returns the fingerprint of mono samples at SampleRate: nil where they are shorter than one item.
func Compute(samples []int16) Fingerprint {
	frames := (len(samples)-frameSize)/hop + 1
	if frames < ItemFrames {
		return nil
	}
	fp := make(Fingerprint, 0, frames-ItemFrames+1)
	NewExtractor(func(item uint32) { fp = append(fp, item) }).Feed(samples)
	return fp
}

// Feed takes samples.
func (e *Extractor) Feed(samples []int16) {
	for len(samples) > 0 {
		k := min(len(samples), frameSize-e.filled)
		for i, v := range samples[:k] {
			e.frame[e.filled+i] = float64(v)
		}
		e.taken(k)
		samples = samples[k:]
	}
}

// FeedFloat takes samples from -1 to 1. What is no number is taken for silence.
func (e *Extractor) FeedFloat(samples []float32) {
	for len(samples) > 0 {
		k := min(len(samples), frameSize-e.filled)
		for i, v := range samples[:k] {
			s := float64(v) * math.MaxInt16
			if !(math.Abs(s) <= math.MaxInt32) { // what is no number compares to nothing
				s = 0
			}
			e.frame[e.filled+i] = s
		}
		e.taken(k)
		samples = samples[k:]
	}
}

// Write takes samples as signed 16 bit little endian PCM, in pieces of any length. It never fails.
func (e *Extractor) Write(p []byte) (int, error) {
	n := len(p)
	if e.oddN > 0 && n > 0 {
		e.odd[1] = p[0]
		e.oddN, p = 0, p[1:]
		e.Feed([]int16{int16(uint16(e.odd[0]) | uint16(e.odd[1])<<8)})
	}
	for len(p) >= 2 {
		k := min(len(p)/2, len(e.buffer))
		for i := range k {
			e.buffer[i] = int16(uint16(p[2*i]) | uint16(p[2*i+1])<<8)
		}
		e.Feed(e.buffer[:k])
		p = p[2*k:]
	}
	e.oddN = copy(e.odd[:], p)
	return n, nil
}

// taken counts k samples more in the frame, and works on it where it is full.
func (e *Extractor) taken(k int) {
	e.filled += k
	if e.filled < frameSize {
		return
	}
	for i, v := range e.frame {
		e.shaped[i] = v * e.hamming[i]
	}
	apart := int(math.Round(float64(e.frames+1)*e.step) - math.Round(float64(e.frames)*e.step))
	e.frames++
	e.filled = copy(e.frame, e.frame[apart:])
	e.fft.Power(e.power, e.shaped)
	chroma := &e.chroma[e.chromaN%len(e.chroma)]
	*chroma = [notes]float64{}
	for i, p := range e.power[e.first:][:len(e.note)] {
		chroma[e.note[i]] += p
	}
	e.chromaN++
	if e.chromaN >= len(smoothing) {
		e.smooth()
	}
}

// smooth adds a row of the last frames, of length 1 or silence.
func (e *Extractor) smooth() {
	row := &e.rows[e.rowN%window]
	*row = [notes]float64{}
	for i, weight := range smoothing {
		for n, v := range e.chroma[(e.chromaN+i)%len(e.chroma)] {
			row[n] += v * weight
		}
	}
	sum := 0.0
	for _, v := range row {
		sum += v * v
	}
	if length := math.Sqrt(sum); length < quiet {
		*row = [notes]float64{}
	} else {
		for n := range row {
			row[n] /= length
		}
	}
	e.rowN++
	if e.rowN >= window {
		e.emit(e.item())
	}
}

// item classifies the last rows.
func (e *Extractor) item() uint32 {
	var image integral
	for x := range window {
		sum := 0.0
		for y, v := range e.rows[(e.rowN+x)%window] {
			sum += v
			image[x+1][y+1] = image[x][y+1] + sum
		}
	}
	var item uint32
	for i := range classifiers {
		item = item<<2 | classifiers[i].classify(&image)
	}
	return item
}
