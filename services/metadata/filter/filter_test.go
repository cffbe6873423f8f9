package filter

import (
	"errors"
	"strings"
	"testing"

	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
)

func TestTerms(t *testing.T) {
	f := func(v float32) *float32 { return &v }
	key := uint32(9)
	features := &metadatav1.AudioFeatures{
		Bpm: f(123.5), Metre: 4, Key: &key, Minor: true, Energy: f(0.7), LoudnessLufs: f(-14),
	}
	for text, want := range map[string]bool{
		"":                                    true,
		"bpm:120-128":                         true,
		"bpm:120-128 key:Am energy:>=0.7":     true,
		"bpm:123.5":                           true,
		"bpm:124":                             true,
		"bpm:123":                             false,
		"bpm:125-130":                         false,
		"bpm:>123.5":                          false,
		"bpm:<=123.5":                         true,
		"key:am":                              true,
		"key:A minor":                         true,
		"key:8A":                              true,
		"key:8a":                              true,
		"key:A":                               false,
		"key:A major":                         false,
		"key:8B":                              false,
		"key:C":                               false,
		"energy:>0.7":                         false,
		"energy:<0.71 energy:>0.6":            true,
		"loudness:-16--12":                    true,
		"loudness:<-14":                       false,
		"metre:4":                             true,
		"valence:0-1":                         false, // it could not be told
		" bpm:120-128\t key:A minor metre:4 ": true,
	} {
		terms, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got := terms.Let(features); got != want {
			t.Errorf("%q lets it through: %v", text, got)
		}
		if terms.Let(nil) != (text == "") {
			t.Errorf("%q: a track that was not analysed", text)
		}
	}
	for _, text := range []string{
		"bpm", "bpm:", ":120", "tempo:120", "bpm:a", "bpm:NaN", "bpm:>Inf", "bpm:5-", "bpm:-", "bpm:130-120", "key:H", "key:13A", "key:0B", "key:AB", "key:m", "key:", "major",
		"energy:>", "energy:>>1", strings.Repeat("bpm:1 ", maxTerms+1),
	} {
		if _, err := Parse(text); !errors.Is(err, ErrSyntax) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("bpm:120-128 key:Am energy:>0.7")
	f.Add("key:Bb major loudness:-20--14")
	f.Fuzz(func(_ *testing.T, text string) {
		terms, err := Parse(text)
		if err == nil {
			terms.Let(&metadatav1.AudioFeatures{Metre: 4})
		}
	})
}
