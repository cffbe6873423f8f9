package index

import (
	"sync"

	"github.com/segue-music/segue/audio/fingerprint"
)

// Memory is an Index in memory: about 20 bytes for each item that is kept, and 4 for each other.
type Memory struct {
	config Config
	mu     sync.RWMutex
	part   memoryPart
}

var _ Index = (*Memory)(nil)

// NewMemory returns an empty index. It fails with ErrConfig.
func NewMemory(c Config) (*Memory, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	return &Memory{config: c, part: newMemoryPart()}, nil
}

// Insert implements Index.
func (m *Memory) Insert(id ID, fp fingerprint.Fingerprint) error {
	if err := m.config.checkItems(fp); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.part.insert(m.config, id, fp)
}

// Remove implements Index. The room of what is removed is used again when more than half of all was.
func (m *Memory) Remove(id ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.part.remove(id)
	m.part.compact(m.config)
	return nil
}

// Query implements Index.
func (m *Memory) Query(fp fingerprint.Fingerprint) ([]Match, error) {
	if err := m.config.checkItems(fp); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	s := search{config: m.config, fp: fp, part: &m.part, found: map[ID]Match{}}
	if err := s.run(); err != nil {
		return nil, err
	}
	return matches(s.found), nil
}

// Len implements Index.
func (m *Memory) Len() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.part.byID)
}

// memoryPart is a part in memory.
type memoryPart struct {
	all    []uint32
	starts []uint32 // one more than there are tracks
	ids    []ID
	dead   []bool
	byID   map[ID]int
	byKey  map[uint32][]uint32
}

func newMemoryPart() memoryPart {
	return memoryPart{starts: []uint32{0}, byID: map[ID]int{}, byKey: map[uint32][]uint32{}}
}

func (m *memoryPart) insert(c Config, id ID, fp []uint32) error {
	start := len(m.all)
	if start+len(fp) > maxPositions {
		return ErrFull
	}
	m.remove(id)
	m.all = append(m.all, fp...)
	c.postings(fp, func(at int, key uint32) {
		m.byKey[key] = append(m.byKey[key], uint32(start+at))
	})
	m.byID[id] = len(m.ids)
	m.ids, m.dead = append(m.ids, id), append(m.dead, false)
	m.starts = append(m.starts, uint32(len(m.all)))
	m.compact(c)
	return nil
}

func (m *memoryPart) remove(id ID) {
	if n, ok := m.byID[id]; ok {
		m.dead[n] = true
		delete(m.byID, id)
	}
}

// compact leaves out what was removed, where that is more than half and worth the work.
func (m *memoryPart) compact(c Config) {
	if len(m.ids) < 64 || len(m.byID) > len(m.ids)/2 {
		return
	}
	fresh := newMemoryPart()
	for n, id := range m.ids {
		if !m.dead[n] {
			_ = fresh.insert(c, id, m.all[m.starts[n]:m.starts[n+1]]) // it fit before
		}
	}
	*m = fresh
}

func (m *memoryPart) postings(dst []uint32, key uint32, limit int) ([]uint32, bool, error) {
	list := m.byKey[key]
	if len(list) > limit {
		return dst, false, nil
	}
	return append(dst, list...), true, nil
}

func (m *memoryPart) tracks() int         { return len(m.ids) }
func (m *memoryPart) start(n int) uint32  { return m.starts[n] }
func (m *memoryPart) id(n int) (ID, bool) { return m.ids[n], !m.dead[n] }

func (m *memoryPart) items(dst []uint32, from uint32) error {
	copy(dst, m.all[from:])
	return nil
}
