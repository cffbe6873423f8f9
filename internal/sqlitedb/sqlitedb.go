// Package sqlitedb opens an embedded SQLite database the one way Segue uses it:
// WAL, synchronous=FULL, foreign keys on, a pool of readers that cannot write and
// a single writer that groups commits. When [DB.Write] returns nil, the change is
// on the disk.
package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	// ErrClosed is returned by every use of a closed DB.
	ErrClosed = errors.New("database is closed")
	// ErrNewerSchema says that the file was migrated by a newer program. Migrations
	// only go forward, so the file is left as it is.
	ErrNewerSchema = errors.New("database schema is newer than this program")
)

// Module is a set of migrations with a version table of its own, so that a shared
// table (an outbox) and a service's own tables are numbered apart.
type Module struct {
	// Name is lower-case letters and underscores; the version table is goose_<name>.
	Name string
	// Migrations holds goose SQL files (00001_name.sql) at its root.
	Migrations fs.FS
}

// Options of [Open]. The zero value is an empty database.
type Options struct {
	// Migrations of the owner of the file, goose SQL files at the root; may be nil.
	Migrations fs.FS
	// Modules are migrated before Migrations, in order.
	Modules []Module
	// Log is where migrations are told; nil discards.
	Log *slog.Logger
	// Now stamps what the database records by itself; nil is time.Now.
	Now func() time.Time
	// Readers bounds the reader pool; 0 is four, or GOMAXPROCS where that is more.
	Readers int
	// Metrics gets the database's figures, labelled with the file's name; nil gets none.
	Metrics prometheus.Registerer
}

// DB is one SQLite file. All methods may be called concurrently.
type DB struct {
	readers *sql.DB
	writer  *sql.DB
	now     func() time.Time
	name    string // of the file, in traces

	mu     sync.Mutex
	queue  []*request
	led    bool // a writer is running batches, or has been told to
	closed bool
	idle   sync.Cond // on mu: led became false
	stats  Stats

	took      prometheus.Observer // seconds of a Write
	unmetered func()
}

// Stats counts since Open.
type Stats struct {
	Writes  uint64 // functions whose change was committed
	Failed  uint64 // functions whose change was rolled back
	Commits uint64 // transactions committed
}

// Open opens or makes the file at path and migrates it forward. The folder must
// exist; whoever owns it holds [LockDir] on it.
func Open(ctx context.Context, path string, opt Options) (*DB, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Readers <= 0 {
		opt.Readers = max(4, runtime.GOMAXPROCS(0))
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	writer, err := openPool(abs, false, 1)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := migrate(ctx, writer, opt); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate %s: %w", path, err), writer.Close())
	}
	readers, err := openPool(abs, true, opt.Readers)
	if err == nil {
		err = readers.PingContext(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open readers of %s: %w", path, err), writer.Close())
	}
	db := &DB{readers: readers, writer: writer, now: opt.Now, name: filepath.Base(abs)}
	db.idle.L = &db.mu
	if err := db.meter(abs, opt.Metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("measure %s: %w", path, err), db.Close())
	}
	return db, nil
}

// Now is the clock the database was opened with.
func (db *DB) Now() time.Time { return db.now() }

// Reader is the pool of readers; a write through it is an error.
func (db *DB) Reader() *sql.DB { return db.readers }

// Read runs fn on one unchanging snapshot. It sees every write acknowledged before it.
func (db *DB) Read(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := db.readers.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin read: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // a reader has nothing to keep
	return fn(tx)
}

// Stats is a snapshot of the counters.
func (db *DB) Stats() Stats {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.stats
}

// Close refuses new writes, waits for those under way and closes the file.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	for db.led {
		db.idle.Wait()
	}
	db.mu.Unlock()
	if db.unmetered != nil {
		db.unmetered()
	}
	return errors.Join(db.readers.Close(), db.writer.Close())
}
