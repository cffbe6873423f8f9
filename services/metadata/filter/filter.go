// Package filter reads and tries conditions on what the sound of a track tells, like
// "bpm:120-128 key:Am energy:>0.7".
package filter

import (
	"math"
	"strconv"
	"strings"

	"github.com/segue-music/segue/audio/analysis/tonal"
	metadatav1 "github.com/segue-music/segue/gen/segue/metadata/v1"
	"github.com/segue-music/segue/internal/fault"
)

// ErrSyntax means that a filter cannot be read; its message says what of it.
var ErrSyntax = fault.New(fault.Invalid, "filter is like \"bpm:120-128 key:Am energy:>0.7\"")

const maxTerms = 16

// Terms all hold. None lets everything through.
type Terms []term

// term is one condition. Bounds are included unless open.
type term struct {
	value    func(*metadatav1.AudioFeatures) (float64, bool)
	from, to float64
	// over and under leave the bound itself out.
	over, under bool
	key         *tonal.Key
}

// fields are what can be asked for.
var fields = map[string]func(*metadatav1.AudioFeatures) (float64, bool){
	"bpm":          func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Bpm) },
	"metre":        func(f *metadatav1.AudioFeatures) (float64, bool) { return float64(f.GetMetre()), f.GetMetre() != 0 },
	"energy":       func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Energy) },
	"danceability": func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Danceability) },
	"valence":      func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Valence) },
	"acousticness": func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Acousticness) },
	"speechiness":  func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.Speechiness) },
	"loudness":     func(f *metadatav1.AudioFeatures) (float64, bool) { return told(f.LoudnessLufs) },
}

func told(v *float32) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return float64(*v), true
}

// Parse reads terms. It fails with ErrSyntax.
func Parse(text string) (Terms, error) {
	var out Terms
	words := strings.Fields(text)
	for i := 0; i < len(words); i++ {
		name, value, ok := strings.Cut(words[i], ":")
		// "key:Bb major" is one term.
		if ok && name == "key" && i+1 < len(words) && (words[i+1] == "major" || words[i+1] == "minor") {
			i++
			value += " " + words[i]
		}
		if !ok || value == "" || len(out) == maxTerms {
			return nil, ErrSyntax
		}
		t := term{value: fields[name]}
		switch {
		case name == "key":
			var key tonal.Key
			key, ok = tonal.ParseKey(value)
			t.key = &key
		case t.value == nil:
			ok = false
		default:
			ok = t.parse(value)
		}
		if !ok {
			return nil, ErrSyntax
		}
		out = append(out, t)
	}
	return out, nil
}

// parse reads 5, 5-7, >5, >=5, <5 or <=5. Numbers may be negative: -20--14.
func (t *term) parse(value string) bool {
	t.from, t.to = math.Inf(-1), math.Inf(1)
	number := func(s string) (float64, bool) {
		// Features are of 32 bits, and 0.7 is to be the 0.7 that they have.
		v, err := strconv.ParseFloat(s, 32)
		return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	var ok bool
	for _, bound := range []struct {
		sign string
		at   *float64
		open *bool
	}{{">=", &t.from, new(bool)}, {"<=", &t.to, new(bool)}, {">", &t.from, &t.over}, {"<", &t.to, &t.under}} {
		if rest, found := strings.CutPrefix(value, bound.sign); found {
			*bound.at, ok = number(rest)
			*bound.open = true
			return ok
		}
	}
	// The dash of a range is not its first character, which may be a sign.
	if at := strings.Index(value[1:], "-"); at >= 0 {
		from, ok1 := number(value[:at+1])
		to, ok2 := number(value[at+2:])
		t.from, t.to = from, to
		return ok1 && ok2 && from <= to
	}
	t.from, ok = number(value)
	t.to = t.from
	// A whole number stands for all that round to it: few tempi are exactly 120.
	if ok && t.from == math.Trunc(t.from) {
		t.from, t.to, t.under = t.from-0.5, t.from+0.5, true
	}
	return ok
}

// Let tells whether all terms hold. Features may be nil.
func (t Terms) Let(features *metadatav1.AudioFeatures) bool {
	if features == nil {
		return len(t) == 0
	}
	for _, c := range t {
		if !c.holds(features) {
			return false
		}
	}
	return true
}

func (t *term) holds(f *metadatav1.AudioFeatures) bool {
	if t.key != nil {
		return f.Key != nil && *t.key == tonal.Key{Tonic: int(f.GetKey()), Minor: f.GetMinor()}
	}
	v, ok := t.value(f)
	return ok && v >= t.from && v <= t.to && !(t.over && v == t.from) && !(t.under && v == t.to)
}
