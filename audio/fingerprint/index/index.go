package index

import (
	"errors"

	"github.com/segue-music/segue/audio/fingerprint"
)

var (
	// ErrTooLong means that a fingerprint has more than MaxItems items.
	ErrTooLong = errors.New("fingerprint index: too many items")
	// ErrTooShort means that a fingerprint has fewer than Config.MinOverlap items: nothing could ever be found by it.
	ErrTooShort = errors.New("fingerprint index: too few items")
	// ErrFull means that a part of the index takes no more: a Memory of 2³² items, a Disk of 2¹⁰ segments.
	ErrFull = errors.New("fingerprint index: full")
	// ErrCorrupt means that a file is not what was written.
	ErrCorrupt = errors.New("fingerprint index: file is corrupt")
	// ErrConfig means that a setting is out of its range, or another one than the index was made with.
	ErrConfig = errors.New("fingerprint index: bad setting")
)

// MaxItems bounds a fingerprint: about two hours of sound.
const MaxItems = 1 << 16

// ID names a track. What it holds is the caller's.
type ID [16]byte

// Index keeps fingerprints of tracks. All methods may be called at the same time.
type Index interface {
	// Insert keeps fp for id, in place of what was kept for it before. It is found by every Query that begins after Insert
	// has returned. It fails with ErrTooLong, ErrTooShort and ErrFull, and then changes nothing.
	Insert(id ID, fp fingerprint.Fingerprint) error
	// Remove forgets id: no Query that begins after Remove has returned finds it. An id that is not kept is no error.
	Remove(id ID) error
	// Query returns the tracks that have a part that sounds like a part of fp, the least error rate first, each once and at
	// its best offset; nothing where there is none. It fails with ErrTooLong and ErrTooShort.
	Query(fp fingerprint.Fingerprint) ([]Match, error)
	// Len is how many tracks are kept.
	Len() int
}

// Match is a track that was found.
type Match struct {
	ID ID
	// Offset is by how many items the query begins later than the track; negative is earlier.
	Offset int
	// Overlap is the length of the common part in items.
	Overlap int
	// ErrorRate is the share of differing bits over the common part.
	ErrorRate float64
	// Equal is how many items of the common part are the same bit by bit.
	Equal int
	// Confidence is 1 for equal and 0 at the index's greatest error rate, in a straight line between.
	Confidence float64
}

// Config tells what is found. An index is opened with the Sample that it was made with; the rest may change.
type Config struct {
	// Sample keeps one in Sample of all different items, the same ones in each fingerprint: postings shrink by as much, and
	// so do the votes. 1 keeps all.
	Sample int
	// MinOverlap is the least common part, in items.
	MinOverlap int
	// MinShare is the least common part as a share of the shorter of query and track.
	MinShare float64
	// MaxErrorRate is the greatest error rate of a match.
	MaxErrorRate float64
	// MinVotes is how many items have to be equal for an offset to be verified.
	MinVotes int
	// Candidates is how many offsets are verified in each part of the index.
	Candidates int
	// MaxPostings is how many places an item may lead to in each part of the index: one that leads to more is passed over, as
	// are those of silence. A segment is written without them.
	MaxPostings int
	// Budget is how many votes are counted in each part of the index, those of rare items first.
	Budget int
}

// Duplicates finds tracks that are the same from end to end, or a trimmed or worse copy.
func Duplicates() Config {
	return Config{
		Sample: 8, MinOverlap: 80, MinShare: 0.5, MaxErrorRate: DuplicateErrorRate, MinVotes: 2, Candidates: 32, MaxPostings: 20_000,
		Budget: 200_000,
	}
}

// Clips finds the track that 10 s were taken from, wherever they begin in it.
func Clips() Config {
	return Config{
		Sample: 1, MinOverlap: 40, MinShare: 0.5, MaxErrorRate: ClipErrorRate, MinVotes: 2, Candidates: 32, MaxPostings: 20_000,
		Budget: 200_000,
	}
}

// Greatest error rates at which none of some ten thousand pairs of unlike tracks was taken for the same: the less is
// compared, the nearer chance comes. docs/audio.md has the curves they were chosen from.
const (
	DuplicateErrorRate = 0.19
	ClipErrorRate      = 0.12
)

func (c Config) check() error {
	switch {
	case c.Sample < 1 || c.Sample > 1024, c.MinOverlap < 1 || c.MinOverlap > MaxItems, !(c.MinShare >= 0 && c.MinShare <= 1),
		!(c.MaxErrorRate >= 0 && c.MaxErrorRate <= 0.5), c.MinVotes < 1, c.Candidates < 1, c.MaxPostings < 1, c.Budget < 1:
		return ErrConfig
	}
	return nil
}

func (c Config) checkItems(fp fingerprint.Fingerprint) error {
	switch {
	case len(fp) > MaxItems:
		return ErrTooLong
	case len(fp) < c.MinOverlap:
		return ErrTooShort
	}
	return nil
}

// key spreads items evenly over 32 bits, each to another one: as they come they crowd. It is the finalizer of MurmurHash3.
func key(item uint32) uint32 {
	item ^= item >> 16
	item *= 0x85ebca6b
	item ^= item >> 13
	item *= 0xc2b2ae35
	return item ^ item>>16
}

// postings calls each for the items of fp that have a posting, with their keys: of a run of equal ones the first, and of all
// different ones one in Sample, the same in each fingerprint.
func (c Config) postings(fp []uint32, each func(at int, key uint32)) {
	for i, item := range fp {
		if i > 0 && fp[i-1] == item {
			continue
		}
		if k := key(item); k%uint32(c.Sample) == 0 {
			each(i, k)
		}
	}
}
