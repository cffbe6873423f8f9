package measure

import (
	"cmp"
	"slices"
)

const (
	sketchTerms = 64
	// SketchShare is how many terms in common make a candidate.
	SketchShare = 4
)

// Sketch picks the terms that a fingerprint is found by: of the set of its items, without
// their lowest bits, those with the smallest hashes (min-wise hashing, Broder 1997). Two
// prints of one recording share many of them, wherever each begins.
func Sketch(items []uint32) []uint32 {
	type scored struct{ hash, term uint32 }
	var all []scored
	for _, it := range items {
		term := it >> 4
		all = append(all, scored{term * 2654435761 >> 1, term})
	}
	slices.SortFunc(all, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.term, b.term))
	})
	all = slices.Compact(all)
	var out []uint32
	for _, a := range all[:min(len(all), sketchTerms)] {
		out = append(out, a.term)
	}
	return out
}
