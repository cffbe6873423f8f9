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
	// Energy is summed in steps of 10 ms. Every tenth ends a gating block of 400 ms, so that
	// blocks overlap by three quarters, and a short-term window of 3 s. Momentary loudness is
	// looked at after each step.
	stepsPerSecond = 100
	stepsPerHop    = 10
	stepsPerBlock  = 40
	stepsPerShort  = 300
)

// Meter takes interleaved signed 16 bit little endian stereo PCM. It implements
// io.Writer and keeps 16 bytes for every 100 ms. It is not safe for concurrent
// use.
type Meter struct {
	weight   kWeight
	state    [channels]kState
	between  *interpolator
	rate     int
	inStep   int // frames of the step that are still to come
	sum      float64
	steps    [stepsPerShort]float64 // a ring
	stepN    int
	blocks   []float64 // mean square of each block, of the channels' sum
	shorts   []float64 // of each short-term window
	maxBlock float64   // of all blocks, 10 ms apart
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
	m := &Meter{rate: rate, weight: newKWeight(float64(rate)), between: newInterpolator()}
	m.inStep = m.framesTo(1)
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
		k := min(m.inStep, len(left))
		m.sum += m.weight.energy(&m.state, left[:k], right[:k])
		left, right = left[k:], right[k:]
		if m.inStep -= k; m.inStep == 0 {
			m.step()
		}
	}
	for c := range m.samples {
		copy(m.samples[c][:history], m.samples[c][n:n+history])
	}
	m.frames += uint64(n)
}

// framesTo is how many frames the first n steps have: a step is no whole number of frames
// at every rate.
func (m *Meter) framesTo(n int) int { return n * m.rate / stepsPerSecond }

// step ends 10 ms.
func (m *Meter) step() {
	m.steps[m.stepN%stepsPerShort] = m.sum
	m.stepN++
	m.sum, m.inStep = 0, m.framesTo(m.stepN+1)-m.framesTo(m.stepN)
	if m.stepN < stepsPerBlock {
		return
	}
	block := m.mean(stepsPerBlock)
	m.maxBlock = max(m.maxBlock, block)
	if m.stepN%stepsPerHop != 0 {
		return
	}
	m.blocks = append(m.blocks, block)
	if m.stepN >= stepsPerShort {
		m.shorts = append(m.shorts, m.mean(stepsPerShort))
	}
}

// mean is the mean square over the last n steps.
func (m *Meter) mean(n int) float64 {
	total := 0.0
	for i := m.stepN - n; i < m.stepN; i++ {
		total += m.steps[i%stepsPerShort]
	}
	return total / float64(m.framesTo(m.stepN)-m.framesTo(m.stepN-n))
}

// Result is what a meter found.
type Result struct {
	// Integrated is the gated loudness in LUFS, Silence (-70) at least.
	Integrated float64
	// Range is the loudness range of EBU Tech 3342 in LU, 0 for sound that is steady or
	// shorter than 3 s.
	Range float64
	// MaxMomentary and MaxShortTerm are the loudest 400 ms and 3 s in LUFS, Silence at least
	// and for sound that is shorter.
	MaxMomentary, MaxShortTerm float64
	// SamplePeak and TruePeak are shares of full scale: 1 is 0 dBFS, true peaks
	// may pass it.
	SamplePeak, TruePeak float64
	// Frames is the length in samples per channel.
	Frames uint64
}

// Result may be asked for at any time; it covers what has been written.
func (m *Meter) Result() Result {
	return Result{
		Integrated: integrated(m.blocks), Range: loudnessRange(m.shorts),
		MaxMomentary: atLeastSilence(m.maxBlock), MaxShortTerm: atLeastSilence(highest(m.shorts)),
		SamplePeak: m.samplePeak(), TruePeak: max(m.truePeak, m.samplePeak()), Frames: m.frames,
	}
}

func (m *Meter) samplePeak() float64 { return float64(m.peak) / fullScale }

// Album returns the loudness of several tracks as one programme: the gates see
// the blocks of all of them, as EBU R128 has it.
func Album(meters ...*Meter) Result {
	out := Result{MaxMomentary: Silence, MaxShortTerm: Silence}
	var blocks, shorts []float64
	for _, m := range meters {
		r := m.Result()
		blocks, shorts = append(blocks, m.blocks...), append(shorts, m.shorts...)
		out.MaxMomentary = max(out.MaxMomentary, r.MaxMomentary)
		out.MaxShortTerm = max(out.MaxShortTerm, r.MaxShortTerm)
		out.SamplePeak = max(out.SamplePeak, r.SamplePeak)
		out.TruePeak = max(out.TruePeak, r.TruePeak)
		out.Frames += r.Frames
	}
	out.Integrated, out.Range = integrated(blocks), loudnessRange(shorts)
	return out
}

// lufs is BS.1770-4, equation 2; both channels have the weight 1.
func lufs(meanSquare float64) float64 { return -0.691 + 10*math.Log10(meanSquare) }

func integrated(blocks []float64) float64 {
	mean, ok := meanAbove(blocks, absoluteGate)
	if !ok {
		return Silence
	}
	mean, ok = meanAbove(blocks, max(lufs(mean)+relativeGate, absoluteGate))
	if !ok {
		return Silence
	}
	return max(lufs(mean), Silence)
}

// meanAbove is the mean of the windows that are louder than gate, if there are any.
func meanAbove(windows []float64, gate float64) (mean float64, ok bool) {
	sum, n := 0.0, 0
	for _, b := range windows {
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
