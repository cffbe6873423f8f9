//go:build engines

package cassandra_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/locallog"
	"github.com/segue-music/segue/event/outbox"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/metadata"
	"github.com/segue-music/segue/services/metadata/cassandra"
	"github.com/segue-music/segue/services/metadata/storetest"
)

// ring is a node with the catalogue's keyspace, which the tests empty one after the other:
// to make the tables takes much longer.
type ring struct {
	node    *testengine.CassandraNode
	config  cassandradb.Config
	session *gocql.Session
}

func start(t testing.TB) *ring {
	t.Helper()
	node := testengine.Cassandra(t)
	r := &ring{node: node, config: cassandradb.Config{Hosts: node.Host, Keyspace: "t", Datacenter: "datacenter1", Replication: "datacenter1:1", Timeout: 20 * time.Second}}
	schema, err := cassandra.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if err := cassandradb.Migrate(t.Context(), r.config, schema, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	cluster := gocql.NewCluster(node.Host)
	cluster.Keyspace, cluster.Timeout = "t_metadata", time.Minute
	if r.session, err = cluster.CreateSession(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.session.Close)
	return r
}

func (r *ring) empty(t testing.TB) {
	t.Helper()
	for _, table := range []string{"entity", "entity_part", "listing", "listing_bucket", "claim", "class", "agenda", "agenda_bucket", "relay_lease", "relay_member", "load"} {
		if err := r.session.Query("TRUNCATE " + table).Exec(); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *ring) open(t testing.TB, opt cassandra.Options) *cassandra.Store {
	t.Helper()
	s, err := cassandra.Open(context.WithoutCancel(t.Context()), r.config, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// publisher is what both engines are beside a store.
type publisher interface {
	Relay(log event.Log, logger *slog.Logger) *outbox.Relay
	Pending(ctx context.Context) (int64, error)
}

func newLog(t *testing.T) event.Log {
	t.Helper()
	l, err := locallog.Open(t.TempDir(), locallog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// engine is a store whose events s publishes.
func engine(t *testing.T, store metadata.Store, s publisher) storetest.Engine {
	t.Helper()
	l := newLog(t)
	return storetest.Engine{Store: store, Events: func(ctx context.Context) (out []*eventv1.Envelope, err error) {
		if err := publish(ctx, s, l); err != nil {
			return nil, err
		}
		for r, err := range l.Read(ctx, event.Catalogue, 0, 0, false) {
			if err != nil {
				return nil, err
			}
			e, err := event.Unmarshal(r.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	}}
}

// publish runs the relay until nothing is pending.
func publish(ctx context.Context, s publisher, l event.Log) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Relay(l, slog.New(slog.DiscardHandler)).Run(ctx) }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		n, err := s.Pending(ctx)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		<-tick.C
	}
	cancel()
	return <-done
}

func TestCassandra(t *testing.T) {
	r := start(t)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Engine {
			r.empty(t)
			s := r.open(t, cassandra.Options{})
			return engine(t, s, s)
		})
	})
	t.Run("steps", func(t *testing.T) { steps(t, r) })
	t.Run("large", func(t *testing.T) { large(t, r) })
	t.Run("load", func(t *testing.T) { loading(t, r) })
	t.Run("two_stores", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Engine {
			r.empty(t)
			p := r.pair(t)
			return engine(t, p, p.both[0])
		})
	})
}
