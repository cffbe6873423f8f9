package redislimit

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	shardCount = 32
	// tries bounds the search for a lease that nobody misses.
	tries = 8
)

// leases are those of the keys asked for last.
type leases struct {
	seed   maphash.Seed
	shards [shardCount]shard
}

type shard struct {
	mu   sync.Mutex
	most int
	keys map[string]*lease
}

func newLeases(keys int) *leases {
	l := &leases{seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].most, l.shards[i].keys = max(1, keys/shardCount), map[string]*lease{}
	}
	return l
}

// of finds the lease of a key or makes an empty one.
func (l *leases) of(name string, now time.Time) *lease {
	s := &l.shards[maphash.String(l.seed, name)%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.keys[name]
	if k == nil {
		if len(s.keys) >= s.most {
			s.makeRoom(now)
		}
		k = &lease{}
		s.keys[name] = k
	}
	return k
}

// makeRoom drops a lease that says nothing any more, or any one: Redis will be asked.
func (s *shard) makeRoom(now time.Time) {
	n, victim := 0, ""
	for name, k := range s.keys { // in no order
		victim = name
		if n++; n == tries {
			break
		}
		if !k.mu.TryLock() {
			continue
		}
		idle := now.After(k.ends) && now.After(k.refused)
		k.mu.Unlock()
		if idle {
			break
		}
	}
	delete(s.keys, victim)
}
