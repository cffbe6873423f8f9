// Package sqlite is the embedded engine of playback's store: one file, changed by one
// writer that groups commits, with an outbox for the events.
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
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/playback"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of [Open]; all may be nil.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the file's figures.
	Metrics prometheus.Registerer
}

// Store is a [playback.Store].
type Store struct {
	db  *sqlitedb.DB
	box *sqlitebox.Outbox
}

var _ playback.Store = (*Store)(nil)

// Open opens or makes the file at path.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open playback store: %w", err)
	}
	schema, err := sqlitebox.Schema()
	if err != nil {
		return nil, fmt.Errorf("open playback store: %w", err)
	}
	db, err := sqlitedb.Open(ctx, path, sqlitedb.Options{
		Migrations: files, Modules: []sqlitedb.Module{schema}, Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("open playback store: %w", err)
	}
	return &Store{db: db, box: sqlitebox.New(db, event.OwnerPlayback)}, nil
}

// Close waits for writes under way.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the file can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay publishes the store's events; one runs per store.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// AddEvents implements [playback.Store].
func (s *Store) AddEvents(ctx context.Context, events ...playback.Event) error {
	return s.write(ctx, "add events", func(tx *sqlitedb.Tx) error { return s.add(ctx, tx, events) })
}

// ForgetListener implements [playback.Store].
func (s *Store) ForgetListener(ctx context.Context, userID string) error {
	return s.write(ctx, "forget listener", func(tx *sqlitedb.Tx) error {
		var errs []error
		for _, q := range []string{
			`DELETE FROM session WHERE user_id = ?`, `DELETE FROM player WHERE user_id = ?`,
			`DELETE FROM play WHERE user_id = ?`, `DELETE FROM seen_event WHERE user_id = ?`,
		} {
			_, err := tx.ExecContext(ctx, q, userID)
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
}

// Prune implements [playback.Store].
func (s *Store) Prune(ctx context.Context, sessions, plays time.Time) error {
	return s.write(ctx, "prune", func(tx *sqlitedb.Tx) error {
		_, err1 := tx.ExecContext(ctx, `DELETE FROM session WHERE renewed < ?`, sessions.UnixMilli())
		_, err2 := tx.ExecContext(ctx, `DELETE FROM play WHERE touched < ?`, plays.UnixMilli())
		_, err3 := tx.ExecContext(ctx, `DELETE FROM seen_event WHERE touched < ?`, plays.UnixMilli())
		return errors.Join(err1, err2, err3)
	})
}

func (s *Store) write(ctx context.Context, verb string, fn func(*sqlitedb.Tx) error) error {
	if err := s.db.Write(ctx, fn); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

func (s *Store) add(ctx context.Context, tx *sqlitedb.Tx, events []playback.Event) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, e.Topic, e.Key, e.Env); err != nil {
			return err
		}
	}
	return nil
}

func fromMS(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }
