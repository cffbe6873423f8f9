package index

import (
	"container/heap"
	"os"
	"sort"
)

// writeMerged writes what is left of segments into one.
func writeMerged(file *os.File, c Config, from []*segment) error {
	w, err := newSegmentWriter(file, c)
	if err != nil {
		return err
	}
	var streams streams
	var items []uint32
	postings := uint64(0)
	for _, s := range from {
		m := &stream{segment: s, moved: make([]uint32, len(s.ids))}
		for n, id := range s.ids {
			m.moved[n] = w.header.items - s.starts[n] // it wraps around, and back
			if s.dead[n] {
				continue
			}
			items = append(items[:0], make([]uint32, s.starts[n+1]-s.starts[n])...)
			if err := s.items(items, s.starts[n]); err != nil {
				return err
			}
			if err := w.track(id, items); err != nil {
				return err
			}
		}
		postings += s.header.postings
		if m.next() {
			streams = append(streams, m)
		}
		if m.err != nil {
			return m.err
		}
	}
	if err := w.tracksDone(postings); err != nil {
		return err
	}
	heap.Init(&streams)
	for len(streams) > 0 {
		m := streams[0]
		if err := w.posting(m.key, m.position); err != nil {
			return err
		}
		if m.next() {
			heap.Fix(&streams, 0)
		} else {
			heap.Pop(&streams)
		}
		if m.err != nil {
			return m.err
		}
	}
	return w.close()
}

// stream gives the postings of a segment in order, without those of fingerprints that were removed.
type stream struct {
	segment *segment
	moved   []uint32 // by how much the positions of each fingerprint change
	block   uint32
	pending []pair
	buffer  []byte

	key, position uint32
	err           error
}

func (m *stream) next() bool {
	for len(m.pending) == 0 {
		if int(m.block) == len(m.segment.counts) {
			return false
		}
		m.pending = m.pending[:0:cap(m.pending)]
		m.err = m.segment.block(m.block, &m.buffer, m.take)
		if m.err != nil {
			return false
		}
		m.block++
	}
	m.key, m.position = uint32(m.pending[0]>>32), uint32(m.pending[0])
	m.pending = m.pending[1:]
	return true
}

func (m *stream) take(key, position uint32) bool {
	n := sort.Search(len(m.segment.ids), func(n int) bool { return m.segment.starts[n+1] > position })
	if !m.segment.dead[n] {
		m.pending = append(m.pending, pair(key)<<32|pair(position+m.moved[n]))
	}
	return true
}

// streams is a heap by key; of equal keys the earlier segment's positions come first.
type streams []*stream

func (s streams) Len() int { return len(s) }
func (s streams) Less(i, j int) bool {
	return s[i].key < s[j].key || s[i].key == s[j].key && s[i].position < s[j].position
}
func (s streams) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *streams) Push(x any)   { *s = append(*s, x.(*stream)) }
func (s *streams) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}
