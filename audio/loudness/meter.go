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
	weight   kWeight
	state    [channels]kState
	between  *interpolator
	perStep  int
	inStep   int
	sum      float64
	steps    [stepsPerBlock]float64
	stepN    int
	blocks   []float64 // mean square of each block, of the channels' sum
	peak     int32     // of the samples' magnitudes
	odd      [frameSize]byte
	oddN     int
	frames   uint64
	truePeak float64
	// samples hold a piece of each channel, behind the last ones of the piece before.
	samples [channels][history + pieceFrames]float64
}

// pieceFrames is how many frames are worked on at a time: they stay in the first cache.
const pieceFrames = 1024

// New returns a meter for PCM at rate, from 8000 to 192000 samples per second.
func New(rate int) *Meter {
	rate = min(max(rate, 8000), 192000)
	return &Meter{perStep: rate / stepsPerSecond, weight: newKWeight(float64(rate)), between: newInterpolator()}
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
		m.piece(m.odd[:])
		m.oddN = 0
	}
	for len(p) >= frameSize {
		k := min(len(p)/frameSize, pieceFrames) * frameSize
		m.piece(p[:k])
		p = p[k:]
	}
	m.oddN = copy(m.odd[:], p)
	return n, nil
}

// piece takes at most pieceFrames whole frames.
func (m *Meter) piece(p []byte) {
	n := len(p) / frameSize
	left, right := m.samples[0][history:history+n], m.samples[1][history:history+n]
	var tops [channels][pieceFrames / peakBlock]float64
	blocks := (n + peakBlock - 1) / peakBlock
	for b := range blocks {
		top := [channels]int32{}
		for i := b * peakBlock; i < min(n, (b+1)*peakBlock); i++ {
			v := binary.LittleEndian.Uint32(p[frameSize*i:])
			l, r := int32(int16(v)), int32(int16(v>>16))
			top[0], top[1] = max(top[0], l, -l), max(top[1], r, -r)
			left[i], right[i] = float64(l)*(1.0/fullScale), float64(r)*(1.0/fullScale)
		}
		m.peak = max(m.peak, top[0], top[1])
		tops[0][b], tops[1][b] = float64(top[0])/fullScale, float64(top[1])/fullScale
	}
	for c := range m.samples {
		before := 0.0
		for _, v := range m.samples[c][:history] {
			before = max(before, math.Abs(v))
		}
		m.truePeak = m.between.peak(m.samples[c][:history+n], before, tops[c][:blocks], max(m.truePeak, m.samplePeak()))
	}
	for len(left) > 0 {
		k := min(m.perStep-m.inStep, len(left))
		m.sum += m.weight.energy(&m.state, left[:k], right[:k])
		left, right = left[k:], right[k:]
		if m.inStep += k; m.inStep == m.perStep {
			m.step()
		}
	}
	for c := range m.samples {
		copy(m.samples[c][:history], m.samples[c][n:n+history])
	}
	m.frames += uint64(n)
}

// step ends 100 ms.
func (m *Meter) step() {
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
		Integrated: integrated(m.blocks), SamplePeak: m.samplePeak(), TruePeak: max(m.truePeak, m.samplePeak()), Frames: m.frames,
	}
}

func (m *Meter) samplePeak() float64 { return float64(m.peak) / fullScale }

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
