// Package cassandra is playback's store on a ring of Cassandra, which several processes
// share: one partition per listener, changed by compare-and-set, with an outbox for the
// events.
package cassandra

import (
	"context"
	"embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/event/outbox/cassandrabox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/cassandradb/agenda"
	"github.com/segue-music/segue/services/playback"
)

//go:embed migrations/*.cql
var migrations embed.FS

// Schema is the tables, for cassandradb.Migrate.
func Schema() (cassandradb.Schema, error) { return cassandrabox.Schema("playback", migrations) }

// Options of [Open]; all may be nil.
type Options struct {
	Now func() time.Time
	Log *slog.Logger
	// Metrics gets the keyspace's figures.
	Metrics prometheus.Registerer
	// Interrupt is that of cassandradb.Options.
	Interrupt func(kind string, done bool) error
}

// Store is a [playback.Store].
type Store struct {
	db  *cassandradb.DB
	box *cassandrabox.Outbox
	// due are plays by the time at which they fall due, sessions and plays the listeners
	// with some, by the time of the oldest.
	due, sessions, plays *agenda.List
}

var _ playback.Store = (*Store)(nil)

const (
	dueBucket   = time.Minute
	pruneBucket = time.Hour
)

// Open opens the keyspace, which has [Schema].
func Open(ctx context.Context, c cassandradb.Config, opt Options) (*Store, error) {
	schema, err := Schema()
	if err != nil {
		return nil, err
	}
	db, err := cassandradb.Open(ctx, c, schema, cassandradb.Options{Log: opt.Log, Now: opt.Now, Metrics: opt.Metrics, Interrupt: opt.Interrupt})
	if err != nil {
		return nil, fmt.Errorf("open playback store: %w", err)
	}
	return &Store{
		db: db, box: cassandrabox.New(db, event.OwnerPlayback, "listener", "user_id"),
		due: agenda.New(db, "due", dueBucket), sessions: agenda.New(db, "sessions", pruneBucket), plays: agenda.New(db, "plays", pruneBucket),
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

// AddEvents implements [playback.Store]. Those of one key are kept together.
func (s *Store) AddEvents(ctx context.Context, events ...playback.Event) error {
	byKey := map[string][]playback.Event{}
	for _, e := range events {
		byKey[e.Key] = append(byKey[e.Key], e)
	}
	for key, list := range byKey {
		err := s.write(ctx, "add events", key, func(c *cassandrabox.Change) error { return s.add(ctx, c, list) })
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetListener implements [playback.Store]. The head stays, which says no more than how
// often the listener changed: a change under way must not find the beginning again. Events
// that wait are still published.
func (s *Store) ForgetListener(ctx context.Context, userID string) error {
	return s.write(ctx, "forget listener", userID, func(c *cassandrabox.Change) error {
		if c.Version == 0 {
			return nil
		}
		for _, kind := range []string{"play", "player", "seen", "session"} {
			c.Do(`DELETE FROM listener WHERE user_id = ? AND kind = ?`, userID, kind)
		}
		setHead(c, "sessions_at", 0)
		setHead(c, "plays_at", 0)
		return nil
	})
}

// setHead sets a number in the head of a listener.
func setHead(c *cassandrabox.Change, column string, to int64) {
	c.Do(`UPDATE listener SET `+column+` = ? WHERE user_id = ? AND kind = '' AND id = ''`, to, c.Key)
}

func (s *Store) head(ctx context.Context, userID, column string) (n int64, err error) {
	_, err = s.db.Get(ctx, `SELECT `+column+` FROM listener WHERE user_id = ? AND kind = '' AND id = ''`, []any{userID}, &n)
	return n, err
}

func (s *Store) write(ctx context.Context, verb, userID string, fn func(*cassandrabox.Change) error) error {
	if err := s.box.Write(ctx, userID, fn); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

func (s *Store) add(ctx context.Context, c *cassandrabox.Change, events []playback.Event) error {
	for _, e := range events {
		r, err := outbox.NewRow(ctx, event.OwnerPlayback, e.Topic, e.Key, e.Env)
		if err != nil {
			return fmt.Errorf("add to outbox: %w", err)
		}
		c.Add(r)
	}
	return nil
}

// atOnce bounds the partitions that one call works on at a time.
const atOnce = 8

func eachAtOnce(n int, fn func(i int) error) error {
	g := errgroup.Group{}
	g.SetLimit(atOnce)
	for i := range n {
		g.Go(func() error { return fn(i) })
	}
	return g.Wait()
}

func fromMS(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
