// Package pgtest is for tests of stores on PostgreSQL.
package pgtest

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/segue-music/segue/internal/pgdb"
)

// Config is for the database at url, which it brings to a schema.
func Config(tb testing.TB, url string, schema func() (pgdb.Schema, error)) pgdb.Config {
	tb.Helper()
	c := pgdb.Config{URL: url, Conns: 8, StatementTimeout: 10 * time.Second}
	s, err := schema()
	if err == nil {
		err = pgdb.Migrate(tb.Context(), c, s, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Plan fails the test where a query does not go by an index, or sorts: where it would
// take longer the larger its tables are.
func Plan(tb testing.TB, db *pgdb.DB, index, query string, args ...any) {
	tb.Helper()
	var plan []string
	err := db.Write(tb.Context(), func(tx *pgdb.Tx) error {
		plan = plan[:0]
		// Tables are empty here, and an empty one is read from end to end for less.
		if _, err := tx.Exec(tb.Context(), `SELECT set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true)`); err != nil {
			return err
		}
		rows, err := tx.Query(tb.Context(), `EXPLAIN `+query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				return err
			}
			plan = append(plan, line)
		}
		return rows.Err()
	})
	if err != nil {
		tb.Fatal(err)
	}
	all := strings.Join(plan, "\n")
	if strings.Contains(all, "Seq Scan") || strings.Contains(all, "Sort") || !strings.Contains(all, " "+index+" ") && !strings.HasSuffix(all, " "+index) && !strings.Contains(all, " "+index+"\n") {
		tb.Errorf("%s\nwants %s; its plan is\n%s", query, index, all)
	}
}
