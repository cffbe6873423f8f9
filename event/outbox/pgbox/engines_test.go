//go:build engines

package pgbox_test

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

	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/outboxtest"
	"github.com/segue-music/segue/event/outbox/pgbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/testengine"
)

// TestPostgreSQL runs everything that needs the real server on one.
func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	t.Run("outbox", func(t *testing.T) {
		outboxtest.Run(t, func(t *testing.T) outboxtest.Opened { return open(t, pg.Database(t)).opened() })
	})
	t.Run("one_subject", func(t *testing.T) { oneSubject(t, pg.Database(t)) })
	t.Run("one_at_a_time", func(t *testing.T) { oneAtATime(t, pg.Database(t)) })
	t.Run("open_transaction", func(t *testing.T) { openTransaction(t, pg.Database(t)) })
	t.Run("left_behind", func(t *testing.T) { leftBehind(t, pg.Database(t)) })
	t.Run("closed", func(t *testing.T) { closed(t, pg.Database(t)) })
}

// change is a transaction of the suite.
type change struct {
	box *pgbox.Outbox
	tx  *pgdb.Tx
}

func (c change) Add(ctx context.Context, topic, key string, env *eventv1.Envelope) error {
	return c.box.Add(ctx, c.tx, topic, key, env)
}

func (c change) Once(ctx context.Context, caller, key string, request []byte, do func() ([]byte, error)) ([]byte, error) {
	return c.box.Once(ctx, c.tx, caller, key, request, do)
}

// process is one of those that share a database.
type process struct {
	db  *pgdb.DB
	box *pgbox.Outbox
	now *atomic.Int64
}

// open opens a database as a process does, beside those that have it open already. It
// has a table of subjects with their revisions.
func open(t *testing.T, url string) process {
	t.Helper()
	schema, err := pgbox.Schema()
	if err != nil {
		t.Fatal(err)
	}
	own := pgdb.Module{Name: "own", Migrations: fstest.MapFS{"00001_subjects.sql": {
		Data: []byte("-- +goose Up\nCREATE TABLE subjects (id text PRIMARY KEY, revision bigint NOT NULL);\n"),
	}}}
	s := pgdb.Schema{Name: "boxes", Modules: []pgdb.Module{schema, own}}
	c := pgdb.Config{URL: url, StatementTimeout: 10 * time.Second}
	if err := pgdb.Migrate(t.Context(), c, s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	p := process{now: new(atomic.Int64)}
	p.now.Store(1_700_000_000)
	p.db, err = pgdb.Open(t.Context(), c, s, pgdb.Options{Now: func() time.Time { return time.Unix(p.now.Load(), 0) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.db.Close() })
	p.box = pgbox.New(p.db, event.OwnerUpload)
	return p
}

func (p process) opened() outboxtest.Opened {
	return outboxtest.Opened{
		Source: p.box,
		Write: func(ctx context.Context, fn func(outboxtest.Tx) error) error {
			return p.db.Write(ctx, func(tx *pgdb.Tx) error { return fn(change{p.box, tx}) })
		},
		Advance: func(d time.Duration) { p.now.Add(int64(d / time.Second)) },
		Replies: func(ctx context.Context) (n int, err error) {
			err = p.db.Read(ctx, func(q pgdb.Queryer) error { return q.QueryRow(ctx, `SELECT count(*) FROM idempotency`).Scan(&n) })
			return n, err
		},
	}
}

// bump raises the revision of a subject by one, with the event of that.
func (p process) bump(ctx context.Context, subject string) error {
	return p.db.Write(ctx, func(tx *pgdb.Tx) error {
		var rev int
		err := tx.QueryRow(ctx, `INSERT INTO subjects VALUES ($1, 1) ON CONFLICT (id) DO UPDATE SET revision = subjects.revision + 1
			RETURNING revision`, subject).Scan(&rev)
		if err != nil {
			return err
		}
		return p.box.Add(ctx, tx, event.Upload, subject, outboxtest.Envelope(subject, rev))
	})
}

// published collects what relays of several processes publish and checks the order.
type published struct {
	event.Log
	mu   sync.Mutex
	last map[string]uint64
	all  int
	errs []error
}

func (p *published) Append(_ context.Context, recs ...event.Record) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range recs {
		e, err := event.Unmarshal(r.Value)
		if err != nil {
			return err
		}
		p.all++
		if e.GetRevision() != p.last[e.GetSubject()]+1 {
			p.errs = append(p.errs, fmt.Errorf("%s at %d follows %d", e.GetSubject(), e.GetRevision(), p.last[e.GetSubject()]))
		}
		p.last[e.GetSubject()] = e.GetRevision()
	}
	return nil
}

// oneSubject: writers and relays of three processes, all on the same few subjects.
func oneSubject(t *testing.T, url string) {
	const writers, each, subjects = 6, 60, 3
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := &published{last: map[string]uint64{}}
	var processes []process
	relays, relaying := errgroup.WithContext(ctx)
	relaying, stop := context.WithCancel(relaying)
	defer stop()
	for range 3 {
		p := open(t, url)
		processes = append(processes, p)
		relays.Go(func() error { return outbox.NewRelay(p.box, log, slog.New(slog.DiscardHandler)).Run(relaying) })
	}
	wrote, writing := errgroup.WithContext(ctx)
	for i := range writers {
		wrote.Go(func() error {
			for n := range each {
				if err := processes[i%3].bump(writing, fmt.Sprint("upload:", n%subjects)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := wrote.Wait(); err != nil {
		t.Fatal(err)
	}
	waitEmpty(ctx, t, processes[0])
	stop()
	if err := relays.Wait(); err != nil {
		t.Error(err)
	}
	for _, err := range log.errs {
		t.Error(err)
	}
	if log.all != writers*each {
		t.Errorf("%d events published of %d", log.all, writers*each)
	}
}

func waitEmpty(ctx context.Context, t *testing.T, p process) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := p.box.Pending(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		<-tick.C
	}
}

// oneAtATime: while one process publishes, another is told to come again.
func oneAtATime(t *testing.T, url string) {
	a, b := open(t, url), open(t, url)
	if err := a.bump(t.Context(), "upload:1"); err != nil {
		t.Fatal(err)
	}
	taken, err := a.box.Take(t.Context(), 10, func(ctx context.Context, _ outbox.Batch) error {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("a turn has no end")
		}
		inner, err := b.box.Take(t.Context(), 10, func(context.Context, outbox.Batch) error {
			t.Error("two publish at a time")
			return nil
		})
		if err != nil || inner.Events != 0 || inner.Again <= 0 {
			t.Errorf("the other: %+v, %v", inner, err)
		}
		return nil
	})
	if err != nil || taken.Events != 1 {
		t.Errorf("%+v, %v", taken, err)
	}
}

// openTransaction: what an older transaction may still come before is not published, and
// is as soon as that has ended.
func openTransaction(t *testing.T, url string) {
	p := open(t, url)
	none := func(context.Context, outbox.Batch) error {
		t.Error("published before an older transaction has ended")
		return nil
	}
	err := p.db.Write(t.Context(), func(tx *pgdb.Tx) error { // has its number from here on
		if err := p.bump(t.Context(), "upload:2"); err != nil {
			return err
		}
		taken, err := p.box.Take(t.Context(), 10, none)
		if err != nil || taken.Events != 0 || taken.Again <= 0 {
			t.Errorf("%+v, %v", taken, err)
		}
		return p.box.Add(t.Context(), tx, event.Upload, "upload:1", outboxtest.Envelope("upload:1", 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	taken, err := p.box.Take(t.Context(), 10, func(context.Context, outbox.Batch) error { return nil })
	if err != nil || taken.Events != 2 {
		t.Errorf("%+v, %v", taken, err)
	}
}

// leftBehind: what a process committed and did not live to publish, another one does
// without being woken.
func leftBehind(t *testing.T, url string) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	a, b := open(t, url), open(t, url)
	log, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = log.Close() })
	done := make(chan error, 1)
	run, stop := context.WithCancel(ctx)
	go func() { done <- outbox.NewRelay(b.box, log, slog.New(slog.DiscardHandler)).Run(run) }()
	if err := a.bump(ctx, "upload:1"); err != nil {
		t.Fatal(err)
	}
	for _, err := range log.Read(ctx, event.Upload, 0, 0, true) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// closed: a relay whose database was closed ends, and says so.
func closed(t *testing.T, url string) {
	p := open(t, url)
	if err := p.db.Close(); err != nil {
		t.Fatal(err)
	}
	relay := outbox.NewRelay(p.box, &published{}, slog.New(slog.DiscardHandler))
	if err := relay.Run(t.Context()); !errors.Is(err, outbox.ErrClosed) {
		t.Errorf("run: %v, want ErrClosed", err)
	}
}
