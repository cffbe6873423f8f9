package analysis_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/segue-music/segue/audio/analysis"
)

// pcm makes stereo PCM of a function of time in seconds.
func pcm(seconds float64, f func(t float64) float64) []byte {
	n := int(seconds * analysis.Rate)
	out := make([]byte, 0, 4*n)
	for i := range n {
		v := uint16(int16(math.Round(min(1, max(-1, f(float64(i)/analysis.Rate))) * 32767)))
		out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, v), v)
	}
	return out
}

func analysed(in []byte) analysis.Result {
	a := analysis.New()
	for step := 1; len(in) > 0; step = step*3%70001 + 1 { // odd pieces
		n := min(len(in), step)
		_, _ = a.Write(in[:n])
		in = in[n:]
	}
	return a.Result()
}

// band is a bass drum on each beat, a noise between, and the chords of a song over roots.
func band(bpm float64, beatsPerBar int, bars [][]int) func(t float64) float64 {
	random := rand.New(rand.NewPCG(1, 2))
	hiss := make([]float64, 4096)
	for i := range hiss {
		hiss[i] = random.Float64()*2 - 1
	}
	return func(t float64) float64 {
		beats := t * bpm / 60
		beat := math.Floor(beats)
		since := (beats - beat) * 60 / bpm
		v := 0.0
		if int(beat)%beatsPerBar == 0 {
			v += 0.5 * math.Exp(-since*18) * math.Sin(2*math.Pi*(55*since+2*(1-math.Exp(-since*30))))
		} else {
			v += 0.15 * math.Exp(-since*18) * math.Sin(2*math.Pi*70*since)
		}
		half := math.Mod(beats*2, 1) * 30 / bpm
		v += 0.05 * math.Exp(-half*60) * hiss[int(t*analysis.Rate)%len(hiss)]
		chord := bars[int(beat)/beatsPerBar%len(bars)]
		for _, note := range chord {
			hz := 440 * math.Exp2(float64(note-69)/12)
			for h := 1.0; h <= 4; h++ {
				v += 0.06 / h * math.Exp(-since) * math.Sin(2*math.Pi*hz*h*t)
			}
		}
		return v
	}
}

// notes of I, IV, V, I in C major and i, iv, V, i in A minor.
var (
	cMajor = [][]int{{36, 60, 64, 67}, {41, 60, 65, 69}, {43, 59, 62, 67}, {36, 60, 64, 67}}
	aMinor = [][]int{{33, 57, 60, 64}, {38, 57, 62, 65}, {40, 56, 59, 64}, {33, 57, 60, 64}}
)

func TestAnalyser(t *testing.T) {
	for _, tt := range []struct {
		bpm   float64
		metre int
		bars  [][]int
		key   string
		code  string
	}{
		{128, 4, cMajor, "C major", "8B"},
		{90, 4, aMinor, "A minor", "8A"},
		{140, 3, cMajor, "C major", "8B"},
	} {
		r := analysed(pcm(40, band(tt.bpm, tt.metre, tt.bars)))
		b := r.Beat
		if math.Abs(b.Tempo.BPM/tt.bpm-1) > 0.01 {
			t.Errorf("%v: %.2f bpm (%.2f), or %v", tt.bpm, b.Tempo.BPM, b.Tempo.Probability, b.Alternatives)
			continue
		}
		period := 60 / tt.bpm
		off := 0
		for _, at := range b.Beats {
			if d := math.Abs(math.Mod(at+period/2, period) - period/2); d > 0.03 {
				off++
			}
		}
		if want := 40 / period; math.Abs(float64(len(b.Beats))-want) > 4 || off > 2 {
			t.Errorf("%v bpm: %d beats of %.0f, %d off by more than 30 ms", tt.bpm, len(b.Beats), want, off)
		}
		if b.Metre != tt.metre {
			t.Errorf("%v bpm: metre %d (%.2f), want %d", tt.bpm, b.Metre, b.MetreConfidence, tt.metre)
		}
		for _, d := range b.Downbeats {
			bar := period * float64(tt.metre)
			if off := math.Abs(math.Mod(b.Beats[d]+bar/2, bar) - bar/2); off > 0.05 {
				t.Errorf("%v bpm: a bar begins at %.2f s", tt.bpm, b.Beats[d])
				break
			}
		}
		if k := r.Tonal.Keys[0].Key; k.String() != tt.key || k.Camelot() != tt.code || math.Abs(r.Tonal.Tuning) > 5 {
			t.Errorf("%v (%s), want %s; tuning %.1f", k, k.Camelot(), tt.key, r.Tonal.Tuning)
		}
	}
}

// TestAnalyser_tuning: a piece that is 30 cents sharp has its key all the same.
func TestAnalyser_tuning(t *testing.T) {
	in := band(100, 4, cMajor)
	r := analysed(pcm(20, func(t float64) float64 { return in(t * math.Exp2(0.3/12)) }))
	if math.Abs(r.Tonal.Tuning-30) > 5 || r.Tonal.Keys[0].Key.String() != "C major" {
		t.Errorf("%.1f cents, %v", r.Tonal.Tuning, r.Tonal.Keys[0])
	}
}

func TestAnalyser_pieces(t *testing.T) {
	in := pcm(8, band(120, 4, cMajor))
	whole := analysis.New()
	_, _ = whole.Write(in)
	if got := analysed(in); !reflect.DeepEqual(got, whole.Result()) {
		t.Errorf("pieces: %+v\nwhole: %+v", got, whole.Result())
	}
}

// TestAnalyser_ends: silence, fades and parts are where they are.
func TestAnalyser_ends(t *testing.T) {
	verse, chorus := band(100, 4, cMajor), band(100, 4, [][]int{{45, 73, 76, 81}, {40, 71, 76, 80}})
	r := analysed(pcm(100, func(t float64) float64 {
		switch {
		case t < 2 || t > 97:
			return 0
		case t < 32 || t > 62:
			return verse(t) * min(1, math.Pow(10, -(t-87)*2.5/20))
		}
		return chorus(t)
	}))
	e := r.Ends
	if math.Abs(e.Start-2) > 0.2 || e.FadeInEnd != e.Start || math.Abs(e.FadeOutStart-88) > 1.5 || e.End < 95 || e.End > 97.1 {
		t.Errorf("%+v", e)
	}
	var borders []float64
	for _, s := range r.Sections {
		borders = append(borders, s.Start)
	}
	near := func(at float64) bool {
		for _, b := range borders {
			if math.Abs(b-at) <= 2 {
				return true
			}
		}
		return false
	}
	if !near(32) || !near(62) || len(borders) > 6 {
		t.Errorf("sections %+v", r.Sections)
	}
	for z, points := range r.Waveform {
		if len(points) == 0 || points[0] != 0 || points[len(points)/2] == 0 {
			t.Errorf("zoom %d: %d points", z, len(points))
		}
	}
}

// TestAnalyser_hostile: whatever comes, all numbers are numbers, and what is not there is absent.
func TestAnalyser_hostile(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for name, in := range map[string][]byte{
		"nothing":     nil,
		"one sample":  {1, 2, 3, 4},
		"odd":         {1, 2, 3},
		"silence":     make([]byte, 4*analysis.Rate*10),
		"short":       pcm(0.4, band(120, 4, cMajor)),
		"three":       pcm(3, band(120, 4, cMajor)),
		"dc":          pcm(10, func(float64) float64 { return 0.5 }),
		"clipped":     pcm(10, func(t float64) float64 { return 50 * math.Sin(2*math.Pi*220*t) }),
		"full":        pcm(10, func(float64) float64 { return 1 }),
		"one bit":     pcm(10, func(t float64) float64 { return math.Round(math.Sin(2*math.Pi*220*t)) / 32767 }),
		"noise":       pcm(10, func(float64) float64 { return random.Float64()*2 - 1 }),
		"one click":   pcm(10, func(t float64) float64 { return math.Floor(math.Exp(-math.Abs(t-5) * 1e5)) }),
		"tone":        pcm(10, func(t float64) float64 { return 0.5 * math.Sin(2*math.Pi*441*t) }),
		"top of band": pcm(10, func(t float64) float64 { return 0.9 * math.Sin(2*math.Pi*22049*t) }),
		"very slow":   pcm(30, band(10, 4, cMajor)),
	} {
		t.Run(name, func(t *testing.T) {
			r := analysed(in)
			finite(t, reflect.ValueOf(r), "")
			switch name {
			case "nothing", "one sample", "odd", "silence":
				if r.Feel.Known || r.Beat.Tempo.BPM != 0 || len(r.Tonal.Keys) != 0 || r.Ends.End != 0 {
					t.Errorf("%+v", r)
				}
			case "dc", "full":
				if r.Beat.Tempo.BPM != 0 || len(r.Tonal.Keys) != 0 {
					t.Errorf("tempo %v, keys %v", r.Beat.Tempo, r.Tonal.Keys)
				}
			}
		})
	}
}

// finite fails where a number in v is none.
func finite(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() { //nolint:exhaustive // others hold no numbers
	case reflect.Float32, reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			t.Errorf("%s is %v", path, f)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			finite(t, v.Field(i), path+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			finite(t, v.Index(i), path)
		}
	}
}

func BenchmarkAnalyser(b *testing.B) {
	in := pcm(60, band(120, 4, cMajor))
	for b.Loop() {
		a := analysis.New()
		_, _ = a.Write(in)
		_ = a.Result()
	}
	b.ReportMetric(60*float64(b.N)/b.Elapsed().Seconds(), "x-realtime")
}
