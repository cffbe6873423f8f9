package cassandra

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/segue-music/segue/event/outbox/cassandrabox"
)

// Kinds of the parts of an entity.
const (
	kindMember = "member"
	kindSlot   = "slot"
	kindLink   = "link"
)

func trackKey(id string) string  { return "track/" + id }
func albumKey(id string) string  { return "album/" + id }
func artistKey(id string) string { return "artist/" + id }

// head of an entity.
type head struct {
	version, revision int64
	data              []byte
	hint, day, shares string
	recent            int32
	moved             bool
}

func (s *Store) head(ctx context.Context, key string) (h head, err error) {
	_, err = s.db.Get(ctx, `SELECT version, revision, data, hint, recent, moved FROM entity WHERE key = ? AND kind = '' AND id = ''`,
		[]any{key}, &h.version, &h.revision, &h.data, &h.hint, &h.recent, &h.moved)
	return h, err
}

func decode(data []byte, into proto.Message) error {
	if err := proto.Unmarshal(data, into); err != nil {
		return fmt.Errorf("decode %s: %w", into.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}

// part is a member, a slot or a link of an entity.
type part struct {
	kind, id string
	data     []byte
	dropped  bool
	made     int64
}

type partName struct{ kind, id string }

// parts of one entity.
type parts map[partName]part

// lastID is after every id.
const lastID = "\U0010ffff"

const (
	// partBuckets never change: parts would be left behind.
	partBuckets = 16
	// maxRecent is how many parts an entity has in its own partition before they move out.
	maxRecent = 128
)

// partBucket keeps the slots of one place together.
func partBucket(kind, id string) int {
	if kind == kindSlot {
		id = id[:slotPlace]
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return int(h.Sum32() % partBuckets)
}

// part is one part; nil where there is none.
func (s *Store) part(ctx context.Context, key, kind, id string) (*part, error) {
	found := part{kind: kind, id: id}
	var row part
	var moved, rowMoved, here bool
	// With the head in one read: a part that is not here has moved by then, or never was.
	err := s.db.Each(ctx, `SELECT kind, data, dropped, made, moved FROM entity WHERE key = ? AND (kind, id) IN (('', ''), (?, ?))`,
		[]any{key, kind, id}, []any{&row.kind, &row.data, &row.dropped, &row.made, &rowMoved}, func() (bool, error) {
			if row.kind == "" {
				moved = rowMoved
			} else {
				here, found.data, found.dropped, found.made = true, row.data, row.dropped, row.made
			}
			row.data = nil // the next row's own
			return true, nil
		})
	if err == nil && !here && moved {
		here, err = s.db.Get(ctx, `SELECT data, dropped FROM entity_part WHERE key = ? AND kind = ? AND bucket = ? AND id = ?`,
			[]any{key, kind, partBucket(kind, id), id}, &found.data, &found.dropped)
	}
	if err != nil || !here || found.dropped {
		return nil, err
	}
	return &found, nil
}

// parts are those after an id and before another, "" being no end, in the order of ids, at
// most limit.
func (s *Store) parts(ctx context.Context, key, kind, after, before string, limit int) ([]part, error) {
	if before == "" {
		before = lastID
	}
	have, p := parts{}, part{kind: kind}
	// One after the other: what moves in between is found in both.
	err := s.db.Each(ctx, `SELECT id, data, dropped FROM entity WHERE key = ? AND kind = ? AND id > ? AND id < ?`, []any{key, kind, after, before},
		[]any{&p.id, &p.data, &p.dropped}, func() (bool, error) {
			have[partName{kind, p.id}] = p
			p.data = nil
			return true, nil
		})
	if err != nil {
		return nil, err
	}
	var moved bool
	if _, err := s.db.Get(ctx, `SELECT moved FROM entity WHERE key = ? AND kind = '' AND id = ''`, []any{key}, &moved); err != nil {
		return nil, err
	}
	k := kindOf{kind, limit}
	if !moved {
		return firstParts(have, k), nil
	}
	buckets := make([][]part, partBuckets)
	err = eachAtOnce(ctx, partBuckets, func(ctx context.Context, b int) (err error) {
		if kind == kindSlot && b != partBucket(kind, before) {
			return nil // of one place
		}
		buckets[b], err = s.bucketParts(ctx, key, k, b, after, before, have)
		return err
	})
	if err != nil {
		return nil, err
	}
	have.add(buckets)
	return firstParts(have, k), nil
}

func (ps parts) add(buckets [][]part) {
	for _, list := range buckets {
		for _, p := range list {
			ps[partName{p.kind, p.id}] = p
		}
	}
}

// bucketParts are the first that are there and of which there is none newer. What is
// dropped does not count, so that the first of all buckets together are the first of all.
func (s *Store) bucketParts(ctx context.Context, key string, k kindOf, bucket int, after, before string, newer parts) (list []part, err error) {
	p := part{kind: k.kind}
	err = s.db.Each(ctx, `SELECT id, data, dropped FROM entity_part WHERE key = ? AND kind = ? AND bucket = ? AND id > ? AND id < ?`,
		[]any{key, k.kind, bucket, after, before}, []any{&p.id, &p.data, &p.dropped}, func() (bool, error) {
			if _, ok := newer[partName{p.kind, p.id}]; !ok && !p.dropped {
				list = append(list, p)
			}
			p.data = nil
			return len(list) < k.limit, nil
		})
	return list, err
}

func firstParts(have parts, k kindOf) []part {
	var list []part
	for _, p := range have {
		if p.kind == k.kind && !p.dropped {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b part) int { return strings.Compare(a.id, b.id) })
	return list[:min(k.limit, len(list))]
}

// putParts adds parts to a change of an entity, the last of each id. Where too many are in
// its partition by then, those from before move out first.
func (s *Store) putParts(ctx context.Context, c *cassandrabox.Change, h *head, list []part) error {
	now := parts{}
	for _, p := range list {
		now[partName{p.kind, p.id}] = p
	}
	if len(now) == 0 {
		return nil
	}
	if int(h.recent)+len(now) > maxRecent && h.recent > 0 {
		old, err := s.moveOut(ctx, c.Key)
		if err != nil {
			return err
		}
		for _, p := range old {
			if _, again := now[partName{p.kind, p.id}]; !again { // of a delete and a write in one batch the delete stays
				c.Do(`DELETE FROM entity WHERE key = ? AND kind = ? AND id = ?`, c.Key, p.kind, p.id)
			}
		}
		h.recent, h.moved = 0, true
	}
	for n, p := range now {
		c.Do(`INSERT INTO entity (key, kind, id, data, dropped, made) VALUES (?, ?, ?, ?, ?, ?)`, c.Key, n.kind, n.id, p.data, p.dropped, c.Version+1)
	}
	h.recent += int32(len(now))
	return nil
}

// moveOut copies the parts in the partition of an entity to their buckets. A copy that comes
// late is older than what is there, by its version, and changes nothing.
func (s *Store) moveOut(ctx context.Context, key string) (list []part, err error) {
	var p part
	for _, kind := range []string{kindMember, kindSlot, kindLink} {
		err := s.db.Each(ctx, `SELECT kind, id, data, dropped, made FROM entity WHERE key = ? AND kind = ?`, []any{key, kind},
			[]any{&p.kind, &p.id, &p.data, &p.dropped, &p.made}, func() (bool, error) {
				list = append(list, p)
				p.data = nil
				return true, nil
			})
		if err != nil {
			return nil, err
		}
	}
	return list, eachAtOnce(ctx, len(list), func(ctx context.Context, i int) error {
		p := list[i]
		return s.db.Exec(ctx, `INSERT INTO entity_part (key, kind, bucket, id, data, dropped) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?`,
			key, p.kind, partBucket(p.kind, p.id), p.id, p.data, p.dropped, p.made)
	})
}
