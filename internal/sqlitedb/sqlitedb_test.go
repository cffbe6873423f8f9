package sqlitedb_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/segue-music/segue/internal/sqlitedb"
)

const schema = `-- +goose Up
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE part (item INTEGER NOT NULL REFERENCES item (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE strict_part (item INTEGER NOT NULL REFERENCES item (id));
`

func files(sqls ...string) fstest.MapFS {
	m := fstest.MapFS{}
	for i, s := range sqls {
		m[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte(s)}
	}
	return m
}

func open(t *testing.T, path string) *sqlitedb.DB {
	t.Helper()
	db, err := sqlitedb.Open(t.Context(), path, sqlitedb.Options{Migrations: files(schema)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func insert(ctx context.Context, name string) func(*sqlitedb.Tx) error {
	return func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO item (name) VALUES (?)`, name)
		return err
	}
}

func count(t *testing.T, db *sqlitedb.DB) (n int) {
	t.Helper()
	err := db.Read(t.Context(), func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT count(*) FROM item`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestOpen_Pragmas(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "with space?#.db"))
	for name, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000", "query_only": "1"} {
		var got string
		if err := db.Reader().QueryRowContext(t.Context(), "PRAGMA "+name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := db.Reader().ExecContext(t.Context(), `INSERT INTO item (name) VALUES ('x')`); !sqlitedb.IsReadOnly(err) {
		t.Errorf("write through a reader: %v", err)
	}
}

func TestOpen_NewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	opt := sqlitedb.Options{Migrations: files(schema, "-- +goose Up\nCREATE TABLE later (x);\n")}
	db, err := sqlitedb.Open(t.Context(), path, opt)
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlitedb.Open(t.Context(), path, sqlitedb.Options{Migrations: files(schema)}); !errors.Is(err, sqlitedb.ErrNewerSchema) {
		t.Errorf("open by an older program: %v", err)
	}
}

func TestWrite_Group(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	const n = 300
	errs := make([]error, n)
	var wg sync.WaitGroup
	// The first one holds the writer until all others wait, so that they form groups.
	begun, hold := make(chan struct{}), make(chan struct{})
	wg.Go(func() {
		errs[0] = db.Write(t.Context(), func(tx *sqlitedb.Tx) error {
			close(begun)
			<-hold
			return insert(t.Context(), "0")(tx)
		})
	})
	<-begun
	var waiting sync.WaitGroup
	for i := 1; i < n; i++ {
		waiting.Add(1)
		wg.Go(func() {
			waiting.Done()
			fn := insert(t.Context(), fmt.Sprint(i))
			if i%10 == 1 {
				fn = func(tx *sqlitedb.Tx) error {
					if err := insert(t.Context(), fmt.Sprintf("half %d", i))(tx); err != nil {
						return err
					}
					return insert(t.Context(), "0")(tx) // there already
				}
			}
			errs[i] = db.Write(t.Context(), fn)
		})
	}
	waiting.Wait()
	close(hold)
	wg.Wait()
	ok := 0
	for i, err := range errs {
		if i%10 == 1 {
			if !sqlitedb.IsUnique(err) {
				t.Errorf("write %d: %v, want a unique violation", i, err)
			}
			continue
		}
		ok++
		if err != nil {
			t.Errorf("write %d: %v", i, err)
		}
	}
	if got := count(t, db); got != ok {
		t.Errorf("%d rows, want %d", got, ok)
	}
	if s := db.Stats(); s.Commits >= s.Writes || s.Writes != uint64(ok) || s.Failed != uint64(n-ok) {
		t.Errorf("no grouping: %+v", s)
	}
}

func TestWrite_Fails(t *testing.T) {
	ctx := t.Context()
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	hooks := 0
	bad := map[string]func(tx *sqlitedb.Tx) error{
		"error": func(*sqlitedb.Tx) error { return errors.New("no") },
		"commit": func(tx *sqlitedb.Tx) error {
			_, _ = tx.ExecContext(ctx, " ;COMMIT")
			return nil
		},
		"foreign_key": func(tx *sqlitedb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO strict_part (item) VALUES (99)`)
			return err
		},
		"deferred_foreign_key": func(tx *sqlitedb.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO part (item) VALUES (99)`)
			return err
		},
	}
	for name, fn := range bad {
		t.Run(name, func(t *testing.T) {
			err := db.Write(ctx, func(tx *sqlitedb.Tx) error {
				tx.OnCommit(func() { hooks++ })
				return errors.Join(insert(ctx, name)(tx), fn(tx))
			})
			if err == nil || hooks != 0 || count(t, db) != 0 {
				t.Errorf("error %v, %d hooks, %d rows", err, hooks, count(t, db))
			}
			if strings.Contains(name, "foreign") && !sqlitedb.IsForeignKey(err) {
				t.Errorf("%v is no foreign key error", err)
			}
		})
	}
	t.Run("panic", func(t *testing.T) {
		defer func() {
			if recover() != "boom" || count(t, db) != 0 {
				t.Error("the panic does not reach its caller, or leaves a row")
			}
		}()
		_ = db.Write(ctx, func(tx *sqlitedb.Tx) error {
			if err := insert(ctx, "p")(tx); err != nil {
				return err
			}
			panic("boom")
		})
	})
	t.Run("cancelled_within", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		err := db.Write(ctx, func(tx *sqlitedb.Tx) error {
			if err := insert(ctx, "c")(tx); err != nil {
				return err
			}
			cancel()
			return insert(ctx, "d")(tx)
		})
		if !errors.Is(err, context.Canceled) || count(t, db) != 0 {
			t.Errorf("error %v, %d rows", err, count(t, db))
		}
	})
	t.Run("goroutine_ends", func(*testing.T) {
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = db.Write(ctx, func(*sqlitedb.Tx) error { runtime.Goexit(); return nil })
		})
		wg.Wait()
	})
	if err := db.Write(ctx, insert(ctx, "after")); err != nil || count(t, db) != 1 {
		t.Errorf("write after all that: %v, %d rows", err, count(t, db))
	}
}

func TestWrite_CancelledInQueue(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	begun, hold := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.Write(t.Context(), func(*sqlitedb.Tx) error { close(begun); <-hold; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(cancel)
	if err := db.Write(ctx, insert(t.Context(), "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while waiting: %v", err)
	}
	close(hold)
	wg.Wait()
	if n := count(t, db); n != 0 {
		t.Errorf("%d rows of a cancelled write", n)
	}
}

func TestLockDir(t *testing.T) {
	dir := t.TempDir()
	l, err := sqlitedb.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sqlitedb.LockDir(dir)
	if !errors.Is(err, sqlitedb.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second lock: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if l, err = sqlitedb.LockDir(dir); err != nil {
		t.Fatal(err)
	}
	_ = l.Unlock()
}

// TestKill kills a process of its own under writes and looks for what it acknowledged.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SEGUE_TEST_KILL_DIR"); dir != "" {
		writeForever(t, dir)
		return
	}
	for round := range 3 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "SEGUE_TEST_KILL_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		var acked []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if name, ok := strings.CutPrefix(lines.Text(), "acked "); ok {
				acked = append(acked, name)
			}
			if len(acked) == 200+100*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait() // killed
		if len(acked) < 200 {
			t.Fatalf("only %d writes acknowledged", len(acked))
		}
		db := open(t, filepath.Join(dir, "a.db"))
		for _, name := range acked {
			var n int
			if err := db.Reader().QueryRowContext(t.Context(), `SELECT count(*) FROM item WHERE name = ?`, name).Scan(&n); err != nil || n != 1 {
				t.Errorf("acknowledged %s: %d rows, %v", name, n, err)
			}
		}
	}
}

func writeForever(t *testing.T, dir string) {
	db := open(t, filepath.Join(dir, "a.db"))
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d", w, i)
				if err := db.Write(t.Context(), insert(t.Context(), name)); err != nil {
					t.Error(err)
					return
				}
				fmt.Printf("acked %s\n", name)
			}
		})
	}
	wg.Wait()
}

// TestMetrics: a write is measured, a ping answers, and a closed database leaves the
// registry to the next one of its name.
func TestMetrics(t *testing.T) {
	path, reg := filepath.Join(t.TempDir(), "shop.db"), prometheus.NewPedanticRegistry()
	for range 2 {
		db, err := sqlitedb.Open(t.Context(), path, sqlitedb.Options{Migrations: files(schema), Metrics: reg})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		err = db.Write(t.Context(), func(*sqlitedb.Tx) error { return errors.New("not so") })
		if err == nil {
			t.Error("an error was lost")
		}
		want := `# HELP segue_sqlite_failed_writes_total Changes that were rolled back, those refused by a rule included.
# TYPE segue_sqlite_failed_writes_total counter
segue_sqlite_failed_writes_total{db="shop"} 1
# HELP segue_sqlite_writes_total Changes that were committed.
# TYPE segue_sqlite_writes_total counter
segue_sqlite_writes_total{db="shop"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "segue_sqlite_failed_writes_total", "segue_sqlite_writes_total"); err != nil {
			t.Error(err)
		}
		all, err := reg.Gather()
		if err != nil || len(all) != 7 {
			t.Errorf("%d metrics, %v", len(all), err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err := db.Ping(t.Context()); err == nil {
			t.Error("a closed database answers")
		}
	}
	if all, _ := reg.Gather(); len(all) != 0 {
		t.Errorf("%d metrics of a closed database", len(all))
	}
}
