// Package pgdb opens a PostgreSQL database the one way Segue uses it: a bounded pool on
// the server that takes writes, a schema per service that is migrated by a run of its own
// and only checked by whoever serves, and transactions that are repeated where the server
// asks for it or the connection broke. When [DB.Write] returns nil, the change is on the
// server's disk.
package pgdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segue-music/segue/internal/fault"
)

var (
	// ErrClosed is returned by every use of a closed DB.
	ErrClosed = errors.New("database is closed")
	// ErrSchema says that the schema has another version than this program works with.
	ErrSchema = errors.New("database schema is not of this program")
	// ErrUnknown says that the server was lost in a commit and cannot tell its outcome: the
	// change was made or it was not.
	ErrUnknown = fault.New(fault.Unavailable, "it is not known whether the change was made, read again")
)

// Module is a set of migrations with a version table of its own, so that a shared
// table (an outbox) and a service's own tables are numbered apart.
type Module struct {
	// Name is lower-case letters and underscores; the version table is goose_<name>.
	Name string
	// Migrations holds goose SQL files (00001_name.sql) at its root.
	Migrations fs.FS
}

// Schema is the tables of one service.
type Schema struct {
	// Name is lower-case letters and underscores; the schema is segue_<name>.
	Name string
	// Modules in the order in which they are migrated.
	Modules []Module
}

func (s Schema) name() string { return "segue_" + s.Name }

// Options of [Open].
type Options struct {
	// Log is where the server's oddities are told; nil discards.
	Log *slog.Logger
	// Now stamps what the database records by itself; nil is time.Now.
	Now func() time.Time
	// Metrics gets the figures, labelled with the schema's name; nil gets none.
	Metrics prometheus.Registerer
}

// DB is one schema of a database. All methods may be called concurrently.
type DB struct {
	pool   *pgxpool.Pool
	now    func() time.Time
	name   string // of the schema, in traces
	closed atomic.Bool

	writes, failed, retries atomic.Uint64
	took                    prometheus.Observer // seconds of a Write
	unmetered               func()
}

// Open connects to the database of c and checks that it has the schema that this program
// works with: [ErrSchema]. It changes nothing there.
func Open(ctx context.Context, c Config, s Schema, opt Options) (*DB, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	cfg, err := c.pool(s)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open PostgreSQL: %w", err)
	}
	db := &DB{pool: pool, now: opt.Now, name: s.Name}
	if err := db.check(ctx, s, opt.Log); err != nil {
		pool.Close()
		return nil, fmt.Errorf("open PostgreSQL at %s: %w", where(cfg.ConnConfig), lineError{err})
	}
	if err := db.meter(opt.Metrics); err != nil {
		pool.Close()
		return nil, fmt.Errorf("measure PostgreSQL: %w", err)
	}
	return db, nil
}

// check looks at the server and the schema once, at the start.
func (db *DB) check(ctx context.Context, s Schema, log *slog.Logger) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := checkVersions(ctx, conn.Conn(), s); err != nil {
		return err
	}
	for _, setting := range []string{"fsync", "synchronous_commit"} {
		var value string
		if err := conn.QueryRow(ctx, "SELECT current_setting($1)", setting).Scan(&value); err != nil {
			return err
		}
		if value == "off" {
			log.WarnContext(ctx, "PostgreSQL may lose what it said is stored", "setting", setting, "value", value)
		}
	}
	return nil
}

// Now is the clock the database was opened with.
func (db *DB) Now() time.Time { return db.now() }

// Ping says whether the server answers and takes writes.
func (db *DB) Ping(ctx context.Context) error {
	if db.closed.Load() {
		return ErrClosed
	}
	var standby bool
	if err := db.pool.QueryRow(ctx, "SELECT pg_is_in_recovery()").Scan(&standby); err != nil {
		return fmt.Errorf("ping PostgreSQL: %w", err)
	}
	if standby {
		return errors.New("ping PostgreSQL: the server is a standby")
	}
	return nil
}

// Close refuses new uses, waits for those under way and closes the connections.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	if db.unmetered != nil {
		db.unmetered()
	}
	db.pool.Close()
	return nil
}

// where names a server without its secrets.
func where(c *pgx.ConnConfig) string {
	return fmt.Sprintf("%s:%d, database %s", c.Host, c.Port, c.Database)
}
