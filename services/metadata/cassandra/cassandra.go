// Package cassandra keeps the catalogue on a ring of Cassandra, which several processes
// share. docs/decisions/0006-catalogue-on-cassandra.md says how it is cut into partitions.
package cassandra

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/services/metadata"
)

//go:embed migrations/*.cql
var migrations embed.FS

// Schema is the tables, for cassandradb.Migrate.
func Schema() (cassandradb.Schema, error) { return cassandrabox.Schema("metadata", migrations) }

// Options of [Open]; all may be nil.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the keyspace's figures.
	Metrics prometheus.Registerer
	// Interrupt is that of cassandradb.Options.
	Interrupt func(kind string, done bool) error
}

// Store is a [metadata.Store].
type Store struct {
	db    *cassandradb.DB
	box   *cassandrabox.Outbox
	marks *agenda.List

	mu sync.Mutex
	// known are the classes and buckets that this process wrote or found: both stay.
	known map[string]bool
}

var _ metadata.Store = (*Store)(nil)

// Open opens the keyspace, which has [Schema]. [ErrLoading] while it is being filled.
func Open(ctx context.Context, c cassandradb.Config, opt Options) (*Store, error) {
	s, err := open(ctx, c, opt)
	if err != nil {
		return nil, err
	}
	// In this order, which is the reverse of Load's: one of the two sees the other.
	if err = s.box.Announce(ctx); err == nil {
		err = s.notLoading(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open catalogue: %w", err), s.Close())
	}
	return s, nil
}

func open(ctx context.Context, c cassandradb.Config, opt Options) (*Store, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	db, err := cassandradb.Open(ctx, c, schema, cassandradb.Options{Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics, Interrupt: opt.Interrupt})
	if err != nil {
		return nil, fmt.Errorf("open catalogue: %w", err)
	}
	return &Store{
		db: db, box: cassandrabox.New(db, event.OwnerMetadata, "entity", "key"),
		marks: agenda.New(db, "marks", time.Minute), known: map[string]bool{},
	}, nil
}

// closeLimit bounds what Close tells the ring.
const closeLimit = 3 * time.Second

// Close gives the relay's leases back, so that another process goes on at once, and ends
// the connections.
func (s *Store) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	_ = s.box.Stop(ctx) // they end by themselves otherwise
	return s.db.Close()
}

// Ping says whether the ring answers.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

// Relay publishes the store's events; one runs per process.
func (s *Store) Relay(log event.Log, logger *slog.Logger) *outbox.Relay {
	return outbox.NewRelay(s.box, log, logger)
}

// Pending is the number of events that are not published yet.
func (s *Store) Pending(ctx context.Context) (int64, error) { return s.box.Pending(ctx) }

// maxKnown bounds what is remembered; what is forgotten is written again.
const maxKnown = 200_000

// once makes a write that is always the same unless this process has made it.
func (s *Store) once(name string, write func() error) error {
	s.mu.Lock()
	have := s.known[name]
	s.mu.Unlock()
	if have {
		return nil
	}
	if err := write(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[name] = true
	return nil
}

// atOnce bounds the partitions that one call works on at a time.
const atOnce = 16

func eachAtOnce(ctx context.Context, n int, fn func(ctx context.Context, i int) error) error {
	if n == 1 {
		return fn(ctx, 0)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return fn(ctx, i) })
	}
	return g.Wait()
}

func failed(what string, err error) error { return fmt.Errorf("read %s: %w", what, err) }
