//go:build engines

package cassandrabox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/event/outbox/outboxtest"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/internal/testengine"
)

// ring is a node with a keyspace that the tests empty one after the other.
type ring struct {
	config  cassandradb.Config
	schema  cassandradb.Schema
	session *gocql.Session
}

func start(t *testing.T) *ring {
	t.Helper()
	schema, err := cassandrabox.Schema("boxes", fstest.MapFS{"migrations/00001_entities.cql": {Data: []byte(`CREATE TABLE IF NOT EXISTS entity (
		id_of text, kind text, id text, version bigint, writers map<tinyint, text>, drained bigint,
		topic text, event_key text, value blob, trace text, n bigint, PRIMARY KEY ((id_of), kind, id));
`)}})
	if err != nil {
		t.Fatal(err)
	}
	node := testengine.Cassandra(t)
	r := &ring{
		config: cassandradb.Config{Hosts: node.Host, Keyspace: "t", Datacenter: "datacenter1", Replication: "datacenter1:1", Timeout: 20 * time.Second},
		schema: schema,
	}
	if err := cassandradb.Migrate(t.Context(), r.config, r.schema, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cluster := gocql.NewCluster(node.Host)
	cluster.Keyspace, cluster.Timeout = "t_boxes", time.Minute
	session, err := cluster.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(session.Close)
	r.session = session
	return r
}

func (r *ring) empty(t *testing.T) {
	t.Helper()
	for _, table := range []string{"entity", "agenda", "agenda_bucket", "relay_lease", "relay_member"} {
		if err := r.session.Query("TRUNCATE " + table).Exec(); err != nil {
			t.Fatal(err)
		}
	}
}

// count is the number of rows of a table.
func (r *ring) count(t *testing.T, table string) (n int) {
	t.Helper()
	if err := r.session.Query("SELECT count(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// process is one of those that share the keyspace.
type process struct {
	db  *cassandradb.DB
	box *cassandrabox.Outbox
}

func (r *ring) process(t *testing.T, opt cassandradb.Options) process {
	t.Helper()
	db, err := cassandradb.Open(t.Context(), r.config, r.schema, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return process{db, cassandrabox.New(db, event.OwnerUpload, "entity", "id_of")}
}

// added collects the events of a change of the suite.
type added struct{ rows []outbox.Row }

func (a *added) Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error {
	r, err := outbox.NewRow(ctx, event.OwnerUpload, topic, key, env)
	a.rows = append(a.rows, r)
	return err
}

func (*added) Once(context.Context, string, string, []byte, func() ([]byte, error)) ([]byte, error) {
	return nil, errors.ErrUnsupported // no check of SourceChecks calls it
}

// write makes a change of the entity that its first event is about.
func (p process) write(ctx context.Context, fn func(outboxtest.Tx) error) error {
	a := &added{}
	if err := fn(a); err != nil {
		return err
	}
	return p.box.Write(ctx, a.rows[0].Key, func(c *cassandrabox.Change) error {
		c.Add(a.rows...)
		return nil
	})
}

func TestCassandra(t *testing.T) {
	r := start(t)
	t.Run("outbox", func(t *testing.T) {
		outboxtest.RunChecks(t, outboxtest.SourceChecks(), func(t *testing.T) outboxtest.Opened {
			r.empty(t)
			p := r.process(t, cassandradb.Options{})
			return outboxtest.Opened{Source: p.box, Write: p.write}
		})
	})
	t.Run("relays", func(t *testing.T) { relays(t, r) })
	t.Run("joined", func(t *testing.T) { joined(t, r) })
	t.Run("lost_answer", func(t *testing.T) { lostAnswer(t, r) })
	t.Run("steps", func(t *testing.T) { steps(t, r) })
	t.Run("fence", func(t *testing.T) { fence(t, r) })
	t.Run("slow_writer", func(t *testing.T) { slowWriter(t, r) })
	t.Run("given_up", func(t *testing.T) { givenUp(t, r) })
}

// shared is a log of several relays, as far as a relay needs one.
type shared struct {
	event.Log
	mu   sync.Mutex
	seen map[string][]uint64 // revisions by subject, in order, with repeats
	n    int
}

func (s *shared) Append(_ context.Context, recs ...event.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recs {
		env, err := event.Unmarshal(r.Value)
		if err != nil {
			return err
		}
		s.seen[env.GetSubject()] = append(s.seen[env.GetSubject()], env.GetRevision())
		s.n++
	}
	return nil
}

// firsts are the revisions of a subject without their repeats.
func (s *shared) firsts(subject string) (list []uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[uint64]bool{}
	for _, rev := range s.seen[subject] {
		if !known[rev] {
			list = append(list, rev)
		}
		known[rev] = true
	}
	return list
}

// increment counts an entity up and publishes the number.
func (p process) increment(ctx context.Context, key string) (n int64, err error) {
	err = p.box.Write(ctx, key, func(c *cassandrabox.Change) error {
		n = 0
		if _, err := p.db.Get(ctx, `SELECT n FROM entity WHERE id_of = ? AND kind = 'own' AND id = ''`, []any{key}, &n); err != nil {
			return err
		}
		n++
		c.Do(`UPDATE entity SET n = ? WHERE id_of = ? AND kind = 'own' AND id = ''`, n, key)
		r, err := outbox.NewRow(ctx, event.OwnerUpload, event.Upload, key, outboxtest.Envelope(key, int(n)))
		c.Add(r)
		return err
	})
	return n, err
}

// await waits until ok says so.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("after a minute: not %s", what)
		}
	}
}

// relays: two processes write the same entities and publish, with clocks two hours apart;
// one of them dies. Each event comes, and the first time of each in order.
func relays(t *testing.T, r *ring) {
	r.empty(t)
	const keys, each = 6, 30
	log := &shared{seen: map[string][]uint64{}}
	var all []process
	done := make(chan error, 2)
	var dead atomic.Bool
	for i := range 2 {
		skew := time.Duration(2*i-1) * time.Hour
		opt := cassandradb.Options{Now: func() time.Time { return time.Now().Add(skew) }}
		if i == 0 {
			opt.Interrupt = func(string, bool) error {
				if dead.Load() {
					return cassandradb.ErrClosed
				}
				return nil
			}
		}
		p := r.process(t, opt)
		all = append(all, p)
		go func() { done <- outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(t.Context()) }()
	}
	var g errgroup.Group
	var made [keys]atomic.Int64
	for k := range keys {
		for i, p := range all {
			g.Go(func() error {
				for n := range each {
					if i == 0 && n == each/2 {
						dead.Store(true)
					}
					_, err := p.increment(t.Context(), fmt.Sprint("upload:", k))
					if errors.Is(err, cassandradb.ErrClosed) || errors.Is(err, cassandradb.ErrUnknown) {
						return nil // it is dead
					}
					if err != nil {
						return err
					}
					made[k].Add(1)
				}
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	living := all[1]
	for k := range keys {
		key := fmt.Sprint("upload:", k)
		last, err := living.increment(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if acknowledged := made[k].Load() + 1; last < acknowledged {
			t.Errorf("%s is at %d after %d changes: some are lost", key, last, acknowledged)
		}
		await(t, "published "+key, func() bool { return len(log.firsts(key)) >= int(last) })
		for i, rev := range log.firsts(key) {
			if rev != uint64(i+1) {
				t.Fatalf("%s: revision %d came where %d is due: %v", key, rev, i+1, log.firsts(key))
			}
		}
	}
	// The pointers of what was announced and not done go too, and the events' rows.
	await(t, "clear of pointers", func() bool { return r.count(t, "agenda") == 0 })
	if n, err := living.box.Pending(t.Context()); err != nil || n != 0 {
		t.Errorf("%d events wait, %v", n, err)
	}
	t.Logf("%d events published, %d repeats", log.n, log.n-func() (n int) {
		for k := range keys {
			n += len(log.firsts(fmt.Sprint("upload:", k)))
		}
		return n
	}())
}

// lostAnswer: a conditional write whose answer is lost is known to have been made, also
// when others changed the entity since; one that was not sent is made all the same.
func lostAnswer(t *testing.T, r *ring) {
	r.empty(t)
	other := r.process(t, cassandradb.Options{})
	var lose atomic.Value // func(done bool) error
	lose.Store(func(bool) error { return nil })
	p := r.process(t, cassandradb.Options{Interrupt: func(kind string, done bool) error {
		if kind != "conditional_write" {
			return nil
		}
		return lose.Load().(func(bool) error)(done)
	}})
	lost := errors.New("lost")
	for name, when := range map[string]bool{"before": false, "after": true} {
		for _, between := range []int{0, 1, 5} {
			t.Run(fmt.Sprint(name, "_and_", between, "_others"), func(t *testing.T) {
				key := "upload:" + t.Name()
				if _, err := p.increment(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				var once sync.Once
				lose.Store(func(done bool) (err error) {
					if done == when {
						once.Do(func() {
							for range between {
								if _, err := other.increment(t.Context(), key); err != nil {
									t.Error(err)
								}
							}
							err = lost
						})
					}
					return err
				})
				if _, err := p.increment(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				lose.Store(func(bool) error { return nil })
				if n, err := p.increment(t.Context(), key); err != nil || n != int64(between)+3 {
					t.Errorf("after two changes and %d of another the next makes %d, %v", between, n, err)
				}
			})
		}
	}
}

// steps: the writer dies at each step of a change. What another process and its relay find
// is the change with its events, or neither.
func steps(t *testing.T, r *ring) {
	r.empty(t)
	log := &shared{seen: map[string][]uint64{}}
	p := r.process(t, cassandradb.Options{})
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	finished, unknown := false, 0
	for n := 1; !finished; n++ {
		for _, after := range []bool{false, true} {
			key := fmt.Sprint("upload:", n, after)
			steps := map[bool]int{} // begun and done
			var dead atomic.Bool
			var mu sync.Mutex
			victim := r.process(t, cassandradb.Options{Interrupt: func(_ string, done bool) error {
				mu.Lock()
				defer mu.Unlock()
				steps[done]++
				if dead.Load() || steps[after] == n {
					dead.Store(true)
					return cassandradb.ErrClosed
				}
				return nil
			}})
			_, err := victim.increment(ctx, key)
			finished = !dead.Load()
			if err == nil != finished {
				t.Errorf("step %d: dead %t, %v", n, !finished, err)
			}
			if errors.Is(err, cassandradb.ErrUnknown) {
				unknown++
			}
			made, err := p.increment(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			await(t, "published "+key, func() bool { return len(log.firsts(key)) == int(made) })
			if got := log.firsts(key); made > 2 || got[0] != 1 {
				t.Errorf("step %d: the next change makes %d, published %v", n, made, got)
			}
		}
	}
	if unknown != 2 {
		t.Errorf("%d deaths left it unknown, want that before and that after the conditional write", unknown)
	}
	await(t, "clear of pointers", func() bool { return r.count(t, "agenda") == 0 })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// fence: a change that was announced and is tried after the relay gave it up is not made
// against the old version, and what it then makes is published.
func fence(t *testing.T, r *ring) {
	r.empty(t)
	p, slow := r.process(t, cassandradb.Options{}), r.process(t, cassandradb.Options{})
	tries := 0
	err := slow.box.Write(t.Context(), "upload:1", func(c *cassandrabox.Change) error {
		if tries++; tries == 1 {
			if err := p.box.Fence(t.Context(), c.Key, c.Version); err != nil {
				return err
			}
		}
		row, err := outbox.NewRow(t.Context(), event.OwnerUpload, event.Upload, c.Key, outboxtest.Envelope(c.Key, tries))
		c.Add(row)
		return err
	})
	if err != nil || tries != 2 {
		t.Fatalf("%d tries, %v", tries, err)
	}
	if n, err := p.box.Pending(t.Context()); err != nil || n != 1 {
		t.Errorf("%d events wait, %v", n, err)
	}
}

// slowWriter: a relay that comes by between a pointer and its change leaves the pointer.
func slowWriter(t *testing.T, r *ring) {
	r.empty(t)
	p := r.process(t, cassandradb.Options{})
	ids := func() (n int) {
		_, err := p.box.Take(t.Context(), 10, func(_ context.Context, b outbox.Batch) error {
			n = len(b.Records)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return n
	}
	var armed atomic.Bool
	slow := r.process(t, cassandradb.Options{Interrupt: func(kind string, done bool) error {
		if kind == "conditional_write" && !done && armed.Swap(false) {
			if n := ids() + ids(); n != 0 || r.count(t, "agenda") != 1 {
				t.Errorf("before the change: %d events, %d pointers", n, r.count(t, "agenda"))
			}
		}
		return nil
	}})
	for range 2 { // the first change of the entity, and another
		armed.Store(true)
		if _, err := slow.increment(t.Context(), "upload:1"); err != nil {
			t.Fatal(err)
		}
		if n := ids(); n != 1 {
			t.Errorf("after it: %d events, want its one", n)
		}
		if n := r.count(t, "agenda"); n != 0 {
			t.Errorf("%d pointers are left", n)
		}
	}
}

// givenUp: of a writer that dies before its change, nothing is left when nobody comes to
// that entity any more.
func givenUp(t *testing.T, r *ring) {
	r.empty(t)
	victim := r.process(t, cassandradb.Options{Interrupt: func(kind string, _ bool) error {
		if kind == "conditional_write" {
			return cassandradb.ErrClosed
		}
		return nil
	}})
	if _, err := victim.increment(t.Context(), "upload:1"); !errors.Is(err, cassandradb.ErrUnknown) {
		t.Fatalf("the victim lives: %v", err)
	}
	if n := r.count(t, "agenda"); n != 1 {
		t.Fatalf("%d pointers, want its one", n)
	}
	p, log := r.process(t, cassandradb.Options{}), &shared{seen: map[string][]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	await(t, "clear of pointers", func() bool { return r.count(t, "agenda") == 0 })
	cancel()
	if err := <-done; err != nil || log.n != 0 {
		t.Errorf("%d events of no change, %v", log.n, err)
	}
}

// joined: a relay that comes when another one has every shard gets its half of them, and
// none is nobody's.
func joined(t *testing.T, r *ring) {
	r.empty(t)
	log := &shared{seen: map[string][]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	start := func() {
		p := r.process(t, cassandradb.Options{})
		go func() { done <- outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(ctx) }()
	}
	holders := func() map[string]int {
		out, holder := map[string]int{}, ""
		for rows := r.session.Query("SELECT holder FROM relay_lease").Iter(); rows.Scan(&holder); holder = "" {
			if holder != "" {
				out[holder]++
			}
		}
		return out
	}
	halves := func(relays int) func() bool {
		return func() bool {
			have := holders()
			for _, n := range have {
				if n != agenda.Shards/relays {
					return false
				}
			}
			return len(have) == relays
		}
	}
	start()
	await(t, "every shard with the first relay", halves(1))
	start()
	await(t, "half of the shards with each relay", halves(2))
	cancel()
	if err := errors.Join(<-done, <-done); err != nil {
		t.Error(err)
	}
}
