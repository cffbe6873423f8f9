package tonal_test

import (
	"testing"

	"github.com/segue-music/segue/audio/analysis/tonal"
)

// TestParseKey_Camelot: the wheel goes by fifths, and relatives have one number.
func TestParseKey_Camelot(t *testing.T) {
	for code, want := range map[string]string{"8B": "C", "9B": "G", "7B": "F", "12B": "E", "1B": "B", "8A": "Am", "5A": "Cm", "1A": "G#m", "12A": "C#m", "11A": "F#m"} {
		a, ok := tonal.ParseKey(code)
		b, ok2 := tonal.ParseKey(want)
		if !ok || !ok2 || a != b {
			t.Errorf("%s is %v, and %s is %v", code, a, want, b)
		}
	}
}

// TestParseKey: each of the 24 keys is read as it is written.
func TestParseKey(t *testing.T) {
	for _, minor := range []bool{false, true} {
		for tonic := range 12 {
			want := tonal.Key{Tonic: tonic, Minor: minor}
			for _, text := range []string{want.String(), want.Short(), want.Camelot()} {
				if got, ok := tonal.ParseKey(text); !ok || got != want {
					t.Errorf("%q is %v, want %v", text, got, want)
				}
			}
		}
	}
}
