//go:build engines

package pgdb_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/test/deploy"
)

// TestPostgreSQL runs everything that needs the real server on one.
func TestPostgreSQL(t *testing.T) {
	pg := testengine.PostgreSQL(t)
	for name, test := range map[string]func(t *testing.T, url string){
		"migrate":      migrate,
		"versions":     versions,
		"rollback":     rollback,
		"collisions":   collisions,
		"kicked_out":   kickedOut,
		"commit_lost":  commitLost,
		"odd_text":     oddText,
		"closed":       closed,
		"metrics":      metrics,
		"read_own":     readOwn,
		"turn":         turn,
		"out_of_conns": outOfConns,
	} {
		t.Run(name, func(t *testing.T) { test(t, pg.Database(t)) })
	}
	t.Run("unreachable", unreachable)
}

func config(url string) pgdb.Config {
	return pgdb.Config{URL: url, Conns: 8, StatementTimeout: 10 * time.Second}
}

func schema(files ...string) pgdb.Schema {
	m := fstest.MapFS{}
	for i, f := range files {
		m[fmt.Sprintf("%05d_x.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + f + "\n")}
	}
	return pgdb.Schema{Name: "test", Modules: []pgdb.Module{{Name: "own", Migrations: m}}}
}

const table = `CREATE TABLE t (id text PRIMARY KEY, n bigint NOT NULL);`

var discard = slog.New(slog.DiscardHandler)

func open(t *testing.T, url string) *pgdb.DB {
	t.Helper()
	if err := pgdb.Migrate(t.Context(), config(url), schema(table), discard); err != nil {
		t.Fatal(err)
	}
	db, err := pgdb.Open(t.Context(), config(url), schema(table), pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func set(ctx context.Context, db *pgdb.DB, id string, n int) error {
	return db.Write(ctx, func(tx *pgdb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO t VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET n = excluded.n`, id, n)
		return err
	})
}

func get(t *testing.T, db *pgdb.DB, id string) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(q pgdb.Queryer) error {
		err := q.QueryRow(t.Context(), `SELECT n FROM t WHERE id = $1`, id).Scan(&n)
		if pgdb.IsNone(err) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// migrate: several at once, one works and all find it done.
func migrate(t *testing.T, url string) {
	var g errgroup.Group
	for range 4 {
		g.Go(func() error {
			return pgdb.Migrate(t.Context(), config(url), schema(table, `INSERT INTO t VALUES ('a', 1);`), discard)
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	db, err := pgdb.Open(t.Context(), config(url), schema(table, `SELECT 1;`), pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n := get(t, db, "a"); n != 1 {
		t.Errorf("migrated to %d", n)
	}
}

// versions: who serves another schema than it knows says so in one line, and changes
// nothing.
func versions(t *testing.T, url string) {
	refused := func(s pgdb.Schema, says ...string) {
		t.Helper()
		db, err := pgdb.Open(t.Context(), config(url), s, pgdb.Options{})
		if err == nil {
			_ = db.Close()
		}
		if !errors.Is(err, pgdb.ErrSchema) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("open: %v, want ErrSchema in one line", err)
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("open: %v, want %q in it", err, s)
			}
		}
	}
	refused(schema(table), "segue_test.own has version 0", "works with 1", "-target=migrate")
	if err := pgdb.Migrate(t.Context(), config(url), schema(table), discard); err != nil {
		t.Fatal(err)
	}
	refused(schema(table, `SELECT 1;`), "has version 1", "works with 2", "-target=migrate")
	if err := pgdb.Migrate(t.Context(), config(url), schema(table, `SELECT 1;`), discard); err != nil {
		t.Fatal(err)
	}
	refused(schema(table), "has version 2", "works with 1", "newer")
	if err := pgdb.Migrate(t.Context(), config(url), schema(table), discard); !errors.Is(err, pgdb.ErrSchema) {
		t.Errorf("migrate a newer schema: %v, want ErrSchema", err)
	}
	// A migration that fails leaves the version before it.
	if err := pgdb.Migrate(t.Context(), config(url), schema(table, `SELECT 1;`, `CREATE TABLE u (); SELECT nonsense;`), discard); err == nil {
		t.Error("a migration with a fault is done")
	}
	db, err := pgdb.Open(t.Context(), config(url), schema(table, `SELECT 1;`), pgdb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
}

func unreachable(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	// With sslmode=prefer it is tried twice, with TLS and without.
	db, err := pgdb.Open(t.Context(), config("postgres://segue@"+addr+"/music?sslmode=prefer"), schema(table), pgdb.Options{})
	if err == nil {
		_ = db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), addr) || strings.Contains(err.Error(), "\n") {
		t.Errorf("open: %q, want one line that names %s", err, addr)
	}
}

// rollback: what fails has no effect, in any way to fail.
func rollback(t *testing.T, url string) {
	db, boom, hooks := open(t, url), errors.New("boom"), 0
	insert := func(tx *pgdb.Tx) error {
		tx.OnCommit(func() { hooks++ })
		_, err := tx.Exec(t.Context(), `INSERT INTO t VALUES ('a', 1)`)
		return err
	}
	if err := db.Write(t.Context(), func(tx *pgdb.Tx) error { return errors.Join(insert(tx), boom) }); !errors.Is(err, boom) {
		t.Errorf("write: %v", err)
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.Write(t.Context(), func(tx *pgdb.Tx) error { panic(insert(tx)) })
	}()
	err := db.Write(t.Context(), func(tx *pgdb.Tx) error {
		err := insert(tx)
		_, _ = tx.Exec(t.Context(), `SELECT nonsense`) // nobody looks
		return err
	})
	if err == nil {
		t.Error("a failed transaction was committed")
	}
	err = db.Write(t.Context(), func(tx *pgdb.Tx) error {
		err := insert(tx)
		_, _ = tx.Exec(t.Context(), `commit`)
		return err
	})
	if !errors.Is(err, pgdb.ErrStatement) {
		t.Errorf("commit within: %v, want ErrStatement", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = db.Write(ctx, func(tx *pgdb.Tx) error {
		err := insert(tx)
		cancel()
		_, err2 := tx.Exec(ctx, `SELECT 1`)
		return errors.Join(err, err2)
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	var kept *pgdb.Tx
	if err := db.Write(t.Context(), func(tx *pgdb.Tx) error { kept = tx; return nil }); err != nil {
		t.Error(err)
	}
	if _, err := kept.Exec(t.Context(), `SELECT 1`); !errors.Is(err, pgdb.ErrTxDone) {
		t.Errorf("a kept transaction: %v", err)
	}
	if n := get(t, db, "a"); n != 0 || hooks != 0 {
		t.Errorf("stored %d, %d hooks ran", n, hooks)
	}
	if err := db.Write(t.Context(), insert); err != nil || get(t, db, "a") != 1 || hooks != 1 {
		t.Errorf("the sound one: %v, %d hooks ran", err, hooks)
	}
}

// collisions: transactions that lock in opposite orders all come through, each once.
func collisions(t *testing.T, url string) {
	db := open(t, url)
	for _, id := range []string{"a", "b"} {
		if err := set(t.Context(), db, id, 0); err != nil {
			t.Fatal(err)
		}
	}
	var g errgroup.Group
	tries := make(chan struct{}, 1000)
	for i := range 4 {
		g.Go(func() error {
			first, second := "a", "b"
			if i%2 == 1 {
				first, second = second, first
			}
			return db.Write(t.Context(), func(tx *pgdb.Tx) error {
				tries <- struct{}{}
				_, err := tx.Exec(t.Context(), `UPDATE t SET n = n + 1 WHERE id = $1`, first)
				if err == nil {
					_, err = tx.Exec(t.Context(), `SELECT pg_sleep(0.05)`)
				}
				if err == nil {
					_, err = tx.Exec(t.Context(), `UPDATE t SET n = n + 1 WHERE id = $1`, second)
				}
				return err
			})
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if a, b := get(t, db, "a"), get(t, db, "b"); a != 4 || b != 4 || len(tries) == 4 {
		t.Errorf("%d and %d after 4 changes in %d tries", a, b, len(tries))
	}
}

// kickedOut: the connection ends below a transaction, which is done again, once.
func kickedOut(t *testing.T, url string) {
	db := open(t, url)
	runs := 0
	err := db.Write(t.Context(), func(tx *pgdb.Tx) error {
		if _, err := tx.Exec(t.Context(), `INSERT INTO t VALUES ('a', 1)`); err != nil {
			return err
		}
		if runs++; runs == 1 {
			return endMine(t, tx)
		}
		return nil
	})
	if err != nil || runs != 2 || get(t, db, "a") != 1 {
		t.Errorf("%v after %d runs", err, runs)
	}
	runs = 0
	err = db.Read(t.Context(), func(q pgdb.Queryer) error {
		if runs++; runs == 1 {
			return endMine(t, q)
		}
		return nil
	})
	if err != nil || runs != 2 {
		t.Errorf("read: %v after %d runs", err, runs)
	}
}

func endMine(t *testing.T, q pgdb.Queryer) error {
	var ended bool
	return q.QueryRow(t.Context(), `SELECT pg_terminate_backend(pg_backend_pid())`).Scan(&ended)
}

// commitLost: the answer to a commit is lost, whether before or after the server did it.
func commitLost(t *testing.T, url string) {
	direct := open(t, url)
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	for name, side := range map[string]side{"on_the_way_there": there, "on_the_way_back": back} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)))
			c := config(strings.Replace(url, fmt.Sprintf("%s:%d", cfg.Host, cfg.Port), p.addr, 1))
			db, err := pgdb.Open(t.Context(), c, schema(table), pgdb.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			runs := 0
			err = db.Write(t.Context(), func(tx *pgdb.Tx) error {
				if runs++; runs == 1 {
					p.cutAtCommit(side)
				}
				_, err := tx.Exec(t.Context(), `INSERT INTO t VALUES ($1, 1)`, name)
				return err
			})
			want := 1
			if side == there {
				want = 2
			}
			if err != nil || runs != want || get(t, direct, name) != 1 {
				t.Errorf("%v after %d runs, want %d", err, runs, want)
			}
			if p.cuts() != 1 {
				t.Errorf("%d connections were cut: the check shows nothing", p.cuts())
			}
		})
	}
}

func oddText(t *testing.T, url string) {
	db := open(t, url)
	for _, id := range []string{"\xff", "a\x00b"} {
		if err := set(t.Context(), db, id, 1); fault.KindOf(err) != fault.Invalid {
			t.Errorf("write %q: %v", id, err)
		}
		if n := get(t, db, id); n != 0 {
			t.Errorf("read %q: %d", id, n)
		}
	}
}

func closed(t *testing.T, url string) {
	db := open(t, url)
	_ = db.Close()
	none := func(context.Context, *pgdb.Tx) error { return nil }
	for what, err := range map[string]error{
		"write": set(t.Context(), db, "a", 1), "read": db.Read(t.Context(), func(pgdb.Queryer) error { return nil }),
		"ping": db.Ping(t.Context()), "turn": db.Turn(t.Context(), pgdb.LockOutbox, time.Second, none),
	} {
		if !errors.Is(err, pgdb.ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", what, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func metrics(t *testing.T, url string) {
	reg := prometheus.NewRegistry()
	_ = open(t, url)
	for range 2 { // again after Close
		db, err := pgdb.Open(t.Context(), config(url), schema(table), pgdb.Options{Metrics: reg})
		if err != nil {
			t.Fatal(err)
		}
		boom := errors.New("boom")
		if err := errors.Join(set(t.Context(), db, "a", 1), db.Write(t.Context(), func(*pgdb.Tx) error { return boom })); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			m := f.GetMetric()[0]
			got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			if l := m.GetLabel(); len(l) != 1 || l[0].GetValue() != "test" {
				t.Errorf("%s has labels %v", f.GetName(), l)
			}
		}
		if got["segue_postgres_writes_total"] != 1 || got["segue_postgres_failed_writes_total"] != 1 ||
			got["segue_postgres_write_seconds"] != 2 || got["segue_postgres_max_connections"] != 8 || got["segue_postgres_connections"] < 1 {
			t.Errorf("%v", got)
		}
		for _, name := range deploy.Postgres() {
			if _, ok := got[name]; !ok {
				t.Errorf("there is no %s, which the dashboard or an alert asks for", name)
			}
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		_ = db.Close()
	}
}

// readOwn: whatever connection reads, it sees what was acknowledged before.
func readOwn(t *testing.T, url string) {
	db, other := open(t, url), open(t, url)
	for n := range 100 {
		if err := set(t.Context(), db, "a", n); err != nil {
			t.Fatal(err)
		}
		if a, b := get(t, db, "a"), get(t, other, "a"); a != n || b != n {
			t.Fatalf("read %d and %d after %d was stored", a, b, n)
		}
	}
}

func turn(t *testing.T, url string) {
	a, b := open(t, url), open(t, url)
	none := func(context.Context, *pgdb.Tx) error { t.Error("two have the turn"); return nil }
	err := a.Turn(t.Context(), pgdb.LockOutbox, time.Second, func(ctx context.Context, tx *pgdb.Tx) error {
		if err := b.Turn(ctx, pgdb.LockOutbox, 20*time.Millisecond, none); !errors.Is(err, pgdb.ErrBusy) {
			t.Errorf("the other: %v, want ErrBusy", err)
		}
		var number *string
		if err := tx.QueryRow(ctx, `SELECT pg_current_xact_id_if_assigned()::text`).Scan(&number); err != nil || number != nil {
			t.Errorf("a turn that wrote nothing has a number: %v", err)
		}
		return endMine(t, tx) // and so loses it
	})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a lost turn: %v", err)
	}
	taken := false
	if err := b.Turn(t.Context(), pgdb.LockOutbox, time.Second, func(context.Context, *pgdb.Tx) error { taken = true; return nil }); err != nil || !taken {
		t.Errorf("after that: %v", err)
	}
}

// outOfConns: more callers than connections wait for each other and all come through.
func outOfConns(t *testing.T, url string) {
	db := open(t, url)
	var g errgroup.Group
	for i := range 100 {
		g.Go(func() error { return set(t.Context(), db, fmt.Sprint(i), i) })
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
