// Package cassandradb opens a keyspace of Apache Cassandra the one way Segue uses it:
// LOCAL_QUORUM for reads and writes, so that a read sees what was acknowledged before it,
// LOCAL_SERIAL for conditional writes, no times of this process's clock on any write, and
// a schema per service that is migrated by a run of its own and only checked by whoever
// serves.
//
// How it is to be used:
//
//   - A row that changes is only ever changed conditionally. A plain write with an older
//     time than the row's is lost without an error, whatever the order in which the two
//     were made.
//   - A row that is written plainly is written once, or always the same; to take it out,
//     delete it at the time that it was written at ([DB.Exec] with USING TIMESTAMP).
//   - Every read names its partition, and every table says what bounds a partition.
//   - What becomes of a conditional write that nobody answered is found out: [DB.Decide].
package cassandradb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of [Open].
type Options struct {
	// Log is where the driver's warnings go; nil discards.
	Log *slog.Logger
	// Now is for what the stores stamp by themselves, never for the order of writes; nil is
	// time.Now.
	Now func() time.Time
	// Metrics gets the figures, labelled with the schema's name; nil gets none.
	Metrics prometheus.Registerer
	// Interrupt is for tests of what a crash leaves: it is called before each statement and
	// after it, and its error is the statement's. nil is none.
	Interrupt func(kind string, done bool) error
}

// DB is one keyspace. All methods may be called concurrently.
type DB struct {
	session *gocql.Session
	now     func() time.Time
	name    string // of the schema, in traces
	closed  atomic.Bool
	meters  meters
	stall   *stall
	timeout time.Duration

	interrupt func(kind string, done bool) error
}

// Open connects to the ring of c and checks that it has the schema that this program
// works with: [ErrSchema]. It changes nothing there.
func Open(ctx context.Context, c Config, s Schema, opt Options) (*DB, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	keyspace := c.Keyspace + "_" + s.Name
	session, err := connect(c, keyspace, opt.Log)
	if err != nil {
		if none := noKeyspace(ctx, c, keyspace, opt.Log); none != nil {
			return nil, none
		}
		return nil, err
	}
	db := &DB{session: session, now: opt.Now, name: s.Name, interrupt: opt.Interrupt, stall: newStall(), timeout: c.Timeout}
	if err := db.checkVersions(ctx, keyspace, s); err != nil {
		session.Close()
		return nil, fmt.Errorf("open Cassandra at %s: %w", c.Hosts, err)
	}
	if err := db.meters.register(s.Name, opt.Metrics); err != nil {
		session.Close()
		return nil, fmt.Errorf("measure Cassandra: %w", err)
	}
	return db, nil
}

// connect opens a session; its error is one line.
func connect(c Config, keyspace string, log *slog.Logger) (*gocql.Session, error) {
	cfg, err := c.cluster(keyspace)
	if err != nil {
		return nil, err
	}
	cfg.Logger = driverLog{log}
	session, err := cfg.CreateSession()
	if err != nil {
		return nil, fmt.Errorf("open Cassandra at %s: %s", c.Hosts, line(err.Error()))
	}
	return session, nil
}

// noKeyspace looks whether it is only the keyspace that a session failed for, which the
// driver does not tell.
func noKeyspace(ctx context.Context, c Config, keyspace string, log *slog.Logger) error {
	session, err := connect(c, "", log)
	if err != nil {
		return nil
	}
	defer session.Close()
	var name string
	err = session.Query(`SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?`, keyspace).ScanContext(ctx, &name)
	if !errors.Is(err, gocql.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("open Cassandra at %s: %w: there is no keyspace %s: run segue -target=migrate", c.Hosts, ErrSchema, keyspace)
}

// line is a text in one line.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

// Now is the clock the keyspace was opened with.
func (db *DB) Now() time.Time { return db.now() }

// Ping says whether the ring answers a read of the service's own data.
func (db *DB) Ping(ctx context.Context) error {
	if err := db.do(ctx, kindRead, db.ping); err != nil {
		return fmt.Errorf("ping Cassandra: %w", err)
	}
	return nil
}

func (db *DB) ping(ctx context.Context) error {
	var version int
	_, err := scan(ctx, db.session.Query(`SELECT version FROM schema_migrations WHERE module = ? LIMIT 1`, "ping"), []any{&version})
	return err
}

// Close ends the connections. Statements under way fail.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	db.meters.unregister()
	db.session.Close()
	db.stall.probing.Wait()
	return nil
}

// driverLog passes on what the driver says.
type driverLog struct{ log *slog.Logger }

func (d driverLog) say(level slog.Level, msg string, fields []gocql.LogField) {
	ctx := context.Background()
	if !d.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, len(fields))
	for i, f := range fields {
		attrs[i] = slog.String(f.Name, line(f.Value.String()))
	}
	d.log.LogAttrs(ctx, level, "cassandra driver: "+line(msg), attrs...)
}

// Error implements gocql.StructuredLogger. The caller of a statement gets its error as
// well, so that none of these is one of ours.
func (d driverLog) Error(msg string, f ...gocql.LogField) { d.say(slog.LevelWarn, msg, f) }

// Warning implements gocql.StructuredLogger.
func (d driverLog) Warning(msg string, f ...gocql.LogField) { d.say(slog.LevelWarn, msg, f) }

// Info implements gocql.StructuredLogger.
func (d driverLog) Info(msg string, f ...gocql.LogField) { d.say(slog.LevelDebug, msg, f) }

// Debug implements gocql.StructuredLogger.
func (d driverLog) Debug(msg string, f ...gocql.LogField) { d.say(slog.LevelDebug, msg, f) }
