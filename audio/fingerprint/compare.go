package fingerprint

import "math/bits"

const (
	// maxShift is how far two fingerprints are moved against each other, in
	// items: 10 s, the most that intros and silence differ by.
	maxShift = 80
	// minOverlap is the least common length that says anything, in items: 10 s.
	minOverlap = 80
)

// Thresholds of a Match's Score. Two unrelated tracks differ in half their bits
// (score 0); two encodings of one master in a few hundredths of them.
const (
	// SameRecording proposes that both are one recording.
	SameRecording = 0.70
	// Similar is worth a look: an edit, a remaster, a live take.
	Similar = 0.40
)

// Match is the best alignment of two fingerprints.
type Match struct {
	// Score is 1 for equal and 0 for chance: 1 - 2·ErrorRate, not below 0.
	Score float64
	// ErrorRate is the share of differing bits over the common part.
	ErrorRate float64
	// Shift is by how many items b starts later than a; negative is earlier.
	Shift int
	// Overlap is the common length in items.
	Overlap int
}

// Compare finds the shift of at most 10 s at which a and b differ least. Where
// the common part is shorter than 10 s, or than half of the shorter
// fingerprint, the score is 0.
func Compare(a, b Fingerprint) Match {
	best := Match{ErrorRate: 1}
	for shift := -maxShift; shift <= maxShift; shift++ {
		from, other := max(shift, 0), max(-shift, 0)
		if from >= len(a) || other >= len(b) {
			continue
		}
		n := min(len(a)-from, len(b)-other)
		if n < minOverlap || 2*n < min(len(a), len(b)) {
			continue
		}
		wrong := 0
		for i, v := range a[from : from+n] {
			wrong += bits.OnesCount32(v ^ b[other+i])
		}
		rate := float64(wrong) / float64(32*n)
		if rate < best.ErrorRate {
			best = Match{ErrorRate: rate, Shift: shift, Overlap: n}
		}
	}
	best.Score = max(0, 1-2*best.ErrorRate)
	return best
}
