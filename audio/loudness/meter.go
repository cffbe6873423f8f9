package loudness

import (
	"encoding/binary"
	"math"
)

const (
	// Target is the loudness that Segue plays at, in LUFS.
	Target = -14.0
	// Silence is what Integrated returns when nothing passes the absolute gate.
	Silence = -70.0

	channels  = 2
	frameSize = 2 * channels
	fullScale = 32768
	// absoluteGate and relativeGate: BS.1770-4, in LUFS and LU.
	absoluteGate = -70.0
	relativeGate = -10.0
	// Blocks of 400 ms overlap by three quarters: four steps of 100 ms.
	stepsPerSecond = 10
	stepsPerBlock  = 4
)

// Meter takes interleaved signed 16 bit little endian stereo PCM. It implements
// io.Writer and keeps 8 bytes for every 100 ms. It is not safe for concurrent
// use.
type Meter struct {
	filters  [channels]kWeight
	peaks    [channels]oversampler
	perStep  int
	inStep   int
	sum      float64
	steps    [stepsPerBlock]float64
	stepN    int
	blocks   []float64 // mean square of each block, of the channels' sum
	peak     float64
	odd      [frameSize]byte
	oddN     int
	frames   uint64
	truePeak float64
}

// New returns a meter for PCM at rate, from 8000 to 192000 samples per second.
func New(rate int) *Meter {
	rate = min(max(rate, 8000), 192000)
	m := &Meter{perStep: rate / stepsPerSecond}
	taps := interpolator()
	for c := range channels {
		m.filters[c] = newKWeight(float64(rate))
		m.peaks[c].taps = taps
	}
	return m
}

// Write takes PCM in pieces of any length. It never fails.
func (m *Meter) Write(p []byte) (int, error) {
	n := len(p)
	if m.oddN > 0 {
		k := copy(m.odd[m.oddN:], p)
		m.oddN += k
		p = p[k:]
		if m.oddN < frameSize {
			return n, nil
		}
		m.frame(m.odd[:])
		m.oddN = 0
	}
	for ; len(p) >= frameSize; p = p[frameSize:] {
		m.frame(p)
	}
	m.oddN = copy(m.odd[:], p)
	return n, nil
}

func (m *Meter) frame(p []byte) {
	for c := range channels {
		x := float64(int16(binary.LittleEndian.Uint16(p[2*c:]))) / fullScale
		m.peak = max(m.peak, math.Abs(x))
		m.truePeak = max(m.truePeak, m.peaks[c].push(x))
		y := m.filters[c].push(x)
		m.sum += y * y
	}
	m.frames++
	if m.inStep++; m.inStep < m.perStep {
		return
	}
	m.steps[m.stepN%stepsPerBlock] = m.sum
	m.stepN++
	m.inStep, m.sum = 0, 0
	if m.stepN >= stepsPerBlock {
		total := 0.0
		for _, s := range m.steps {
			total += s
		}
		m.blocks = append(m.blocks, total/float64(stepsPerBlock*m.perStep))
	}
}

// Result is what a meter found.
type Result struct {
	// Integrated is the gated loudness in LUFS, Silence (-70) at least.
	Integrated float64
	// SamplePeak and TruePeak are shares of full scale: 1 is 0 dBFS, true peaks
	// may pass it.
	SamplePeak, TruePeak float64
	// Frames is the length in samples per channel.
	Frames uint64
}

// Result may be asked for at any time; it covers what has been written.
func (m *Meter) Result() Result {
	return Result{
		Integrated: integrated(m.blocks), SamplePeak: m.peak, TruePeak: max(m.truePeak, m.peak), Frames: m.frames,
	}
}

// Album returns the loudness of several tracks as one programme: the gates see
// the blocks of all of them, as EBU R128 has it.
func Album(meters ...*Meter) Result {
	var out Result
	var blocks []float64
	for _, m := range meters {
		r := m.Result()
		blocks = append(blocks, m.blocks...)
		out.SamplePeak = max(out.SamplePeak, r.SamplePeak)
		out.TruePeak = max(out.TruePeak, r.TruePeak)
		out.Frames += r.Frames
	}
	out.Integrated = integrated(blocks)
	return out
}

// lufs is BS.1770-4, equation 2; both channels have the weight 1.
func lufs(meanSquare float64) float64 { return -0.691 + 10*math.Log10(meanSquare) }

func integrated(blocks []float64) float64 {
	gated := func(gate float64) (mean float64, ok bool) {
		sum, n := 0.0, 0
		for _, b := range blocks {
			if b > 0 && lufs(b) > gate {
				sum += b
				n++
			}
		}
		if n == 0 {
			return 0, false
		}
		return sum / float64(n), true
	}
	mean, ok := gated(absoluteGate)
	if !ok {
		return Silence
	}
	mean, ok = gated(max(lufs(mean)+relativeGate, absoluteGate))
	if !ok {
		return Silence
	}
	return max(lufs(mean), Silence)
}
