// Package sqlite is the embedded engine of the user service's store: one SQLite file.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/sqlitebox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/internal/unixtime"
	"github.com/segue-music/segue/services/user"
	"github.com/segue-music/segue/services/user/row"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of Open. Nil is what sqlitedb.Options has for nil.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the file's figures.
	Metrics prometheus.Registerer
}

// Store implements user.Store.
type Store struct {
	db  *sqlitedb.DB
	box *sqlitebox.Outbox
}

var _ user.Store = (*Store)(nil)

// Open opens or makes the file at path, whose folder the caller has locked.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	schema, err := sqlitebox.Schema()
	if err != nil {
		return nil, fmt.Errorf("open user store: %w", err)
	}
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open user store: %w", err)
	}
	db, err := sqlitedb.Open(ctx, path, sqlitedb.Options{Migrations: own, Modules: []sqlitedb.Module{schema}, Log: o.Log, Now: o.Now, Metrics: o.Metrics})
	if err != nil {
		return nil, fmt.Errorf("open user store: %w", err)
	}
	return &Store{db: db, box: sqlitebox.New(db, event.OwnerUser)}, nil
}

// Close waits for writes under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the file can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay publishes the store's events to log.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }

// add writes events with the change that tx makes.
func (s *Store) add(ctx context.Context, tx *sqlitedb.Tx, events []*eventv1.Envelope) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, event.UserIdentity, row.EventKey(e), e); err != nil {
			return err
		}
	}
	return nil
}

// Record implements user.Store.
func (s *Store) Record(ctx context.Context, events []*eventv1.Envelope) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error { return s.add(ctx, tx, events) })
	if err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	return nil
}

// Purge implements user.Store.
func (s *Store) Purge(ctx context.Context, codes, families time.Time) error {
	err := s.db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err1 := tx.ExecContext(ctx, `DELETE FROM codes WHERE expires < ?`, unixtime.Milli(codes))
		_, err2 := tx.ExecContext(ctx, `DELETE FROM families WHERE expires < ?1 OR (revoked > 0 AND revoked < ?1)`, unixtime.Milli(families))
		return errors.Join(err1, err2)
	})
	if err != nil {
		return fmt.Errorf("purge sign-ins: %w", err)
	}
	return nil
}
