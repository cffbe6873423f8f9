package fingerprint_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/segue-music/segue/audio/fingerprint"
)

func TestComputeAt(t *testing.T) {
	plain := music(11, 32, 0)
	raw := []string{"-f", "s16le", "-ar", "44100", "-ac", "2", "-i", "pipe:0"}
	down := []string{"-ar", "11025", "-ac", "1", "-f", "s16le", "pipe:1"}
	want := fingerprint.Compute(samples(ffmpeg(t, plain, append(raw, down...)...)))
	same := fingerprint.ComputeAt(samples(ffmpeg(t, plain, append(raw, down...)...)), 1, 1)
	if !slices.Equal(same, want) {
		t.Error("no change makes other items")
	}
	for _, c := range []struct {
		filter       string
		tempo, pitch float64
	}{
		{"asetrate=45423", 1.03, 1.03}, {"asetrate=42777", 0.97, 0.97}, {"asetrate=44651", 1.0125, 1.0125}, {"atempo=1.03", 1.03, 1},
		{"atempo=0.98", 0.98, 1},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			changed := samples(ffmpeg(t, plain, append(append(raw, "-af", c.filter), down...)...))
			undone := fingerprint.Compare(want, fingerprint.ComputeAt(changed, c.tempo, c.pitch))
			if undone.ErrorRate > 0.12 {
				t.Errorf("undone: %+v", undone)
			}
			if plain := fingerprint.Compare(want, fingerprint.Compute(changed)); plain.ErrorRate < undone.ErrorRate*1.5 {
				t.Errorf("as it is: %+v, undone %+v", plain, undone)
			}
		})
	}
	for _, s := range []float64{0, -1, 1e9} {
		if n := len(fingerprint.ComputeAt(make([]int16, 60000), s, s)); n < 5 || n > 60 {
			t.Errorf("%v: %d items", s, n)
		}
	}
	if speeds := fingerprint.Speeds(0.03); len(speeds) != 24 || slices.Contains(speeds, fingerprint.Speed{Tempo: 1, Pitch: 1}) {
		t.Errorf("%v", speeds)
	}
}
