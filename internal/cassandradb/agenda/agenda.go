// Package agenda keeps lists of what is to be looked at later, over all partitions of a
// table: which have events to publish, which plays fall due. Cassandra has no index for
// such a question that stays quick, so the lists are tables of their own, cut into shards
// and buckets of time.
//
// An entry is a hint and no truth. It is written before the change of a row that it speaks
// of, with the version that the change is made against, and so it is there if the change
// is. Whoever walks the list looks at the row: once the row's version is above the
// entry's, that change was made or never can be, and what the row says decides. Then the
// entry may be dropped. Until then it stays. No clock has a part in this: those of the
// writers only spread the entries over the buckets.
package agenda

import (
	"context"
	"embed"
	"fmt"
	"hash/fnv"
	"io/fs"
	"iter"
	"math"
	"sync"
	"time"

	"github.com/segue-music/segue/internal/cassandradb"
)

//go:embed migrations/*.cql
var migrations embed.FS

// Schema are the tables, to be put into cassandradb.Schema.Modules.
func Schema() (cassandradb.Module, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return cassandradb.Module{}, fmt.Errorf("agenda schema: %w", err)
	}
	return cassandradb.Module{Name: "agenda", Migrations: files}, nil
}

// Shards of every list. It never becomes less: entries would be left behind.
const Shards = 16

// Shard is that of a key.
func Shard(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % Shards)
}

// Entry of a list.
type Entry struct {
	// At is when to look, in Unix ms.
	At int64
	// Key is the partition to look at, Item what in it.
	Key, Item string
	// Version of the partition that the change is made against.
	Version int64

	written int64 // its cell's time, in µs
}

// List is one list. Make one per database.
type List struct {
	db     *cassandradb.DB
	name   string
	length int64 // of a bucket, in ms

	mu sync.Mutex
	// registered says when this process wrote that a bucket exists.
	registered map[place]time.Time
	// empty says since when this process has found nothing in a bucket.
	empty map[place]emptiness
}

type place struct {
	shard  int
	bucket int64
}

type emptiness struct {
	since   time.Time
	written int64 // of the bucket's registration then
}

const (
	// registeredFor is how long a writer relies on a bucket's registration.
	registeredFor = time.Minute
	// retireAfter is how long a bucket is empty, and not registered again, before it is
	// struck off: longer than registeredFor by more than the nodes' clocks may differ.
	retireAfter = 10 * time.Minute
	// maxRemembered bounds the two maps; what is forgotten is written or waited for again.
	maxRemembered = 20_000
)

// New makes the list with a name, whose buckets are of a length.
func New(db *cassandradb.DB, name string, length time.Duration) *List {
	return &List{
		db: db, name: name, length: length.Milliseconds(),
		registered: map[place]time.Time{}, empty: map[place]emptiness{},
	}
}

func (l *List) place(e Entry) place {
	b := e.At / l.length
	if e.At < 0 {
		b--
	}
	return place{Shard(e.Key), b}
}

// Put keeps an entry. It is durable before the change that it speaks of is tried.
func (l *List) Put(ctx context.Context, e Entry) error {
	p := l.place(e)
	if err := l.register(ctx, p); err != nil {
		return err
	}
	return l.db.Exec(ctx, `INSERT INTO agenda (list, shard, bucket, at, key, item, version, here) VALUES (?, ?, ?, ?, ?, ?, ?, true)`,
		l.name, p.shard, p.bucket, e.At, e.Key, e.Item, e.Version)
}

// register writes that a bucket exists, unless this process did so a moment ago.
func (l *List) register(ctx context.Context, p place) error {
	began := time.Now()
	l.mu.Lock()
	at, ok := l.registered[p]
	l.mu.Unlock()
	if ok && began.Sub(at) < registeredFor {
		return nil
	}
	err := l.db.Exec(ctx, `INSERT INTO agenda_bucket (list, shard, bucket, here) VALUES (?, ?, ?, true)`, l.name, p.shard, p.bucket)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.registered) >= maxRemembered {
		clear(l.registered)
	}
	l.registered[p] = began
	return nil
}

// Drop takes an entry that Walk gave out. One that was put again since stays.
func (l *List) Drop(ctx context.Context, e Entry) error {
	p := l.place(e)
	return l.db.Exec(ctx, `DELETE FROM agenda USING TIMESTAMP ? WHERE list = ? AND shard = ? AND bucket = ? AND at = ? AND key = ? AND item = ? AND version = ?`,
		e.written, l.name, p.shard, p.bucket, e.At, e.Key, e.Item, e.Version)
}

// pageEntries is how many entries are read at a time.
const pageEntries = 1000

// Walk gives the entries of a shard up to a time, in Unix ms, in the order of their At.
func (l *List) Walk(ctx context.Context, shard int, upTo int64) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		buckets, err := l.buckets(ctx, shard, l.place(Entry{At: upTo}).bucket)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		for _, b := range buckets {
			more, err := l.walk(ctx, b, upTo, yield)
			if err != nil {
				yield(Entry{}, err)
			}
			if err != nil || !more {
				return
			}
		}
	}
}

type bucket struct {
	place
	written int64
}

func (l *List) buckets(ctx context.Context, shard int, last int64) (list []bucket, err error) {
	b := bucket{place: place{shard: shard}}
	err = l.db.Each(ctx, `SELECT bucket, WRITETIME(here) FROM agenda_bucket WHERE list = ? AND shard = ? AND bucket <= ?`,
		[]any{l.name, shard, last}, []any{&b.bucket, &b.written}, func() (bool, error) {
			list = append(list, b)
			return true, nil
		})
	return list, err
}

func (l *List) walk(ctx context.Context, b bucket, upTo int64, yield func(Entry, error) bool) (more bool, err error) {
	after, none := Entry{At: math.MinInt64, Version: math.MinInt64}, true
	for {
		var page []Entry
		var e Entry
		err := l.db.Each(ctx, `SELECT at, key, item, version, WRITETIME(here) FROM agenda WHERE list = ? AND shard = ? AND bucket = ?
			AND (at, key, item, version) > (?, ?, ?, ?) AND (at) <= (?) LIMIT ?`,
			[]any{l.name, b.shard, b.bucket, after.At, after.Key, after.Item, after.Version, upTo, pageEntries},
			[]any{&e.At, &e.Key, &e.Item, &e.Version, &e.written}, func() (bool, error) {
				page = append(page, e)
				return true, nil
			})
		if err != nil {
			return false, err
		}
		for _, e := range page {
			none = false
			if !yield(e, nil) {
				return false, nil
			}
		}
		if len(page) < pageEntries {
			break
		}
		after = page[len(page)-1]
	}
	if whole := upTo >= (b.bucket+1)*l.length-1; whole {
		return true, l.retire(ctx, b, none)
	}
	return true, nil
}

// retire strikes a bucket off that has been empty for long. A registration since then is
// of a later time than the one that is struck off, and stays.
func (l *List) retire(ctx context.Context, b bucket, none bool) error {
	l.mu.Lock()
	was, ok := l.empty[b.place]
	switch {
	case !none:
		delete(l.empty, b.place)
		l.mu.Unlock()
		return nil
	case !ok || was.written != b.written:
		if len(l.empty) >= maxRemembered {
			clear(l.empty)
		}
		l.empty[b.place] = emptiness{time.Now(), b.written}
		l.mu.Unlock()
		return nil
	case time.Since(was.since) < retireAfter:
		l.mu.Unlock()
		return nil
	}
	delete(l.empty, b.place)
	l.mu.Unlock()
	return l.db.Exec(ctx, `DELETE FROM agenda_bucket USING TIMESTAMP ? WHERE list = ? AND shard = ? AND bucket = ?`, b.written, l.name, b.shard, b.bucket)
}
