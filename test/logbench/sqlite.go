package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/segue-music/segue/internal/sqlitedb"
)

const (
	sqliteAcks = "COMMIT has returned for the transaction of 1,000 events of one writer: WAL with synchronous=FULL, so the WAL is " +
		"synced once. This is the store of Segue's own services (internal/sqlitedb, modernc driver), fed the way it is fastest: " +
		"%d events to an INSERT, no index but the rowid. Its checkpoints fall into the measured time."
	sqliteSharedAcks = "as above, but every producer writes its own event and waits for it: up to 256 of them share one COMMIT, each " +
		"under a savepoint of its own (DB.Write of internal/sqlitedb)."
)

// rowsPerInsert events share one statement, which the driver compiles for every call.
const rowsPerInsert = 250

func openSQLite(ctx context.Context, dir string, size int) (running, error) {
	schema := "-- +goose Up\nCREATE TABLE event (id INTEGER PRIMARY KEY, key BLOB NOT NULL, value BLOB NOT NULL);\n"
	db, err := sqlitedb.Open(ctx, filepath.Join(dir, "events.db"), sqlitedb.Options{
		Migrations: fstest.MapFS{"00001_event.sql": {Data: []byte(schema)}},
	})
	if err != nil {
		return running{}, err
	}
	return running{
		producer: func(i int) (func(context.Context, int) error, error) {
			key, value := fmt.Appendf(nil, "%0*d", keyBytes, i), bytes.Repeat([]byte{'v'}, size-keyBytes)
			args := make([]any, 0, 2*rowsPerInsert)
			for range rowsPerInsert {
				args = append(args, key, value)
			}
			return func(ctx context.Context, n int) error {
				return db.Write(ctx, func(tx *sqlitedb.Tx) error {
					for left := n; left > 0; left -= min(left, rowsPerInsert) {
						rows := min(left, rowsPerInsert)
						if _, err := tx.ExecContext(ctx, insert(rows), args[:2*rows]...); err != nil {
							return err
						}
					}
					return nil
				})
			}, nil
		},
		count: func(ctx context.Context) (n int64, err error) {
			return n, db.Reader().QueryRowContext(ctx, "SELECT count(*) FROM event").Scan(&n)
		},
		syncs: func() int64 { return int64(db.Stats().Commits) },
		close: db.Close,
	}, nil
}

func insert(rows int) string {
	return "INSERT INTO event (key, value) VALUES " + strings.TrimSuffix(strings.Repeat("(?,?),", rows), ",")
}
