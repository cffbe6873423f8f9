// Package sqlite keeps the upload service's store in one SQLite file.
package sqlite

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/sqlitebox"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/fault"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/upload"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of Open.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the file's figures.
	Metrics prometheus.Registerer
}

// Store is an [upload.Store] on one file.
type Store struct {
	db  *sqlitedb.DB
	box *sqlitebox.Outbox
}

var _ upload.Store = (*Store)(nil)

// Open opens or makes the file at path. No other process has it open: leases of an
// earlier one are void.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	events, err := sqlitebox.Schema()
	if err != nil {
		return nil, fmt.Errorf("open upload store: %w", err)
	}
	own, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open upload store: %w", err)
	}
	db, err := sqlitedb.Open(ctx, path, sqlitedb.Options{
		Migrations: own, Modules: []sqlitedb.Module{events}, Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("open upload store: %w", err)
	}
	s := &Store{db: db, box: sqlitebox.New(db, event.OwnerUpload)}
	err = db.Write(ctx, func(tx *sqlitedb.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE uploads SET lease = '', lease_ms = 0 WHERE lease <> ''`)
		return err
	})
	if errors.Is(err, fault.ErrDiskFull) {
		// What is there plays on a full disk too; the leases run out by themselves.
		if opt.Log != nil {
			opt.Log.WarnContext(ctx, "leases of before this start run out by themselves", "err", err)
		}
		err = nil
	}
	if err != nil {
		_ = db.Close() // the first error says why
		return nil, fmt.Errorf("open upload store: %w", err)
	}
	return s, nil
}

// Close waits for writes under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the file can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay moves the store's events to log.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// addEvents writes envelopes with the change of tx; the upload's id is their key.
func (s *Store) addEvents(ctx context.Context, tx *sqlitedb.Tx, events []*eventv1.Envelope) error {
	for _, e := range events {
		if err := s.box.Add(ctx, tx, event.Upload, strings.TrimPrefix(e.GetSubject(), "upload:"), e); err != nil {
			return err
		}
	}
	return nil
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }
