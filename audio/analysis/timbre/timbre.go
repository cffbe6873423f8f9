package timbre

import (
	"math"

	"github.com/segue-music/segue/audio/dsp"
)

// What a Meter takes and tells.
const (
	// SampleRate is of the sound, and Size and Hop of the frames whose spectra a Meter takes.
	SampleRate = 22050
	Size       = 1024
	Hop        = 256
	// Coefficients are those of the cepstrum that are kept, the first of which is level.
	Coefficients = 13

	bands = 40
	// floor is added to the energy of each band: 80 dB under a full sine.
	floor = 1e-8
	// framesPerSecond are summed up into one Second, as near as whole frames allow.
	framesPerSecond = SampleRate / Hop
	maxSeconds      = 3600
	// silence is the level in dB under which a frame says nothing of colour.
	silence = -70.0
)

// Second is the mean of one second.
type Second struct {
	Cepstrum [Coefficients]float32
	// Level is in dB under a full sine, silence at least.
	Level float32
}

// Meter takes power spectra of frames of Size samples at SampleRate under a Hann window, Hop
// apart. Statistics are of all of them; Seconds are kept of the first hour, 60 bytes each.
type Meter struct {
	mel     *dsp.MelBank
	cosines [Coefficients][bands]float64
	now     Second
	inNow   int
	seconds []Second

	frames    float64 // that sounded
	sum, sq   [Coefficients]float64
	change    [Coefficients]float64 // sum of magnitudes of changes between frames
	last      [Coefficients]float64
	following bool
	bright    moments
	roll      moments
	flat      moments
	level     moments
	// The level of the last second, whose movement at 4 Hz marks speech.
	levels   [framesPerSecond]float64
	syllabic moments
}

// moments are sums for mean and spread.
type moments struct{ n, sum, sq float64 }

func (m *moments) add(v float64) { m.n++; m.sum += v; m.sq += v * v }

func (m *moments) mean() float64 {
	if m.n == 0 {
		return 0
	}
	return m.sum / m.n
}

func (m *moments) spread() float64 {
	if m.n == 0 {
		return 0
	}
	return math.Sqrt(max(0, m.sq/m.n-m.mean()*m.mean()))
}

// New returns a Meter.
func New() *Meter {
	m := &Meter{mel: dsp.NewMelBank(bands, Size, SampleRate, 30, 11000)}
	for c := range m.cosines {
		for b := range m.cosines[c] {
			m.cosines[c][b] = math.Cos(math.Pi*float64(c)*(float64(b)+0.5)/bands) * math.Sqrt(2.0/bands)
		}
	}
	return m
}

// Add takes the power spectrum of the next frame, Size/2 + 1 bins.
func (m *Meter) Add(power []float64) {
	const full = float64(Size) / 4 * float64(Size) / 4
	var energy [bands]float64
	m.mel.Sum(energy[:], power)
	for b, e := range energy {
		energy[b] = math.Log10(e/full+floor) * 10
	}
	var cepstrum [Coefficients]float64
	for c := range cepstrum {
		for b, e := range energy {
			cepstrum[c] += m.cosines[c][b] * e
		}
	}
	total, weighted, logs := 0.0, 0.0, 0.0
	const first, last = 2, Size / 2
	for k, p := range power[first:last] {
		total += p
		weighted += p * float64(k+first)
		logs += fastLog2(p + 1e-12)
	}
	level := max(silence, 10*math.Log10(total/full+1e-12))
	m.tick(cepstrum, level)
	if level <= silence {
		m.following = false
		return
	}
	m.frames++
	for c, v := range cepstrum {
		m.sum[c] += v
		m.sq[c] += v * v
		if m.following {
			m.change[c] += math.Abs(v - m.last[c])
		}
	}
	m.last, m.following = cepstrum, true
	m.level.add(level)
	m.bright.add(weighted / total * SampleRate / Size)
	m.roll.add(rollOff(power, 0.85*total, first))
	n := float64(last - first)
	m.flat.add(math.Exp2(logs/n) / (total/n + 1e-12))
}

// fastLog2 is log2 within 0.01: flatness needs no more of each bin.
func fastLog2(x float64) float64 {
	bits := math.Float64bits(x)
	exponent := float64(int(bits>>52)&0x7ff - 1023)
	f := math.Float64frombits(bits&^(0x7ff<<52) | 1023<<52)
	return exponent + (-0.34484843*f+2.02466578)*f - 1.67487759
}

// rollOff is the frequency in Hz under which so much of the power lies.
func rollOff(power []float64, share float64, first int) float64 {
	sum := 0.0
	for k := first; k < len(power); k++ {
		if sum += power[k]; sum >= share {
			return float64(k) * SampleRate / Size
		}
	}
	return SampleRate / 2
}

// tick adds a frame to its second.
func (m *Meter) tick(cepstrum [Coefficients]float64, level float64) {
	for c, v := range cepstrum {
		m.now.Cepstrum[c] += float32(v / framesPerSecond)
	}
	m.now.Level += float32(level / framesPerSecond)
	m.levels[m.inNow] = level
	if m.inNow++; m.inNow < framesPerSecond {
		return
	}
	if len(m.seconds) < maxSeconds {
		m.seconds = append(m.seconds, m.now)
	}
	if m.now.Level > silence {
		m.syllabic.add(m.syllables())
	}
	m.now, m.inNow = Second{}, 0
}

// syllables is the share of the movement of the level between 3 and 6 Hz in that of up to
// 20 Hz, over the last second (Scheirer and Slaney, "Construction and evaluation of a robust
// multifeature speech/music discriminator", 1997).
func (m *Meter) syllables() float64 {
	mean := 0.0
	for _, l := range m.levels {
		mean += l / framesPerSecond
	}
	inside, all := 0.0, 1e-9
	for hz := 1; hz <= 20; hz++ {
		var re, im float64
		for i, l := range m.levels {
			sin, cos := math.Sincos(2 * math.Pi * float64(hz*i) / framesPerSecond)
			re += (l - mean) * cos
			im += (l - mean) * sin
		}
		p := re*re + im*im
		all += p
		if hz >= 3 && hz <= 6 {
			inside += p
		}
	}
	return inside / all
}

// Result are statistics of all that sounded. Without sound, Frames is 0 and so is the rest.
type Result struct {
	Frames int
	// Mean, Spread and Change are of each coefficient in dB: over time, and from frame to
	// frame.
	Mean, Spread, Change [Coefficients]float64
	// Brightness is the centre of the spectrum and RollOff what 85 % of the power lies
	// below, in Hz; Flatness is 1 for noise and towards 0 for tones.
	Brightness, BrightnessSpread, RollOff, Flatness, FlatnessSpread float64
	// Level is in dB under a full sine.
	Level, LevelSpread float64
	// Syllabic is the share of the level's movement at the rate of syllables, 0 to 1.
	Syllabic float64
}

// Result is what is known of the frames so far.
func (m *Meter) Result() Result {
	out := Result{
		Frames: int(m.frames), Brightness: m.bright.mean(), BrightnessSpread: m.bright.spread(), RollOff: m.roll.mean(),
		Flatness: m.flat.mean(), FlatnessSpread: m.flat.spread(), Level: m.level.mean(), LevelSpread: m.level.spread(), Syllabic: m.syllabic.mean(),
	}
	if m.frames == 0 {
		return out
	}
	for c := range out.Mean {
		out.Mean[c] = m.sum[c] / m.frames
		out.Spread[c] = math.Sqrt(max(0, m.sq[c]/m.frames-out.Mean[c]*out.Mean[c]))
		out.Change[c] = m.change[c] / m.frames
	}
	return out
}

// Seconds are the seconds so far, of the first hour.
func (m *Meter) Seconds() []Second { return m.seconds }
