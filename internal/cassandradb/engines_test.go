//go:build engines

package cassandradb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pause"
	"github.com/segue-music/segue/internal/testengine"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func counters(files ...string) Schema {
	all := fstest.MapFS{}
	for i, f := range files {
		all[fmt.Sprintf("%05d_a.cql", i+1)] = &fstest.MapFile{Data: []byte(f)}
	}
	return Schema{Name: "counters", Modules: []Module{{Name: "own", Migrations: all}}}
}

const (
	tableCounter = "-- A comment; with a semicolon.\nCREATE TABLE IF NOT EXISTS counter (\n    id text PRIMARY KEY, -- and one here;)\n    n bigint,\n    writer text\n);\n"
	tableOther   = "CREATE TABLE IF NOT EXISTS other (id text PRIMARY KEY);\n\nALTER TABLE counter ADD IF NOT EXISTS more text;\n"
)

func TestCassandra(t *testing.T) {
	node := testengine.Cassandra(t)
	config := Config{Hosts: node.Host, Keyspace: "t", Datacenter: "datacenter1", Replication: "datacenter1:1", Timeout: 20 * time.Second}
	t.Run("migrate", func(t *testing.T) { migrateTogether(t, config) })
	t.Run("statements", func(t *testing.T) { statements(t, config) })
	t.Run("clocks", func(t *testing.T) { clocks(t, config) })
	t.Run("paused", func(t *testing.T) { paused(t, node, config) })
}

// migrateTogether: a keyspace that is not there, several migrations at once, one of a
// newer and of an older program.
func migrateTogether(t *testing.T, config Config) {
	ctx := t.Context()
	one, two := counters(tableCounter), counters(tableCounter, tableOther)
	if _, err := Open(ctx, config, one, Options{}); !errors.Is(err, ErrSchema) || strings.Contains(err.Error(), "\n") {
		t.Errorf("no keyspace: %v", err)
	}
	var g errgroup.Group
	for range 4 {
		g.Go(func() error { return Migrate(ctx, config, one, quiet()) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, config, two, Options{}); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "version 1, this program works with 2: run segue -target=migrate") {
		t.Errorf("an older schema: %v", err)
	}
	for range 2 {
		if err := Migrate(ctx, config, two, quiet()); err != nil {
			t.Fatal(err)
		}
	}
	db, err := Open(ctx, config, two, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	if err := db.Exec(ctx, `INSERT INTO other (id) VALUES ('a')`); err != nil {
		t.Errorf("the second migration did nothing: %v", err)
	}
	if _, err := Open(ctx, config, one, Options{}); !errors.Is(err, ErrSchema) {
		t.Errorf("a newer schema: %v", err)
	}
	if err := Migrate(ctx, config, one, quiet()); !errors.Is(err, ErrSchema) {
		t.Errorf("migration of a newer schema: %v", err)
	}
	// Who died with the lease keeps the others waiting until it ends, and not for ever.
	if err := db.Exec(ctx, `INSERT INTO schema_lease (name, holder) VALUES ('migrate', 'a dead process') USING TTL 2`); err != nil {
		t.Fatal(err)
	}
	if err := Migrate(ctx, config, two, quiet()); err != nil {
		t.Errorf("after a death: %v", err)
	}
}

func statements(t *testing.T, config Config) {
	ctx, reg := t.Context(), prometheus.NewRegistry()
	db, err := Open(ctx, config, counters(tableCounter, tableOther), Options{Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(ctx, `INSERT INTO nowhere (id) VALUES ('a')`); err == nil || errors.Is(err, errAway) {
		t.Errorf("a statement that is wrong: %v", err)
	}
	var n int64
	if found, err := db.Get(ctx, `SELECT n FROM counter WHERE id = ?`, []any{"none"}, &n); found || err != nil {
		t.Errorf("a row that is not there: %t, %v", found, err)
	}
	for i := range pageRows + 10 {
		if err := db.Exec(ctx, `INSERT INTO counter (id, n) VALUES (?, ?)`, fmt.Sprint(i), i); err != nil {
			t.Fatal(err)
		}
	}
	rows := 0
	err = db.Each(ctx, `SELECT n FROM counter`, nil, []any{&n}, func() (bool, error) { rows++; return true, nil })
	if err != nil || rows != pageRows+10 {
		t.Errorf("%d rows, %v", rows, err)
	}
	stop := errors.New("stop")
	if err := db.Each(ctx, `SELECT n FROM counter`, nil, []any{&n}, func() (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("an error of a row: %v", err)
	}
	if got, err := testutil.GatherAndCount(reg, "segue_cassandra_seconds", "segue_cassandra_failures_total"); err != nil || got != 6 {
		t.Errorf("%d figures, %v", got, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	if err := db.Ping(ctx); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	again, err := Open(ctx, config, counters(tableCounter, tableOther), Options{Metrics: reg})
	if err != nil {
		t.Fatalf("the figures of the first are still there: %v", err)
	}
	_ = again.Close()
}

// clocks: a plain write of a client whose clock is behind is lost without a word; ours
// bring no time of this process's clock, and conditional ones have that of the ballot.
func clocks(t *testing.T, config Config) {
	ctx := t.Context()
	db, err := Open(ctx, config, counters(tableCounter, tableOther), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put := func(n int64, at time.Time) {
		t.Helper()
		if err := db.session.Query(`UPDATE counter SET n = ? WHERE id = 'clock'`, n).WithTimestamp(at.UnixMicro()).ExecContext(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var n int64
	read := func() int64 {
		if _, err := db.Get(ctx, `SELECT n FROM counter WHERE id = 'clock'`, nil, &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(1, time.Now())
	put(2, time.Now().Add(-time.Hour))
	if read() != 1 {
		t.Error("this ring takes the last write, whatever its time: the rule about plain writes is void")
	}
	for want := int64(3); want < 6; want++ {
		add := Statement{CQL: `UPDATE counter SET n = ? WHERE id = 'clock' IF n = ?`, Args: []any{want, read()}}
		if made, err := db.conditional(ctx, []Statement{add}); err != nil || !made || read() != want {
			t.Errorf("conditional write of %d: %t, %v, and then %d", want, made, err, n)
		}
	}
	cluster, err := config.cluster("t_counters")
	if err != nil || cluster.DefaultTimestamp {
		t.Errorf("writes bring this process's time: %v", err)
	}
}

// TestRing breaks a ring of three under writers that count one row up: each number is
// made once, whatever was not answered.
func TestRing(t *testing.T) {
	nodes := testengine.CassandraRing(t, 3)
	config := Config{
		Hosts: nodes[0].Host + "," + nodes[1].Host + "," + nodes[2].Host, Keyspace: "t", Datacenter: "datacenter1",
		Replication: "datacenter1:3", Timeout: 7 * time.Second,
	}
	if err := Migrate(t.Context(), config, counters(tableCounter), quiet()); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), config, counters(tableCounter), Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var made, unknown, away atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			for ctx.Err() == nil {
				ok, err := countUp(ctx, db)
				switch {
				case errors.Is(err, ErrUnknown):
					unknown.Add(1)
				case err != nil && ctx.Err() == nil && !errors.Is(err, errAway):
					return err
				case err != nil:
					away.Add(1)
				case ok:
					made.Add(1)
				}
			}
			return nil
		})
	}
	progress := func(what string) {
		t.Helper()
		from, tick, limit := made.Load(), time.NewTicker(50*time.Millisecond), time.After(2*time.Minute)
		defer tick.Stop()
		for made.Load() < from+20 {
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("%s: nothing goes on: %d made, %d unknown, %d away", what, made.Load(), unknown.Load(), away.Load())
			}
		}
		t.Logf("%s: %d made, %d unknown, %d refused or late", what, made.Load(), unknown.Load(), away.Load())
	}
	progress("at first")
	if err := nodes[2].Pause(); err != nil {
		t.Fatal(err)
	}
	progress("one node is paused")
	slowest := time.Duration(0)
	for range 50 {
		var n int64
		began := time.Now()
		if _, err := db.Get(t.Context(), `SELECT n FROM counter WHERE id = 'one'`, nil, &n); err != nil {
			t.Errorf("read while one node is paused: %v", err)
		}
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("the slowest of 50 reads beside it took %v", slowest)
	if slowest > 3*time.Second {
		t.Errorf("a read waits %v for a node that stands still", slowest)
	}
	if err := nodes[2].Resume(); err != nil {
		t.Fatal(err)
	}
	nodes[1].Crash()
	progress("another has crashed")
	// Now two of three are needed and one is paused for a moment: nothing can be made.
	if err := nodes[2].Pause(); err != nil {
		t.Fatal(err)
	}
	lost := unknown.Load() + away.Load()
	for tick := time.NewTicker(50 * time.Millisecond); unknown.Load()+away.Load() == lost; <-tick.C {
		if t.Context().Err() != nil {
			t.Fatal("a ring without a quorum is used as if nothing were")
		}
	}
	if err := nodes[2].Resume(); err != nil {
		t.Fatal(err)
	}
	progress("a quorum again")
	if err := nodes[1].Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	progress("all again")
	cancel()
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	var n int64
	if _, err := db.GetSerial(t.Context(), `SELECT n FROM counter WHERE id = 'one'`, nil, &n); err != nil {
		t.Fatal(err)
	}
	if low, high := made.Load(), made.Load()+unknown.Load(); n < low || n > high {
		t.Errorf("the row is at %d after %d changes and %d of unknown outcome", n, low, unknown.Load())
	}
}

// paused: a ring that stands still is waited for once; after that reads and writes fail at
// once, and go on by themselves when it does.
func paused(t *testing.T, node *testengine.CassandraNode, config Config) {
	config.Timeout, config.Keyspace = 2*time.Second, "p"
	if err := Migrate(t.Context(), config, counters(tableCounter), quiet()); err != nil {
		t.Fatal(err)
	}
	db, err := Open(t.Context(), config, counters(tableCounter), Options{Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	read := func() error {
		var n int64
		_, err := db.Get(t.Context(), `SELECT n FROM counter WHERE id = 'paused'`, nil, &n)
		return err
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = node.Resume() }()
	var first errgroup.Group
	for range 2 * stallFails {
		first.Go(func() error {
			if err := read(); fault.KindOf(err) != fault.Unavailable {
				return fmt.Errorf("of a ring that is paused: %w", err)
			}
			return nil
		})
	}
	began := time.Now()
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("they fail after %v", took)
	}
	var waits []time.Duration
	for range 40 {
		began := time.Now()
		_, err := db.Decide(t.Context(), []Statement{{CQL: `UPDATE counter SET n = 1 WHERE id = 'paused' IF n = null`}}, nil)
		if waits = append(waits, time.Since(began)); fault.KindOf(err) != fault.Unavailable || errors.Is(err, ErrUnknown) {
			t.Fatalf("a write of a ring that is paused: %v", err)
		}
		if err := read(); fault.KindOf(err) != fault.Unavailable {
			t.Fatalf("of a ring that is paused: %v", err)
		}
		if slices.Max(waits) > time.Second {
			t.Fatalf("a write waits %v", slices.Max(waits))
		}
	}
	if err := node.Resume(); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	for limit := time.After(20 * time.Second); read() != nil; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-limit:
			t.Fatal("it does not go on")
		}
	}
	t.Logf("reads again %v after the ring", time.Since(began))
}

// countUp tries to make the next number, as an entity's version is made.
func countUp(ctx context.Context, db *DB) (made bool, err error) {
	var n int64
	if _, err := db.Get(ctx, `SELECT n FROM counter WHERE id = 'one'`, nil, &n); err != nil {
		return false, err
	}
	token := uuid.NewString()
	add := Statement{CQL: `UPDATE counter SET n = ?, writer = ? WHERE id = 'one' IF n = ?`, Args: []any{n + 1, token, n}}
	if n == 0 {
		add.Args[2] = nil
	}
	made, err = db.Decide(ctx, []Statement{add}, func(ctx context.Context) (Verdict, error) {
		var now int64
		var writer string
		_, err := db.GetSerial(ctx, `SELECT n, writer FROM counter WHERE id = 'one'`, nil, &now, &writer)
		switch {
		case err != nil || now <= n:
			return Undecided, err
		case writer == token:
			return Applied, nil
		case now == n+1:
			return Refused, nil
		}
		return Undecided, ErrUnknown // another has written over the token
	})
	if err == nil && !made {
		pause.About(ctx, time.Millisecond+rand.N(20*time.Millisecond))
	}
	return made, err
}
