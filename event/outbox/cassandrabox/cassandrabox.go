// Package cassandrabox is the half of the outbox that lies in Cassandra, and with it the
// only way in which a service changes its rows there: all that is one entity, a listener
// or a track, is one partition of one table, has a version, and is changed together with
// its events by one conditional batch. docs/decisions/0005-outbox-on-cassandra.md says
// why it is made like this.
//
// A table of entities has the columns of the service and these:
//
//	<key> text, kind text, id text,       -- PRIMARY KEY ((<key>), kind, id)
//	version bigint,                       -- of the entity; in its head, kind '' and id ''
//	writers map<tinyint, text>,           -- head: who made the last versions
//	drained bigint,                       -- head: the log has the events up to this version
//	topic text, event_key text, value blob, trace text -- an event that waits, kind 'event'
package cassandrabox

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pause"
)

//go:embed migrations/*.cql
var migrations embed.FS

// Schema is that of a service which keeps its entities here: its own tables, made by the
// files in the folder migrations of own, and those that this package and agenda need.
func Schema(name string, own fs.FS) (cassandradb.Schema, error) {
	lists, err := agenda.Schema()
	if err != nil {
		return cassandradb.Schema{}, err
	}
	s := cassandradb.Schema{Name: name, Modules: []cassandradb.Module{lists}}
	for _, m := range []struct {
		name string
		all  fs.FS
	}{{"outbox", migrations}, {name, own}} {
		files, err := fs.Sub(m.all, "migrations")
		if err != nil {
			return cassandradb.Schema{}, fmt.Errorf("%s schema: %w", m.name, err)
		}
		s.Modules = append(s.Modules, cassandradb.Module{Name: m.name, Migrations: files})
	}
	return s, nil
}

// Kinds of rows that this package writes; a service has others of its own.
const (
	KindHead  = ""
	KindEvent = "event"
)

// Outbox of one service in one process, over its table of entities. Make one per
// database: it is what wakes its relay.
type Outbox struct {
	outbox.Local
	db         *cassandradb.DB
	table, key string
	dirty      *agenda.List
	lease      lease
	turn       atomic.Int32 // the shard that is looked at first

	mu sync.Mutex
	// open says since when a pointer's change has been neither made nor given up.
	open map[agenda.Entry]time.Time
}

var _ outbox.Source = (*Outbox)(nil)

// pointerBucket is the length of the buckets of pointers.
const pointerBucket = time.Minute

// New makes the outbox of owner over a table whose partition key is the column key.
func New(db *cassandradb.DB, owner event.Owner, table, key string) *Outbox {
	return &Outbox{
		Local: outbox.NewLocal(owner), db: db, table: table, key: key,
		dirty: agenda.New(db, "dirty", pointerBucket),
		lease: lease{db: db, holder: uuid.NewString()}, open: map[agenda.Entry]time.Time{},
	}
}

// Change is what a function of [Outbox.Write] wants to become of an entity.
type Change struct {
	// Key is the entity's, Version the one that it has before the change; 0 is none.
	Key     string
	Version int64

	statements []cassandradb.Statement
	rows       []outbox.Row
	puts       []func(context.Context) error
}

// Do adds a statement of the entity's partition, without a condition of its own.
func (c *Change) Do(cql string, args ...any) {
	c.statements = append(c.statements, cassandradb.Statement{CQL: cql, Args: args})
}

// Add adds events that are published if and only if the change is made.
func (c *Change) Add(rows ...outbox.Row) { c.rows = append(c.rows, rows...) }

// Put has the entry of a list written before the change, with its key and version.
func (c *Change) Put(l *agenda.List, at int64, item string) {
	e := agenda.Entry{At: at, Key: c.Key, Item: item, Version: c.Version}
	c.puts = append(c.puts, func(ctx context.Context) error { return l.Put(ctx, e) })
}

func (c *Change) empty() bool { return len(c.statements) == 0 && len(c.rows) == 0 && len(c.puts) == 0 }

const (
	againFirst = 2 * time.Millisecond
	againMost  = 200 * time.Millisecond
	againFor   = 10 * time.Second
)

// ErrContention says that others changed the entity each time before this change could.
var ErrContention = fault.New(fault.Unavailable, "too many changes of one thing at once")

// Write makes a change of one entity and returns when it is durable. fn reads what it
// needs of the entity, and runs again where another change came between. An error of fn
// is Write's, and a change of nothing writes nothing. Once the change was sent the end of
// ctx does not matter any more: an error says that it was not made, but for
// cassandradb.ErrUnknown.
func (o *Outbox) Write(ctx context.Context, key string, fn func(*Change) error) error {
	wait := againFirst
	for began := time.Now(); ; wait = min(2*wait, againMost) {
		// The version first: where it still holds in the end, nothing that fn read in
		// between has changed.
		version, err := o.version(ctx, key)
		if err != nil {
			return err
		}
		c := &Change{Key: key, Version: version}
		if err := fn(c); err != nil || c.empty() {
			return err
		}
		made, err := o.make(ctx, c)
		if err != nil || made {
			return err
		}
		if time.Since(began) > againFor {
			return ErrContention
		}
		if !pause.About(ctx, wait) {
			return ctx.Err()
		}
	}
}

func (o *Outbox) version(ctx context.Context, key string) (v int64, err error) {
	_, err = o.db.Get(ctx, `SELECT version FROM `+o.table+` WHERE `+o.key+` = ? AND kind = '' AND id = ''`, []any{key}, &v)
	return v, err
}

// make writes the pointers and then tries the change.
func (o *Outbox) make(ctx context.Context, c *Change) (made bool, err error) {
	if len(c.rows) > 0 {
		c.Put(o.dirty, o.db.Now().UnixMilli(), "")
		for i, r := range c.rows {
			c.Do(`INSERT INTO `+o.table+` (`+o.key+`, kind, id, topic, event_key, value, trace) VALUES (?, 'event', ?, ?, ?, ?, ?)`,
				c.Key, eventID(c.Version+1, i), r.Topic, r.Key, r.Value, r.Trace)
		}
	}
	g, putting := errgroup.WithContext(ctx)
	for _, put := range c.puts {
		g.Go(func() error { return put(putting) })
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	made, err = o.decide(ctx, c)
	if made && len(c.rows) > 0 {
		o.Wake()
	}
	return made, err
}

// eventID puts events in the order of the versions that made them.
func eventID(version int64, n int) string { return fmt.Sprintf("%019d-%04d", version, n) }

// slots is how many of the last writers a head names: a writer that was not answered must
// ask before as many others have changed the entity.
const slots = 32

// decide makes the change if the entity has its version still.
func (o *Outbox) decide(ctx context.Context, c *Change) (made bool, err error) {
	token, next := uuid.NewString(), c.Version+1
	slot := int8(next % slots)
	cql := `UPDATE ` + o.table + ` SET version = ?, writers[?] = ? WHERE ` + o.key + ` = ? AND kind = '' AND id = '' IF version = ?`
	args := []any{next, slot, token, c.Key, c.Version}
	if c.Version == 0 {
		args[4] = nil // there is no row
	}
	list := append([]cassandradb.Statement{{CQL: cql, Args: args}}, c.statements...)
	return o.db.Decide(ctx, list, func(ctx context.Context) (cassandradb.Verdict, error) {
		var version int64
		var writers map[int8]string
		_, err := o.db.GetSerial(ctx, `SELECT version, writers FROM `+o.table+` WHERE `+o.key+` = ? AND kind = '' AND id = ''`,
			[]any{c.Key}, &version, &writers)
		switch {
		case err != nil:
			return cassandradb.Undecided, err
		case version <= c.Version:
			return cassandradb.Undecided, nil
		case version >= next+slots:
			return cassandradb.Undecided, cassandradb.ErrUnknown
		case writers[slot] == token:
			return cassandradb.Applied, nil
		}
		return cassandradb.Refused, nil
	})
}

// Fence decides every change that is tried against version or one below: it was made, or
// never can be. For that the entity gets a version that changes nothing.
func (o *Outbox) Fence(ctx context.Context, key string, version int64) error {
	now, err := o.version(ctx, key)
	if err != nil || now > version {
		return err
	}
	_, err = o.decide(ctx, &Change{Key: key, Version: now})
	return err
}

// Now implements outbox.Source.
func (o *Outbox) Now() time.Time { return o.db.Now() }

// Forget implements outbox.Source. There are no replies: a change that was not answered
// finds its token.
func (o *Outbox) Forget(context.Context) error { return nil }

// forever is after every bucket: that of a writer whose clock is ahead too.
const forever = math.MaxInt64
