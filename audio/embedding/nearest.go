package embedding

import (
	"cmp"
	"slices"
)

// Index finds the nearest vectors. All vectors have one length, their dimension. Methods may
// be called at the same time.
type Index interface {
	// Put keeps v for id, in place of what was kept for it. It fails with ErrDimensions.
	Put(id string, v []float32) error
	// Remove forgets id; one that is not kept is no error.
	Remove(id string)
	// Nearest are the n nearest to v, the nearest first, without those that leave says to.
	// leave may be nil. It fails with ErrDimensions.
	Nearest(v []float32, n int, leave func(id string) bool) ([]Neighbour, error)
	// Len is how many are kept.
	Len() int
}

// Neighbour is a vector that was found. Similarity is the dot product, 1 for the same
// direction where vectors have length 1.
type Neighbour struct {
	ID         string
	Similarity float32
}

// better orders neighbours, the nearest first; of equals the smaller id.
func better(a, b Neighbour) int {
	return cmp.Or(cmp.Compare(b.Similarity, a.Similarity), cmp.Compare(a.ID, b.ID))
}

// best keeps the n best of those that it is given.
type best struct {
	n    int
	list []Neighbour // sorted
}

func (b *best) add(x Neighbour) {
	if b.n <= 0 || len(b.list) == b.n && better(x, b.list[b.n-1]) >= 0 {
		return
	}
	at, _ := slices.BinarySearchFunc(b.list, x, better)
	if len(b.list) == b.n {
		b.list = b.list[:b.n-1]
	}
	b.list = slices.Insert(b.list, at, x)
}
