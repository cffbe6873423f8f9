// Package postgres is the engine of the user service's store for many processes: one
// PostgreSQL schema.
package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/pgbox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/pgdb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema are the tables of the store, for pgdb.Migrate.
func Schema() (pgdb.Schema, error) {
	events, err := pgbox.Schema()
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("user schema: %w", err)
	}
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return pgdb.Schema{}, fmt.Errorf("user schema: %w", err)
	}
	return pgdb.Schema{Name: "user", Modules: []pgdb.Module{events, {Name: "user", Migrations: own}}}, nil
}

// Store implements user.Store.
type Store struct {
	db  *pgdb.DB
	box *pgbox.Outbox
}

var _ user.Store = (*Store)(nil)

// Open connects to the database of c, which has [Schema].
func Open(ctx context.Context, c pgdb.Config, o pgdb.Options) (*Store, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	db, err := pgdb.Open(ctx, c, schema, o)
	if err != nil {
		return nil, fmt.Errorf("open user store: %w", err)
	}
	return &Store{db: db, box: pgbox.New(db, event.OwnerUser)}, nil
}

// Close waits for what is under way and closes the connections.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the database can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay publishes the store's events to log.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }

// add writes events with the change that tx makes.
func (s *Store) add(ctx context.Context, tx *pgdb.Tx, events []*eventv1.Envelope) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, event.UserIdentity, row.EventKey(e), e); err != nil {
			return err
		}
	}
	return nil
}

// Record implements user.Store.
func (s *Store) Record(ctx context.Context, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error { return s.add(ctx, tx, events) })
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}

// Purge implements user.Store.
func (s *Store) Purge(ctx context.Context, codes, families time.Time) error {
	err := s.db.Write(ctx, func(tx *pgdb.Tx) error {
		var b pgx.Batch
		b.Queue(`DELETE FROM codes WHERE expires < $1`, unixtime.Milli(codes))
		b.Queue(`DELETE FROM families WHERE expires < $1 OR revoked > 0 AND revoked < $1`, unixtime.Milli(families))
		return tx.Batch(ctx, &b)
	})
	if err != nil {
		return fmt.Errorf("purge sign-ins: %w", err)
	}
	return nil
}
