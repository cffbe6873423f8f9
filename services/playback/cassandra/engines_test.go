//go:build engines

package cassandra_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"github.com/segue-music/segue/event"
	eventv1 "github.com/segue-music/segue/gen/segue/event/v1"
	"github.com/segue-music/segue/internal/cassandradb"
	"github.com/segue-music/segue/internal/testengine"
	"github.com/segue-music/segue/services/playback"
	"github.com/segue-music/segue/services/playback/cassandra"
	"github.com/segue-music/segue/services/playback/storetest"
)

// ring is a node with playback's keyspace, which the tests empty one after the other: to
// make the tables takes twenty times as long.
type ring struct {
	config  cassandradb.Config
	session *gocql.Session
}

func start(t testing.TB) *ring {
	t.Helper()
	node := testengine.Cassandra(t)
	r := &ring{config: cassandradb.Config{Hosts: node.Host, Keyspace: "t", Datacenter: "datacenter1", Replication: "datacenter1:1", Timeout: 20 * time.Second}}
	schema, err := cassandra.Schema()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cassandradb.Migrate(t.Context(), r.config, schema, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Logf("migrated in %v", time.Since(began))
	cluster := gocql.NewCluster(node.Host)
	cluster.Keyspace, cluster.Timeout = "t_playback", time.Minute
	if r.session, err = cluster.CreateSession(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.session.Close)
	return r
}

func (r *ring) empty(t *testing.T) {
	t.Helper()
	began := time.Now()
	for _, table := range []string{"listener", "agenda", "agenda_bucket", "relay_lease", "relay_member", "content_key", "track_key", "track"} {
		if err := r.session.Query("TRUNCATE " + table).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("emptied in %v", time.Since(began))
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

func TestCassandra(t *testing.T) {
	r := start(t)
	t.Run("store", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Store {
			r.empty(t)
			return r.open(t, cassandra.Options{})
		})
	})
	t.Run("two_stores", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) storetest.Store {
			r.empty(t)
			return r.pair(t)
		})
	})
	t.Run("steps", func(t *testing.T) { steps(t, r) })
	t.Run("slow_writer", func(t *testing.T) { slowWriter(t, r) })
}

// BenchmarkStore is what a change costs on one node, of many listeners at once.
func BenchmarkStore(b *testing.B) {
	r := start(b)
	s := r.open(b, cassandra.Options{})
	var n atomic.Int64
	b.Run("player", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				user := key("bench", n.Add(1))
				env, err := event.New(user, time.Now(), "", 1, &eventv1.PlayRefused{})
				if err == nil {
					err = s.PutPlayer(b.Context(), user, revision(1), playback.Event{Topic: event.Playback, Key: user, Env: env})
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("read_player", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.Player(b.Context(), key("bench", 1)); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
