package charts_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segue-music/segue/event"
	"github.com/segue-music/segue/event/kafkalog"
	"github.com/segue-music/segue/services/charts"
	"github.com/segue-music/segue/services/charts/sqlite"
)

// quiet takes a log in which there is to be nothing.
type quiet struct{ *testing.T }

func (q quiet) Write(b []byte) (int, error) {
	q.Errorf("logged: %s", b)
	return len(b), nil
}

// counting counts the batches that one process has counted.
type counting struct {
	charts.Store
	batches atomic.Int64
}

func (c *counting) Count(ctx context.Context, b charts.Batch) error {
	err := c.Store.Count(ctx, b)
	if err == nil {
		c.batches.Add(1)
	}
	return err
}

// TestShared: processes come and go and share the partitions; each listen counts once.
func TestShared(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	w := setUp(t, charts.FromEvents)
	if w.log, err = kafkalog.Open(ctx, kafkalog.Options{Client: []kgo.Opt{kgo.SeedBrokers(broker.ListenAddrs()...)}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.log.Close() })
	store, err := sqlite.Open(ctx, filepath.Join(w.dir, "shared.db"), sqlite.Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	run := func() (c *counting, stop func()) {
		c = &counting{Store: store}
		svc, err := charts.New(charts.Deps{
			Config: charts.Config{Source: charts.FromEvents, SparkPrefix: "x/", Keep: 400 * 24 * time.Hour},
			Store:  c, Events: w.log, Log: slog.New(slog.NewTextHandler(quiet{t}, nil)), Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, end := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- svc.Run(ctx) }()
		return c, func() {
			end()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	sent := 0
	send := func() {
		var recs []event.Record
		for range 200 {
			r := w.record(now, "SE", track("a"))
			r.Key = []byte(fmt.Sprint("user ", sent))
			recs = append(recs, r)
			sent++
		}
		w.append(append(recs, recs[:20]...)...)
	}
	counted := func() {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for got := uint64(0); got != uint64(sent); <-tick.C {
			list, err := store.Top(ctx, charts.Key{Period: charts.Day, Start: charts.Day.Start(now)}, 1)
			if err != nil {
				t.Fatalf("%d of %d: %v", got, sent, err)
			}
			if len(list) > 0 {
				got = list[0].Plays
			}
			if got > uint64(sent) {
				t.Fatalf("%d plays of %d", got, sent)
			}
		}
	}
	// takesPart sends until one of several has counted.
	takesPart := func(c *counting) {
		t.Helper()
		for c.batches.Load() == 0 {
			if ctx.Err() != nil {
				t.Fatal("it gets no partition")
			}
			send()
			counted()
		}
	}
	send()
	_, first := run()
	counted()
	c, second := run() // is given some of the first's
	takesPart(c)
	first() // gives the rest over
	send()
	counted()
	c, third := run()
	takesPart(c)
	send()
	second()
	send()
	counted()
	third()
}
