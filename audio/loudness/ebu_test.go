package loudness_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/segue-music/segue/audio/loudness"
)

// The test signals of EBU Tech 3341 (v4) and Tech 3342 (v4), made from their definitions.
// Left out: 3341-6 has five channels, and this meter hears the stereo that is played;
// 3341-19 has samples above full scale, which 16 bits do not have; 3341-20 to -23 come out of
// a low pass that is not said; 3341-7 and -8 and 3342-5 and -6 are recordings of programmes.
const ebuRate = 48000

// tone is a stereo sine for a while. Level is its peak in dBFS.
type tone struct{ level, seconds float64 }

const silent = math.MinInt

// tones joins sines of 1 kHz; the phase goes on.
func tones(parts ...tone) []byte {
	var out []byte
	n := 0
	for _, p := range parts {
		amp := math.Pow(10, p.level/20)
		for range int(math.Round(p.seconds * ebuRate)) {
			v := uint16(int16(math.Round(amp * 32768 * math.Sin(2*math.Pi*1000*float64(n)/ebuRate))))
			out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, v), v)
			n++
		}
	}
	return out
}

func repeat(times int, parts ...tone) []tone {
	var out []tone
	for range times {
		out = append(out, parts...)
	}
	return out
}

func measured(in []byte) loudness.Result {
	m := loudness.New(ebuRate)
	_, _ = m.Write(in)
	return m.Result()
}

// reference is how far from the value of the EBU this meter may be; the EBU allows 0.1, and 1
// for the range.
const reference = 0.05

func TestMeter_ebu3341(t *testing.T) {
	integrated := map[string]struct {
		in   []tone
		want float64
	}{
		"1": {[]tone{{-23, 20}}, -23},
		"2": {[]tone{{-33, 20}}, -33},
		"3": {[]tone{{-36, 10}, {-23, 60}, {-36, 10}}, -23},
		"4": {[]tone{{-72, 10}, {-36, 10}, {-23, 60}, {-36, 10}, {-72, 10}}, -23},
		"5": {[]tone{{-26, 20}, {-20, 20.1}, {-26, 20}}, -23},
	}
	for name, tt := range integrated {
		if got := measured(tones(tt.in...)).Integrated; math.Abs(got-tt.want) > reference {
			t.Errorf("%s: %.3f LUFS, want %.1f", name, got, tt.want)
		}
	}
	short := measured(tones(repeat(5, tone{-20, 1.34}, tone{-30, 1.66})...)).MaxShortTerm
	if math.Abs(short+23) > reference {
		t.Errorf("9: %.3f LUFS", short)
	}
	momentary := measured(tones(repeat(25, tone{-20, 0.18}, tone{-30, 0.22})...)).MaxMomentary
	if math.Abs(momentary+23) > reference {
		t.Errorf("12: %.3f LUFS", momentary)
	}
	for i := 1; i <= 20; i++ {
		at := float64(i)
		// These stay within what the EBU allows: a tone of 3 s or 400 ms that starts between
		// two looks is never met whole.
		if got := measured(tones(tone{silent, 0.15 * at}, tone{-23, 3}, tone{silent, 1})).MaxShortTerm; math.Abs(got+23) > 0.1 {
			t.Errorf("10-%d: %.3f LUFS", i, got)
		}
		if got := measured(tones(tone{silent, 0.02 * at}, tone{-23, 0.4}, tone{silent, 1})).MaxMomentary; math.Abs(got+23) > 0.1 {
			t.Errorf("13-%d: %.3f LUFS", i, got)
		}
	}
	var in11, in14 []tone
	for i := range 20 {
		at, level := float64(i), float64(-38+i)
		in11 = append(in11, tone{silent, 0.15 * at}, tone{level, 3}, tone{silent, 3 - 0.15*at})
		in14 = append(in14, tone{silent, 0.02 * at}, tone{level, 0.4}, tone{silent, 0.4 - 0.02*at})
		if got := measured(tones(in11...)).MaxShortTerm; math.Abs(got-level) > 0.1 {
			t.Errorf("11-%d: %.3f LUFS", i+1, got)
		}
		if got := measured(tones(in14...)).MaxMomentary; math.Abs(got-level) > 0.1 {
			t.Errorf("14-%d: %.3f LUFS", i+1, got)
		}
	}
}

func TestMeter_ebu3341_true_peak(t *testing.T) {
	sines := map[string]struct{ period, degrees, level float64 }{
		"15": {4, 0, 0.5}, "16": {4, 45, 0.5}, "17": {6, 60, 0.5}, "18": {8, 67.5, 0.5},
	}
	for name, s := range sines {
		in := make([]byte, 0, 4*ebuRate)
		for i := range ebuRate {
			ramp := min(float64(i)/2400, float64(ebuRate-i)/2400, 1)
			v := uint16(int16(math.Round(ramp * s.level * 32767 * math.Sin(2*math.Pi*float64(i)/s.period+s.degrees*math.Pi/180))))
			in = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(in, v), v)
		}
		if got := loudness.PeakDB(measured(in).TruePeak); got > -6+0.2 || got < -6-0.4 {
			t.Errorf("%s: %.2f dBTP", name, got)
		}
	}
}

func TestMeter_ebu3342(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []tone
		want float64
	}{
		"1": {[]tone{{-20, 20}, {-30, 20}}, 10},
		"2": {[]tone{{-20, 20}, {-15, 20}}, 5},
		"3": {[]tone{{-40, 20}, {-20, 20}}, 20},
		"4": {[]tone{{-50, 20}, {-35, 20}, {-20, 20}, {-35, 20}, {-50, 20}}, 15},
	} {
		if got := measured(tones(tt.in...)).Range; math.Abs(got-tt.want) > reference {
			t.Errorf("%s: %.3f LU, want %.0f", name, got, tt.want)
		}
	}
}

// TestMeter_rates: steps that are no whole number of samples do not drift.
func TestMeter_rates(t *testing.T) {
	for _, rate := range []int{8000, 11025, 22050, 44100, 96000, 192000} {
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			m := loudness.New(rate)
			amp := math.Pow(10, -23.0/20)
			for i := range 20 * rate {
				v := uint16(int16(math.Round(amp * 32768 * math.Sin(2*math.Pi*1000*float64(i)/float64(rate)))))
				_, _ = m.Write(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, v), v))
			}
			if r := m.Result(); math.Abs(r.Integrated+23) > 0.1 || math.Abs(r.MaxShortTerm+23) > 0.1 || r.Range > 0.1 {
				t.Errorf("%+v", r)
			}
		})
	}
}
