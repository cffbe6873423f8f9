package redis

import (
	"context"
	"sync"
	"time"
)

// mark says that a key is about to have a revision, so that older values are of no use.
type mark struct {
	key      string
	revision uint64
}

// before marks what is about to change and tells when that was.
func (s *Store) before(ctx context.Context, marks []mark) time.Time {
	began := time.Now()
	s.forget(ctx, marks)
	return began
}

// after marks again what has changed where the first marks are not certain, or may have
// ended before the commit.
func (s *Store) after(ctx context.Context, began time.Time, marks []mark) {
	late := time.Since(began) > s.times.mark/2
	for _, m := range marks {
		if late || s.dirty.has(m.key) {
			s.forget(ctx, []mark{m})
		}
	}
}

// forget marks keys in Redis. Those that Redis does not confirm are dirty until it has.
func (s *Store) forget(ctx context.Context, marks []mark) {
	ctx = context.WithoutCancel(ctx) // a caller who goes does not undo a commit
	for _, m := range marks {
		s.dirty.add(m, time.Now())
		if s.place(ctx, m) == nil {
			s.dirty.clean(m)
		}
	}
}

func (s *Store) place(ctx context.Context, m mark) error {
	_, err := s.redis.Insist(ctx, s.scripts.mark, m.key, m.revision, s.times.mark.Milliseconds())
	return err
}

// again is how soon a mark that was not confirmed is placed again.
const again = 100 * time.Millisecond

// Run places the marks that Redis did not confirm, until ctx ends, which is no error.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		// After that neither token nor value is left of what was read before the change.
		for _, m := range s.dirty.list(time.Now().Add(-s.times.mark - s.times.value)) {
			if s.place(ctx, m) != nil {
				break
			}
			s.dirty.clean(m)
		}
	}
}

// dirty are the keys whose marks are not confirmed. There are as many as this instance has
// changed in a value's life without Redis.
type dirty struct {
	mu   sync.RWMutex
	keys map[string]stain
}

type stain struct {
	revision uint64
	at       time.Time
}

func newDirty() *dirty { return &dirty{keys: map[string]stain{}} }

func (d *dirty) has(key string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.keys[key]
	return ok
}

func (d *dirty) add(m mark, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.keys[m.key] = stain{max(m.revision, d.keys[m.key].revision), now}
}

// clean notes that a mark is confirmed, unless the key has changed again meanwhile.
func (d *dirty) clean(m mark) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[m.key].revision <= m.revision {
		delete(d.keys, m.key)
	}
}

// list gives the marks to be placed and drops those of before.
func (d *dirty) list(before time.Time) []mark {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []mark
	for key, s := range d.keys {
		if s.at.Before(before) {
			delete(d.keys, key)
			continue
		}
		list = append(list, mark{key, s.revision})
	}
	return list
}
