// Package sqlite keeps the catalogue in one SQLite file.
package sqlite

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/sqlitebox"
	"github.com/segue-music/segue/internal/sqlitedb"
	"github.com/segue-music/segue/services/metadata"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Options of Open. Log and Metrics may be nil, Now is time.Now where it is nil.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the file's figures.
	Metrics prometheus.Registerer
}

// Store is the embedded engine of [metadata.Store]. A change is one transaction; plans
// run one after another inside it, so that they never collide.
type Store struct {
	db  *sqlitedb.DB
	box *sqlitebox.Outbox
}

var _ metadata.Store = (*Store)(nil)

// Open opens or makes the file at path.
func Open(ctx context.Context, path string, opt Options) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	box, err := sqlitebox.Schema()
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	db, err := sqlitedb.Open(ctx, path, sqlitedb.Options{
		Migrations: files, Modules: []sqlitedb.Module{box}, Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics,
	})
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	return &Store{db: db, box: sqlitebox.New(db, event.OwnerMetadata)}, nil
}

// Close waits for changes under way and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ping says whether the file can be read and written.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay publishes the events of this store; one may run.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }
