package sqlitedb_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/segue-music/segue/internal/sqlitedb"
)

// A statement that is kept must give fresh answers, also to a query that runs while rows
// of the same one are open, after an error, after a change of the schema and on many
// connections at once.
func TestStatements(t *testing.T) {
	db, err := sqlitedb.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"), sqlitedb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	exec := func(query string, args ...any) error {
		return db.Write(t.Context(), func(tx *sqlitedb.Tx) error {
			_, err := tx.ExecContext(t.Context(), query, args...)
			return err
		})
	}
	if err := exec(`CREATE TABLE t (n INTEGER PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	for n := range 5 {
		if err := exec(`INSERT INTO t (n) VALUES (?)`, n); err != nil {
			t.Fatal(err)
		}
		if err := exec(`INSERT INTO t (n) VALUES (?)`, n); !sqlitedb.IsUnique(err) {
			t.Fatalf("the second %d: %v", n, err)
		}
	}
	count := `SELECT count(*) FROM t WHERE n >= ?`
	err = db.Write(t.Context(), func(tx *sqlitedb.Tx) error {
		const list = `SELECT n FROM t WHERE n >= ? ORDER BY n`
		rows, err := tx.QueryContext(t.Context(), list, 0)
		if err != nil {
			return err
		}
		defer rows.Close()
		for want := 0; rows.Next(); want++ {
			var n, first int
			if err := rows.Scan(&n); err != nil {
				return err
			}
			if err := tx.QueryRowContext(t.Context(), list, n).Scan(&first); err != nil {
				return err
			}
			if n != want || first != n {
				return fmt.Errorf("row %d is %d, and %d by the query inside", want, n, first)
			}
		}
		return rows.Err()
	})
	if err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				var n int
				if err := db.Reader().QueryRowContext(ctx, count, i%5).Scan(&n); err != nil || n != 5-i%5 {
					t.Errorf("%d of %d: %v", n, 5-i%5, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if err := exec(`ALTER TABLE t ADD COLUMN text TEXT NOT NULL DEFAULT 'x'`); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.Reader().QueryRowContext(t.Context(), count, 1).Scan(&n); err != nil || n != 4 {
		t.Errorf("after a change of the schema: %d, %v", n, err)
	}
	// More texts than are kept.
	for i := range 300 {
		var got int
		if err := db.Reader().QueryRowContext(t.Context(), fmt.Sprintf(`SELECT %d`, i)).Scan(&got); err != nil || got != i {
			t.Errorf("SELECT %d: %d, %v", i, got, err)
		}
	}
}
