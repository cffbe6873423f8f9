// Package postgres is the engine of the upload service's store for many processes: one
// PostgreSQL schema.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/pgbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/services/upload"
	"github.com/segue-music/segue/services/upload/row"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables of the store, for pgdb.Migrate.
func Schema() (pgdb.Schema, error) {
	events, err := pgbox.Schema()
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("upload schema: %w", err)
	}
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("upload schema: %w", err)
	}
	return pgdb.Schema{Name: "upload", Modules: []pgdb.Module{events, {Name: "upload", Migrations: own}}}, nil
}

// Store is an [upload.Store] that many processes share. Leases of one that has ended run
// out by themselves.
type Store struct {
	db  *pgdb.DB
	box *pgbox.Outbox
}

var _ upload.Store = (*Store)(nil)

// Open connects to the database of c, which has [Schema].
func Open(ctx context.Context, c pgdb.Config, o pgdb.Options) (*Store, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	db, err := pgdb.Open(ctx, c, schema, o)
	if err != nil {
		return nil, fmt.Errorf("open upload store: %w", err)
	}
	return &Store{db: db, box: pgbox.New(db, event.OwnerUpload)}, nil
}

// Close waits for what is under way and closes the connections.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the database can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay moves the store's events to log.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }

// addEvents writes envelopes with the change of tx; the upload's id is their key.
func (s *Store) addEvents(ctx context.Context, tx *pgdb.Tx, events []*eventv1.Envelope) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, event.Upload, strings.TrimPrefix(e.GetSubject(), "upload:"), e); err != nil {
			return err
		}
	}
	return nil
}

// exec makes a change of one statement; what is the error's verb.
func (s *Store) exec(ctx context.Context, what, query string, args ...any) (changed int64, err error) {
	err = s.db.Write(ctx, func(tx *pgdb.Tx) error {
		tag, err := tx.Exec(ctx, query, args...)
		changed = tag.RowsAffected()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return changed, nil
}

// query reads rows of any table; what is the error's verb.
func query[T any](ctx context.Context, s *Store, scan func(row.Scanner) (T, error), what, query string, args ...any) (out []T, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		out, err = collect(ctx, q, scan, query, args...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return out, nil
}

func collect[T any](ctx context.Context, q pgdb.Queryer, scan func(row.Scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.AppendRows([]T(nil), rows, func(r pgx.CollectableRow) (T, error) { return scan(r) })
}

// one reads a row by its key, or [upload.ErrNotFound].
func one[T any](ctx context.Context, s *Store, scan func(row.Scanner) (T, error), what, query string, args ...any) (v T, err error) {
	err = s.db.Read(ctx, func(q pgdb.Queryer) error {
		v, err = scan(q.QueryRow(ctx, query, args...))
		return err
	})
	var zero T
	if pgdb.IsNone(err) {
		return zero, fmt.Errorf("%s: %w", what, upload.ErrNotFound)
	}
	if err != nil {
		return zero, fmt.Errorf("%s: %w", what, err)
	}
	return v, nil
}
