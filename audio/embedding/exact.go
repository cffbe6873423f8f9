package embedding

import (
	"errors"
	"sync"
)

// ErrDimensions means that a vector has not the dimension of the index.
var ErrDimensions = errors.New("embedding: wrong number of dimensions")

// Exact compares with every vector that it keeps: right to the last, and quick enough for
// 50,000. It keeps 4 bytes for each dimension and the id.
type Exact struct {
	dimensions int

	mu      sync.RWMutex
	places  map[string]int
	ids     []string
	vectors []float32
}

// NewExact returns an empty index.
func NewExact(dimensions int) *Exact {
	return &Exact{dimensions: dimensions, places: map[string]int{}}
}

// Put implements [Index].
func (x *Exact) Put(id string, v []float32) error {
	if len(v) != x.dimensions {
		return ErrDimensions
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := x.places[id]
	if !ok {
		at = len(x.ids)
		x.places[id] = at
		x.ids = append(x.ids, id)
		x.vectors = append(x.vectors, v...)
		return nil
	}
	copy(x.vectors[at*x.dimensions:], v)
	return nil
}

// Remove implements [Index].
func (x *Exact) Remove(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, ok := x.places[id]
	if !ok {
		return
	}
	last := len(x.ids) - 1
	x.ids[at] = x.ids[last]
	x.places[x.ids[at]] = at
	copy(x.vectors[at*x.dimensions:(at+1)*x.dimensions], x.vectors[last*x.dimensions:])
	delete(x.places, id)
	x.ids, x.vectors = x.ids[:last], x.vectors[:last*x.dimensions]
}

// Len implements [Index].
func (x *Exact) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.ids)
}

// Nearest implements [Index].
func (x *Exact) Nearest(v []float32, n int, leave func(id string) bool) ([]Neighbour, error) {
	if len(v) != x.dimensions {
		return nil, ErrDimensions
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	found := best{n: n}
	for i, id := range x.ids {
		s := dot(v, x.vectors[i*x.dimensions:][:x.dimensions])
		if len(found.list) == n && (n == 0 || s < found.list[n-1].Similarity) || leave != nil && leave(id) {
			continue
		}
		found.add(Neighbour{id, s})
	}
	return found.list, nil
}

// dot sums in four parts, which do not wait for each other.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + s2 + s3
}
