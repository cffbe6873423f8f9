package analysis

import "math"

// Feel are impressions from 0 to 1. Each is a sum of what was measured, by the weights that
// stand in its code; docs/audio.md says what each was held against, and what was not.
// Without sound Known is false and all are 0.
type Feel struct {
	Known bool
	// Energy is how intense music is: loud, dense in onsets, bright, without quiet parts.
	Energy float64
	// Danceability is how steady and how plain the pulse is, and how near to the tempo of
	// walking and dancing.
	Danceability float64
	// Valence is how cheerful music is by mode, tempo and brightness. It is the least sure.
	Valence float64
	// Acousticness is how much it sounds of instruments without amplification: tones and not
	// noise, few sharp onsets in the treble, a spectrum that falls.
	Acousticness float64
	// Speechiness is how much its level moves as speech does.
	Speechiness float64
}

func feel(r *Result) Feel {
	t, b := &r.Timbre, &r.Beat
	if t.Frames == 0 {
		return Feel{}
	}
	bright := ramp(math.Log2(max(t.Brightness, 1)), math.Log2(600), math.Log2(4000))
	tempo := 0.0
	if b.Tempo.BPM > 0 {
		octaves := math.Log2(b.Tempo.BPM / 118)
		tempo = math.Exp(-octaves * octaves / (2 * 0.45 * 0.45))
	}
	f := Feel{Known: true}
	f.Energy = 0.4*ramp(r.Ends.Usual, -36, -10) + 0.25*ramp(b.Onsets, 0.5, 7) + 0.2*bright + 0.15*(1-ramp(t.LevelSpread, 3, 14))
	f.Danceability = 0.55*ramp(b.Pulse, 0.08, 0.6) + 0.25*tempo*ramp(b.Pulse, 0.02, 0.2) + 0.2*ramp(b.Onsets, 0.5, 5)
	major := 0.0
	for _, k := range r.Tonal.Keys {
		if !k.Key.Minor {
			major += k.Probability
		}
	}
	if len(r.Tonal.Keys) == 0 {
		major = 0.5
	}
	f.Valence = 0.45*major + 0.3*ramp(math.Log2(max(b.Tempo.BPM, 1)), math.Log2(60), math.Log2(150)) + 0.25*bright
	f.Acousticness = 1 - (0.35*bright + 0.35*ramp(t.Flatness, 0.005, 0.25) + 0.3*ramp(t.Change[0], 2, 14))
	f.Speechiness = ramp(t.Syllabic, 0.25, 0.65) * (1 - 0.5*ramp(b.Pulse, 0.1, 0.5))
	return f
}

// ramp is 0 up to from, 1 from to on, and straight between.
func ramp(x, from, to float64) float64 { return min(1, max(0, (x-from)/(to-from))) }
