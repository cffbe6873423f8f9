package tonal

import (
	"strconv"
	"strings"
)

// Key is a tonic, 0 for C to 11 for B, and a mode.
type Key struct {
	Tonic int
	Minor bool
}

var names = [12]string{"C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"}

// String is like "Ab major".
func (k Key) String() string {
	if k.Minor {
		return names[k.Tonic] + " minor"
	}
	return names[k.Tonic] + " major"
}

// Short is as on a lead sheet: "Ab", "F#m".
func (k Key) Short() string {
	if k.Minor {
		return names[k.Tonic] + "m"
	}
	return names[k.Tonic]
}

// Camelot is the code of the key on the wheel that disc jockeys mix by, like "8B" for C
// major: neighbours share all notes but one.
func (k Key) Camelot() string {
	// C major is 8B, and a fifth up is one further; a minor key has its relative major's number.
	tonic, letter := k.Tonic, "B"
	if k.Minor {
		tonic, letter = (k.Tonic+3)%12, "A"
	}
	return strconv.Itoa((8-1+tonic*7)%12+1) + letter
}

// tonics are the spellings that are read.
var tonics = map[string]int{
	"C": 0, "C#": 1, "Db": 1, "D": 2, "D#": 3, "Eb": 3, "E": 4, "F": 5, "F#": 6, "Gb": 6, "G": 7, "G#": 8, "Ab": 8, "A": 9, "A#": 10, "Bb": 10, "B": 11,
}

// ParseKey reads what String, Short and Camelot write, of any case but that of a flat and of
// the m, and tells whether it is one. A bare tonic is a major key.
func ParseKey(text string) (Key, bool) {
	if number, letter := strings.TrimRight(text, "ABab"), strings.TrimLeft(text, "0123456789"); number+letter == text && len(letter) == 1 {
		n, err := strconv.Atoi(number)
		if err == nil && n >= 1 && n <= 12 {
			tonic := (n - 8 + 12) * 7 % 12
			if strings.EqualFold(letter, "A") {
				return Key{(tonic + 9) % 12, true}, true
			}
			return Key{tonic, false}, true
		}
	}
	name, mode, spelled := strings.Cut(text, " ")
	minor := mode == "minor"
	if !spelled {
		name, minor = strings.TrimSuffix(name, "m"), strings.HasSuffix(name, "m")
	}
	if name != "" {
		name = strings.ToUpper(name[:1]) + name[1:]
	}
	tonic, ok := tonics[name]
	return Key{tonic, minor}, ok
}
