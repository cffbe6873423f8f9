package cassandra

import (
	"context"
	"slices"
	"strings"
	"sync"
)

// inOne is how many partitions one statement asks for. The node that gets it asks those
// that have them, side by side, so a few together cost one message here instead of as many;
// many would make one node's work of all.
const inOne = 16

// columns of a head that are read together.
type columns struct {
	names string
	into  func(h *head) []any
}

var (
	recordColumns = columns{"data", func(h *head) []any { return []any{&h.data} }}
	sharesColumns = columns{"shares", func(h *head) []any { return []any{&h.shares} }}
	placeColumns  = columns{"day, shares", func(h *head) []any { return []any{&h.day, &h.shares} }}
	albumColumns  = columns{"day, shares, data", func(h *head) []any { return []any{&h.day, &h.shares, &h.data} }}
	hintColumns   = columns{"version, hint, data", func(h *head) []any { return []any{&h.version, &h.hint, &h.data} }}
)

// anyKey is a condition for n keys. With one the driver knows which node has it.
func anyKey(n int) string {
	if n == 1 {
		return `key = ?`
	}
	return `key IN (` + questions(n) + `)`
}

func questions(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// inChunks runs fn on the keys, inOne at a time, some side by side.
func inChunks(ctx context.Context, keys []string, fn func(ctx context.Context, keys []string) error) error {
	chunks := slices.Collect(slices.Chunk(keys, inOne))
	return eachAtOnce(ctx, len(chunks), func(ctx context.Context, i int) error { return fn(ctx, chunks[i]) })
}

func anyOf(keys []string) []any {
	out := make([]any, len(keys))
	for i, k := range keys {
		out[i] = k
	}
	return out
}

// heads reads columns of the heads of entities, by key; what is not there is left out.
func (s *Store) heads(ctx context.Context, keys []string, c columns) (map[string]*head, error) {
	var mu sync.Mutex
	found := make(map[string]*head, len(keys))
	err := inChunks(ctx, keys, func(ctx context.Context, keys []string) error {
		var h head
		var key string
		return s.db.Each(ctx, `SELECT key, `+c.names+` FROM entity WHERE `+anyKey(len(keys))+` AND kind = '' AND id = ''`,
			anyOf(keys), append([]any{&key}, c.into(&h)...), func() (bool, error) {
				one := h
				h = head{} // the next row's own
				mu.Lock()
				defer mu.Unlock()
				found[key] = &one
				return true, nil
			})
	})
	return found, err
}

// kindOf is the first parts of one kind.
type kindOf struct {
	kind  string
	limit int
}

// family is an entity's parts by kind, in the order of ids.
type family map[string][]part

// rowsInOne is more rows than a page of an answer has when the parts read are of few
// partitions: then parts may have moved out between two pages.
const rowsInOne = 500

// families reads the parts of some kinds of entities, by key. Parts that lie in the
// entity's own partition come with the head in one answer, so that those which it says have
// moved are the ones that did.
func (s *Store) families(ctx context.Context, keys []string, kinds ...kindOf) (map[string]family, error) {
	var mu sync.Mutex
	found := make(map[string]family, len(keys))
	err := inChunks(ctx, keys, func(ctx context.Context, keys []string) error {
		own, moved, err := s.ownParts(ctx, keys, kinds)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if moved[key] {
				if err := s.outerParts(ctx, key, kinds, own); err != nil {
					return err
				}
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for key, parts := range own {
			found[key] = family{}
			for _, k := range kinds {
				found[key][k.kind] = firstParts(parts, k)
			}
		}
		return nil
	})
	return found, err
}

// ownParts are those in the entities' own partitions, and which entities have others.
func (s *Store) ownParts(ctx context.Context, keys []string, kinds []kindOf) (own map[string]parts, moved map[string]bool, err error) {
	own, moved = map[string]parts{}, map[string]bool{}
	var p part
	var key string
	var hasMoved bool
	n := 0
	args := anyOf(keys)
	for _, k := range kinds {
		args = append(args, k.kind)
	}
	cql := `SELECT key, kind, id, data, dropped, moved FROM entity WHERE ` + anyKey(len(keys)) + ` AND kind IN ('', ` + questions(len(kinds)) + `)`
	err = s.db.Each(ctx, cql, args, []any{&key, &p.kind, &p.id, &p.data, &p.dropped, &hasMoved}, func() (bool, error) {
		n++
		if own[key] == nil {
			own[key] = parts{}
		}
		if p.kind == "" {
			moved[key] = hasMoved
		} else {
			own[key][partName{p.kind, p.id}] = p
		}
		p, hasMoved = part{}, false // the next row's own
		return true, nil
	})
	if err != nil || n < rowsInOne {
		return own, moved, err
	}
	again, err := s.heads(ctx, keys, columns{"moved", func(h *head) []any { return []any{&h.moved} }})
	for key, h := range again {
		moved[key] = h.moved
	}
	return own, moved, err
}

// outerParts adds to an entity's own parts those in its buckets that it has no newer ones of.
func (s *Store) outerParts(ctx context.Context, key string, kinds []kindOf, own map[string]parts) error {
	buckets := make([][]part, partBuckets*len(kinds))
	newer := own[key]
	err := eachAtOnce(ctx, len(buckets), func(ctx context.Context, i int) (err error) {
		k := kinds[i/partBuckets]
		buckets[i], err = s.bucketParts(ctx, key, k, i%partBuckets, "", lastID, newer)
		return err
	})
	if err != nil {
		return err
	}
	newer.add(buckets)
	return nil
}
