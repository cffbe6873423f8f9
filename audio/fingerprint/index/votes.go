package index

import (
	"cmp"
	"math/bits"
	"slices"
	"sort"

	"github.com/segue-music/segue/audio/fingerprint"
)

// part is what an index consists of: fingerprints one behind the other, whose items have positions, and the positions of
// each item. A position in a part stands for a track and an offset in it.
type part interface {
	// postings appends the positions of the item of a key, and tells whether they are no more than limit.
	postings(dst []uint32, key uint32, limit int) ([]uint32, bool, error)
	// tracks is how many fingerprints there are; those that were removed count, too.
	tracks() int
	// start is the position where fingerprint n begins; that of tracks() is the end.
	start(n int) uint32
	// id is the track of fingerprint n; false where it was removed.
	id(n int) (ID, bool)
	// items sets dst to the items from a position on.
	items(dst []uint32, from uint32) error
}

// maxPositions is how many positions a part has: offsets before the first and differences of them fit as well.
const maxPositions = 1<<32 - 4*MaxItems

// search is one query on one part.
type search struct {
	config Config
	fp     fingerprint.Fingerprint
	part   part
	// votes are positions where the query would begin, MaxItems added, so that none is negative.
	votes, spare []uint32
	found        map[ID]Match
	buffer       []uint32
}

// run adds what the part has to found.
func (s *search) run() error {
	if err := s.collect(); err != nil {
		return err
	}
	s.votes, s.spare = sortVotes(s.votes, s.spare)
	for _, at := range s.offsets() {
		if err := s.verify(at); err != nil {
			return err
		}
	}
	return nil
}

// collect gathers the votes, those of rare items first.
func (s *search) collect() error {
	type list struct{ at, from, to int }
	var lists []list
	var all []uint32
	var failed error
	s.config.postings(s.fp, func(at int, key uint32) {
		if failed != nil {
			return
		}
		from := len(all)
		more, whole, err := s.part.postings(all, key, s.config.MaxPostings)
		if failed = err; err != nil || !whole {
			all = all[:from]
			return
		}
		all = more
		if len(all) > from {
			lists = append(lists, list{at, from, len(all)})
		}
	})
	if failed != nil {
		return failed
	}
	slices.SortFunc(lists, func(a, b list) int { return cmp.Compare(a.to-a.from, b.to-b.from) })
	s.votes = s.votes[:0]
	for _, l := range lists {
		if len(s.votes)+l.to-l.from > s.config.Budget {
			break
		}
		for _, p := range all[l.from:l.to] {
			s.votes = append(s.votes, p+uint32(MaxItems-l.at))
		}
	}
	return nil
}

// offsets returns those with most votes. Frames of the query lie between those of the track, so that votes of one offset
// fall on two neighbours: they count together.
func (s *search) offsets() []int64 {
	type peak struct {
		at    int64
		votes int
	}
	var peaks []peak
	n := 0 // votes at the offset before
	last := int64(-2)
	for i := 0; i < len(s.votes); {
		j := i + 1
		for j < len(s.votes) && s.votes[j] == s.votes[i] {
			j++
		}
		at := int64(s.votes[i]) - MaxItems
		here := j - i
		if at != last+1 {
			n = 0
		}
		if here+n >= s.config.MinVotes {
			best := at
			if n > here {
				best = last
			}
			peaks = append(peaks, peak{best, here + n})
		}
		n, last, i = here, at, j
	}
	slices.SortFunc(peaks, func(a, b peak) int { return cmp.Or(cmp.Compare(b.votes, a.votes), cmp.Compare(a.at, b.at)) })
	var out []int64
	for _, p := range peaks {
		if len(out) == s.config.Candidates {
			break
		}
		if !slices.Contains(out, p.at) {
			out = append(out, p.at)
		}
	}
	return out
}

// verify compares the query with each track that it would lie on if it began at a position, and one item to either side.
func (s *search) verify(at int64) error {
	last := s.part.tracks()
	first := sort.Search(last, func(n int) bool { return int64(s.part.start(n+1)) > at })
	for n := first; n < last; n++ {
		start, end := int64(s.part.start(n)), int64(s.part.start(n+1))
		if start >= at+int64(len(s.fp)) {
			break
		}
		id, ok := s.part.id(n)
		if !ok {
			continue
		}
		if err := s.compare(id, start, end, at); err != nil {
			return err
		}
	}
	return nil
}

// compare reads the items of a track once and takes the best of three offsets.
func (s *search) compare(id ID, start, end, at int64) error {
	from, to := max(start, at-1), min(end, at+1+int64(len(s.fp)))
	if to-from < int64(s.config.MinOverlap) {
		return nil
	}
	s.buffer = slices.Grow(s.buffer[:0], int(to-from))[:to-from]
	if err := s.part.items(s.buffer, uint32(from)); err != nil {
		return err
	}
	least := max(s.config.MinOverlap, int(s.config.MinShare*float64(min(int64(len(s.fp)), end-start))))
	for shift := at - 1; shift <= at+1; shift++ {
		a, b := max(start, shift), min(end, shift+int64(len(s.fp)))
		if b-a < int64(least) {
			continue
		}
		theirs := s.buffer[a-from : b-from]
		ours := s.fp[a-shift:][:len(theirs)]
		wrong, equal := 0, 0
		for i, v := range theirs {
			if d := v ^ ours[i]; d == 0 {
				equal++
			} else {
				wrong += bits.OnesCount32(d)
			}
		}
		rate := float64(wrong) / float64(32*len(theirs))
		if rate > s.config.MaxErrorRate || equal == 0 {
			continue
		}
		if old, ok := s.found[id]; !ok || rate < old.ErrorRate {
			s.found[id] = Match{
				ID: id, Offset: int(shift - start), Overlap: len(theirs), ErrorRate: rate, Equal: equal,
				Confidence: 1 - rate/max(s.config.MaxErrorRate, 1e-9),
			}
		}
	}
	return nil
}

// matches returns what was found, the best first.
func matches(found map[ID]Match) []Match {
	out := make([]Match, 0, len(found))
	for _, m := range found {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.ErrorRate, b.ErrorRate), cmp.Compare(b.Overlap, a.Overlap), slices.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// sortVotes sorts by three digits of 11 bits where that is worth it.
func sortVotes(v, spare []uint32) (sorted, other []uint32) {
	if len(v) < 1000 {
		slices.Sort(v)
		return v, spare
	}
	spare = slices.Grow(spare[:0], len(v))[:len(v)]
	const digit = 11
	for shift := 0; shift < 32; shift += digit {
		var counts [1 << digit]int
		byDigit(spare, v, counts[:], shift)
		v, spare = spare, v
	}
	return v, spare
}

// byDigit puts v into to by the digit of len(counts) values from bit shift on; what has one
// digit stays in order. counts are 0.
func byDigit[T ~uint32 | ~uint64](to, v []T, counts []int, shift int) {
	mask := T(len(counts) - 1)
	for _, x := range v {
		counts[x>>shift&mask]++
	}
	sum := 0
	for i, c := range counts {
		counts[i] = sum
		sum += c
	}
	for _, x := range v {
		d := x >> shift & mask
		to[counts[d]] = x
		counts[d]++
	}
}
