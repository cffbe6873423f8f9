package sqlitedb_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/segue-music/segue/internal/sqlitedb"
)

// TestStatements_SameText: a text may be in use twice at a time, its values must not stay
// from use to use, and a failure must not spoil the next use.
func TestStatements_SameText(t *testing.T) {
	ctx := t.Context()
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	const put, get = `INSERT INTO item (id, name) VALUES (?, ?)`, `SELECT id, name FROM item WHERE id >= ? ORDER BY id`
	err := db.Write(ctx, func(tx *sqlitedb.Tx) error {
		for i := range 5 {
			if _, err := tx.ExecContext(ctx, put, i, fmt.Sprint("n", i)); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, put, 1, "again"); !sqlitedb.IsUnique(err) {
			t.Errorf("a second item 1: %v", err)
		}
		_, err := tx.ExecContext(ctx, put, 5, "n5")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(ctx, func(tx *sql.Tx) error {
		var pairs string
		outer, err := tx.QueryContext(ctx, get, 2)
		if err != nil {
			return err
		}
		defer outer.Close()
		for outer.Next() {
			var id int
			var name string
			if err := outer.Scan(&id, &name); err != nil {
				return err
			}
			var first int
			if err := tx.QueryRowContext(ctx, get, id-2).Scan(&first, &name); err != nil {
				return err
			}
			pairs += fmt.Sprintf("%d-%d ", id, first)
		}
		if want := "2-0 3-1 4-2 5-3 "; pairs != want {
			t.Errorf("got %q, want %q", pairs, want)
		}
		return outer.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestStatements_Many: more texts than are kept, each of them twice.
func TestStatements_Many(t *testing.T) {
	ctx := t.Context()
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	for range 2 {
		for i := range 300 {
			var got int
			if err := db.Reader().QueryRowContext(ctx, fmt.Sprintf(`SELECT %d + ?`, i), 1).Scan(&got); err != nil || got != i+1 {
				t.Fatalf("%d, %v, want %d", got, err, i+1)
			}
		}
	}
}

// TestStatements_Schema: a kept statement follows a change of the schema.
func TestStatements_Schema(t *testing.T) {
	ctx := t.Context()
	db := open(t, filepath.Join(t.TempDir(), "a.db"))
	columns := func() (n int) {
		err := db.Write(ctx, func(tx *sqlitedb.Tx) error {
			rows, err := tx.QueryContext(ctx, `SELECT * FROM item`) //nolint:sqlclosecheck // the transaction does
			if err != nil {
				return err
			}
			names, err := rows.Columns()
			n = len(names)
			return errors.Join(err, rows.Err())
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := columns()
	err := db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `ALTER TABLE item ADD COLUMN size INTEGER`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := columns(); now != before+1 {
		t.Errorf("%d columns, had %d", now, before)
	}
}
